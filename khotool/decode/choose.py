"""Tell the definitions of one string apart by their probes, and say why one was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.composite import first_part
from khotool.abi.definition import Condition, Definition
from khotool.abi.record import decode_record, decode_records
from khotool.absent import Absent
from khotool.codec.blocks import walk_blocks
from khotool.decode.list_signs import array_ends
from khotool.decode.preserved import map_has_root
from khotool.decode.tree_signs import tree_holds
from khotool.fdt.blob import Node as FdtNode
from khotool.model.image import Choice, Node

if TYPE_CHECKING:
    from khotool.decode.walk import Walker

MAX_BLOCKS = 8
"""Blocks of a list whose records are looked at to choose between formats."""


BEHIND = "something stands behind the end of its array"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a blob before its definition is.

    Args:
        tree: root node of a device tree.
        data: first bytes of a record.
        size: bytes of the whole blob, where its place says them.
        handle: physical address of the blob, or the literal that stands in its place.
    """

    tree: FdtNode | None = None
    data: memoryview | bytes = b""
    size: int | None = None
    handle: int | None = None


def choose(
    walker: Walker,
    node: Node,
    string: str,
    candidates: Sequence[Definition],
    evidence: Evidence,
) -> Definition | None:
    """The definition that fits best; the choice is recorded where it is not the usual one.

    One with more signs wins over one with fewer; one without a probe, the usual one, fits always.

    Args:
        node: where an uncertain choice is reported.
        string: what all candidates match.
    """
    if not candidates:
        return None
    if len(candidates) == 1:
        only = candidates[0]
        if _forced(walker, string, candidates):
            return only
        # A string alone does not make a format whose other signs are not there.
        if not _fits(walker, only, evidence) or not _ends(walker, only, evidence):
            return None
        return only
    forced = _forced(walker, string, candidates)
    choice = forced or _best(walker, string, candidates, evidence)
    usual = choice.certain and not walker.registry.definitions[choice.layout].probe
    if forced is not None or not usual:
        _record(walker, node, choice)
    return walker.registry.definitions[choice.layout]


def _record(walker: Walker, node: Node, choice: Choice) -> None:
    """Keep a choice, and say so where it is not certain; once for a string."""
    key = (choice.definition, choice.layout)
    if key in walker.choices:
        return
    walker.choices[key] = choice
    if not choice.certain:
        walker.report("ABI903", node, f"{choice.definition} read as {choice.layout}: {choice.why}")


def note_whole(walker: Walker, node: Node, string: str, chosen: Definition) -> None:
    """Say where only the first part of a string has a definition."""
    first = first_part(string)
    if first != string and all(string not in names for names in chosen.match.values()):
        note_parts(walker, node, string, chosen, "nothing confirms it", certain=False)


def note_parts(
    walker: Walker, node: Node, string: str, chosen: Definition, seen: str, *, certain: bool
) -> None:
    """Note that something is read by the first part of its string."""
    why = f"no definition has all its parts; read by the first, {first_part(string)}; {seen}"
    choice = Choice(string, chosen.id, why, certain, "format")
    walker.choices.setdefault((string, chosen.id), choice)
    node.note = node.note or f"read by the first part of {string!r:.80}"


def _forced(walker: Walker, string: str, candidates: Sequence[Definition]) -> Choice | None:
    named = walker.abi.get(string)
    for definition in candidates:
        wanted = definition.id == named or (definition.id != string and definition.id in walker.abi)
        if wanted:
            return Choice(string, definition.id, "as --abi says", True, "format")
    return None


def _best(
    walker: Walker, string: str, candidates: Sequence[Definition], evidence: Evidence
) -> Choice:
    # Of equals, the one that is named after the string comes first.
    ranked = sorted(candidates, key=lambda d: (-len(d.probe), d.id != string))
    fitting = [definition for definition in ranked if _fits(walker, definition, evidence)]
    if not fitting:
        usual = min(candidates, key=lambda d: (len(d.probe), d.id != string))
        why = f"no sign of any layout is there; others are {_others(candidates, usual)}"
        return Choice(string, usual.id, why, False, "format")
    most = len(fitting[0].probe)
    ending = [d for d in fitting if len(d.probe) == most and _ends(walker, d, evidence)]
    best = ending[0] if ending else fitting[0]
    if len(ending) > 1 or not ending:
        others = ", ".join(definition.id for definition in fitting if definition is not best)
        why = _signs(best) if ending else f"{_signs(best)}, but {BEHIND}"
        why += f"; {others} would fit as well; --abi decides" if others else ""
        return Choice(string, best.id, why, False, "format")
    if not best.probe:
        return Choice(string, best.id, f"no sign of {_others(candidates, best)}", True, "format")
    return Choice(string, best.id, _signs(best), True, "format")


def _fits(walker: Walker, definition: Definition, evidence: Evidence) -> bool:
    """True if all signs of a definition are there, whatever stands behind its arrays."""
    return all(
        holds(walker, definition, replace(sign, ends=False), evidence) for sign in definition.probe
    )


def _ends(walker: Walker, definition: Definition, evidence: Evidence) -> bool:
    """True if nothing stands behind the arrays of a definition that has that for a sign.

    A writer that took a record back may have left it there.
    """
    return all(holds(walker, definition, sign, evidence) for sign in definition.probe if sign.ends)


def _others(candidates: Sequence[Definition], best: Definition) -> str:
    return ", ".join(definition.id for definition in candidates if definition is not best)


def _signs(definition: Definition) -> str:
    return "; ".join(describe(sign) for sign in definition.probe) or "it has no probe"


def describe(sign: Condition) -> str:
    """A condition as half a sentence."""
    parts = []
    if sign.has:
        size = ""
        if sign.length is not None:
            size = f" of {sign.length} bytes"
        elif sign.above is not None:
            size = f" of more than {sign.above} bytes"
        elif sign.multiple:
            size = f" of a multiple of {sign.multiple} bytes"
        said = f", {sign.equals!r}" if isinstance(sign.equals, str) and not sign.field else ""
        said += ", and nothing stands behind its array" if sign.ends else ""
        parts.append(f"the tree has {sign.has}{size}{said}")
    if sign.asked:
        parts.append("only --abi tells it")
    if sign.lacks:
        parts.append(f"the tree has no {sign.lacks}")
    if sign.anywhere:
        parts.append(f"a node of the tree has {sign.anywhere}")
    if sign.blob is not None:
        parts.append(f"the blob has {sign.blob} bytes")
    if sign.handle:
        parts.append("the handle is 0" if sign.handle == "zero" else "the handle is not 0")
    if sign.order is not None:
        parts.append(f"its block has order {sign.order}")
    if sign.field:
        if sign.equals is not None:
            of = f" of all {sign.rows}" if sign.rows else ""
            parts.append(f"{sign.field}{of} is {sign.equals}")
        name = f"{sign.field} of all {sign.rows}" if sign.rows else sign.field
        if sign.at_most is not None:
            parts.append(f"{name} is at most {sign.at_most}")
        if sign.at_least is not None:
            parts.append(f"{name} is at least {sign.at_least}")
        if sign.aligned:
            parts.append(f"{name} is the address of a page")
        if sign.preserved:
            parts.append(f"{name} is an address in preserved memory")
        if sign.inside:
            parts.append(f"{name} is inside {sign.inside}")
        if sign.ends:
            parts.append(f"nothing stands behind the end of {name}")
    if sign.root:
        parts.append(f"the root is {sign.root}")
    if sign.page_size is not None:
        parts.append(f"pages have {sign.page_size} bytes")
    if sign.map:
        parts.append("the map read this way preserves the root")
    return ", ".join(parts)


def holds(walker: Walker, definition: Definition, sign: Condition, evidence: Evidence) -> bool:
    """True if a sign is there."""
    return (
        not sign.asked
        and tree_holds(walker, definition, sign, evidence.tree, lambda row: _row(walker, sign, row))
        and (sign.blob is None or evidence.size == sign.blob)
        and (not sign.handle or (evidence.handle == 0) == (sign.handle == "zero"))
        and (sign.order is None or _order(walker, evidence.handle) == sign.order)
        and (
            not sign.field
            or bool(sign.has)
            or _field_holds(walker, definition, sign, evidence.data)
        )
        and (not sign.root or walker.tree.format == sign.root)
        and sign.page_size in (None, walker.geometry.page_size)
        and (not sign.map or map_has_root(walker, definition, evidence.tree, evidence.handle))
    )


def _order(walker: Walker, address: int | None) -> int | None:
    if address is None or isinstance(walker.map, Absent):
        return None
    block = walker.map.blocks.block_of(address)
    return block[1] if block is not None and block[0] == address else None


def _field_holds(
    walker: Walker, definition: Definition, sign: Condition, data: memoryview | bytes
) -> bool:
    compiled = walker.registry.compile(definition, definition.content, walker.geometry)
    if len(data) < compiled.size:
        return False
    record = decode_record(compiled, data)
    inside: frozenset[int] = frozenset()
    if sign.inside:
        inside = frozenset(list_blocks(walker, definition, compiled, record, sign.inside)[1])
    rows = [record]
    if sign.rows:
        rows = list_blocks(walker, definition, compiled, record, sign.rows)[0]
    if sign.ends and not _arrays_end(walker, definition, compiled, sign, rows):
        return False
    if not rows and (sign.equals is not None or sign.aligned or sign.inside):
        # Where a list is empty, none of its records has the value that would tell.
        return False
    return all(_row(walker, sign, row, inside) for row in rows)


def _arrays_end(
    walker: Walker,
    definition: Definition,
    compiled: CompiledStruct,
    sign: Condition,
    rows: Sequence[Mapping[str, Any]],
) -> bool:
    """True if the arrays that a field of all records leads to end where zeros begin."""
    if sign.rows:
        holder = compiled.by_label(sign.rows).field.points_to
        assert holder is not None
        compiled = walker.registry.compile(definition, holder.of, walker.geometry)
    placed = next((p for p in compiled.fields if p.field.label == sign.field), None)
    reference = placed.field.points_to if placed is not None else None
    return reference is not None and all(
        array_ends(walker, definition, reference, int(row[sign.field]), row) for row in rows
    )


def _row(
    walker: Walker,
    sign: Condition,
    row: Mapping[str, Any],
    inside: frozenset[int] = frozenset(),
) -> bool:
    """True if the field of a sign has the right value in a record."""
    page = walker.geometry.page_size
    value = _value(row, sign.field)
    if sign.equals is not None and value != sign.equals:
        return False
    if value is None:
        return False
    if isinstance(value, str):
        # Of text, what is compared is its length.
        return (sign.at_most is None or len(value) <= sign.at_most) and (
            sign.at_least is None or len(value) >= sign.at_least
        )
    return (
        (sign.at_most is None or value <= sign.at_most)
        and (sign.at_least is None or value >= sign.at_least)
        and (not sign.aligned or (value > 0 and value % page == 0))
        and (not sign.inside or value - value % page in inside)
        and (not sign.preserved or _preserved(walker, value))
    )


def _preserved(walker: Walker, address: int) -> bool:
    """True if an address is in preserved memory, or if nobody can know."""
    return isinstance(walker.map, Absent) or walker.map.blocks.block_of(address) is not None


def _value(row: Mapping[str, Any], field: str) -> int | str | None:
    """A field of a record, or of a struct or of an element of an array inside it."""
    found: Any = row
    for label in field.split("/"):
        if isinstance(found, list) and label.isdecimal():
            found = found[int(label)] if int(label) < len(found) else None
        else:
            found = found.get(label) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | str) else None


def list_blocks(
    walker: Walker,
    definition: Definition,
    compiled: CompiledStruct,
    record: Mapping[str, Any],
    label: str,
) -> tuple[list[dict[str, Any]], list[int]]:
    """Records of a list of blocks that a field of a record leads to, and the blocks' pages.

    Args:
        compiled: struct of the record; record: its values.
        label: of the field.
    """
    from khotool.decode.follow import list_header

    address = record.get(label)
    reference = compiled.by_label(label).field.points_to
    if reference is None or not isinstance(address, int):
        return [], []
    page = walker.geometry.page_size
    _, header = list_header(walker.registry, definition, reference, walker.geometry)
    element = walker.registry.compile(definition, reference.of, walker.geometry)
    found = walk_blocks(
        walker.space.read,
        address,
        header,
        element,
        max_blocks=MAX_BLOCKS,
        pages=reference.pages,
        least=0,
    )
    rows = [
        row
        for block in found.blocks
        for row in decode_records(element, block.data[header.size :], block.used)
    ]
    pages = [
        block.address + number * page for block in found.blocks for number in range(reference.pages)
    ]
    return rows, pages
