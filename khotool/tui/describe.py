"""Places in words: the label of a tree line, and everything about one field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from khotool.absent import Absent
from khotool.findings import Finding
from khotool.model.image import UNPLACED, Image, Node, NodeKind
from khotool.render.value import reference_text
from khotool.tui.find import flag_names
from khotool.tui.items import Item
from khotool.tui.map_words import bytes_at
from khotool.tui.memory_view import MemoryView, Use, address_text
from khotool.tui.place import Place, group_span, labels_of, span_of
from khotool.tui.text import Line, count_text, plain, size_text, visible

if TYPE_CHECKING:
    from khotool.abi.definition import Field

Fact = tuple[str, Line]
"""A label and what it says."""

RADIXES = ("hex", "decimal", "binary")
_HEX_ROLES = {"address", "pfn", "token", "handle", "magic", "checksum", "bits"}
SKETCHED = 2
"""Levels below the entries of a root that a sketch shows."""
CELL = 18
"""Characters of a column."""
PREVIEW = 16
"""Elements or bytes shown of a long value."""


def value_line(field: Field | None, value: Any) -> Line:
    """A value as its role wants to be read."""
    if value is None:
        return []
    if isinstance(value, Absent):
        return [(f"({value.reason})", "absent")]
    if isinstance(value, str):
        return [(f'"{visible(value)}"', "string")]
    if isinstance(value, (bytes, memoryview)):
        shown = bytes(value[:PREVIEW]).hex(" ") + (" …" if len(value) > PREVIEW else "")
        return [(shown or "empty", "value"), (f"  {len(value)} B", "dim")]
    if isinstance(value, list):
        return [(count_text(len(value), "entry"), "dim")]
    if isinstance(value, dict):
        return []
    return _number_line(field, int(value))


def _number_line(field: Field | None, value: int) -> Line:
    if field is None:
        return [(str(value) if value < 1 << 40 else f"{value:#x}", "value")]
    name = next((name for name, number in field.enum.items() if number == value), "")
    if name:
        return [(name, "value"), (f"  {value}", "dim")]
    if field.role == "flags":
        names = flag_names(value, field.flags) if value else []
        return [(" | ".join(names) or f"{value:#x}", "value")]
    if field.role in ("bytes", "position"):
        size: Line = [(f"  {size_text(value)}", "dim")] if value >= 1024 else []
        return [(str(value), "value"), *size]
    if field.role == "address":
        return [(address_text(value), "address")]
    return [
        (f"{value:#x}" if field.role in _HEX_ROLES or value >= 1 << 40 else str(value), "value")
    ]


def cell_text(field: Field | None, value: Any) -> str:
    """A value in the column of a table; flags whose names are long as a number."""
    text = plain(value_line(field, value)[:1])
    return f"{value:#x}" if len(text) > CELL and isinstance(value, int) else text


def radix_text(value: int, radix: str, size: int) -> str:
    """A number in ``hex``, ``decimal`` or ``binary``, with all the digits of ``size`` bytes."""
    if radix == "binary":
        digits = f"{value & ((1 << size * 8) - 1):0{size * 8}b}"
        return " ".join(digits[i : i + 8] for i in range(0, len(digits), 8))
    if radix == "decimal":
        return f"{value:,}".replace(",", " ")
    return f"{value:#0{size * 2 + 2}x}"


def key_line(node: Node) -> Line:
    """Name and key of a node."""
    line: Line = []
    if node.name:
        line.append((visible(node.name), "name"))
    if node.key is not None:
        line.append((f"[{visible(node.key)}]", "key"))
    return line


def label_line(item: Item, image: Image) -> Line:
    """The label of a line of the tree, without badges."""
    place = item.place
    node = place.node
    if item.is_bucket:
        base = len(node.children) if node.table is not None else 0
        low = item.first - base
        if low < 0:
            return [(f"[{item.first} … {item.first + item.count - 1}]", "dim")]
        return [
            (f"[{count_text(low)} … {count_text(low + item.count - 1)}]", "key"),
            (f"  {count_text(item.count, 'row')}", "dim"),
        ]
    if place.label:
        field = place.field
        line: Line = [(place.label, "name"), ("  ", ""), *value_line(field, place.value)]
        return line + _arrow(field, place.value)
    if place.row >= 0:
        return [(f"[{place.row}]", "key"), ("  ", ""), *_row_summary(place)]
    if node.parent is None:
        root = image.root
        return [(visible(root.compatible if root else "image"), "name"), ("  KHO root", "dim")]
    return [*key_line(node), *_summary(node)]


def sketch(top: Node, room: int) -> list[Line]:
    """The first ``room`` lines of a tree that is still being decoded, a few levels deep."""
    lines: list[Line] = []
    pending = [(0, child) for child in reversed(top.children)]
    while pending and len(lines) < room:
        level, node = pending.pop()
        lines.append([("  " * level, ""), *key_line(node), *_summary(node)])
        if level < SKETCHED:
            pending += [(level + 1, child) for child in reversed(node.children)]
    return lines


def _row_summary(place: Place) -> Line:
    line: Line = []
    table = place.node.table
    assert table is not None
    values = table.row(place.row)
    for label in labels_of(table)[:3]:
        if line:
            line.append(("  ", ""))
        field = Place(place.node, 0, label).field
        line += [(f"{label} ", "dim"), (cell_text(field, values[label]), "value")]
    return line


def _arrow(field: Field | None, value: Any) -> Line:
    if field is None or field.points_to is None or not isinstance(value, int) or not value:
        return []
    return [(f" → {field.points_to.of or field.points_to.shape}", "pointer")]


def element_count(node: Node) -> int:
    """Elements of a list, or rows of a table."""
    if node.table is not None:
        return len(node.table)
    return sum(1 for child in node.children if child.key is not None and not child.name)


def _summary(node: Node) -> Line:
    if node.kind is NodeKind.TABLE:
        line: Line = [(count_text(element_count(node), "row"), "dim")]
    elif node.kind is NodeKind.LIST:
        empty = isinstance(node.value, int) and not node.value
        line = [("0" if empty else count_text(element_count(node)), "dim")]
    elif node.kind is NodeKind.ENTRY:
        line = [(node.format, "dim")] if node.format else []
    else:
        line = _value_summary(node)
    if line:
        line = [("  ", ""), *line]
    if node.key is not None:
        line += _element_summary(node)
    if node.note:
        line += [("  ", ""), (visible(node.note), "unknown")]
    return line


def _value_summary(node: Node) -> Line:
    if node.value is None:
        return [(node.struct, "dim")] if node.struct and node.key is None else []
    line = value_line(node.field, node.value)
    if node.reference:
        return [*line, (f" → {visible(reference_text(node))}", "pointer")]
    if node.target is not None:
        return [*line, (f" → {node.struct}" if node.struct else " →", "pointer")]
    return line


def _element_summary(node: Node) -> Line:
    """What tells an element from its neighbours: its first text, then its first count."""
    line: Line = []
    for child in node.children[:12]:
        if isinstance(child.value, str) and child.value != node.key and not line:
            line = [("  ", ""), (visible(child.value), "dim")]
        elif child.kind is NodeKind.LIST:
            count = element_count(child)
            name = child.name.removesuffix("s") if count == 1 else child.name
            line.append((f"  {count_text(count)} {name}", "dim"))
            break
    return line + _contents(node)


def _contents(node: Node) -> Line:
    """Size and folios of a file, as the record of its handler has them."""
    record = node.get("data")
    size = record.get("size") if record is not None else None
    if record is None or size is None or not isinstance(size.value, int):
        return []
    line: Line = [(f"  {size_text(size.value)}", "value")]
    table = next((child for child in record.children if child.kind is NodeKind.TABLE), None)
    if table is not None:
        line.append((f"  {count_text(element_count(table), table.name.removesuffix('s'))}", "dim"))
    return line


def facts(
    place: Place, image: Image, view: MemoryView, findings: list[Finding], radix: str = "hex"
) -> list[Fact]:
    """Everything about a place: type, value, bytes, page, target, documentation, findings."""
    found: list[Fact] = []
    type_line = _type_line(place)
    if type_line:
        found.append(("type", type_line))
    found += _value_facts(place, image, radix)
    if place.row < 0:
        found += _node_facts(place.node)
    span = span_of(place)
    if span is not None:
        found.append(("bytes", _bytes_line(place, image)))
        if span.address < UNPLACED:
            found.append(("page", page_line(span.address, view)))
    found += _definition_facts(place, image)
    if place.node.note:
        found.append(("note", [(visible(place.node.note), "unknown")]))
    found += [(item.rule, [(visible(item.message), "error")]) for item in findings]
    return found


def _value_facts(place: Place, image: Image, radix: str) -> list[Fact]:
    field, value = place.field, place.value
    if value is None:
        return []
    if isinstance(value, Absent):
        text = f"{value.reason}" + (f": {visible(value.detail)}" if value.detail else "")
        return [("value", [(text, "absent")])]
    if isinstance(value, int):
        span = span_of(place)
        size = span.size if span is not None else 8
        known = ("value", value_facts(field, value, size, radix, image))
        return [known, *_word(place, image, radix)]
    found: list[Fact] = [("value", value_line(field, value))]
    if isinstance(value, list) and value:
        found.append(("", [(" ".join(f"{item:#x}" for item in value[:4]), "value")]))
    return found


def _word(place: Place, image: Image, radix: str) -> list[Fact]:
    """The word that a bit field is a part of, and which of its bits are meant."""
    field, span, placed, node = place.field, span_of(place), place.placed, place.node
    if field is None or span is None or not field.width:
        return []
    definition = image.registry.definitions.get(node.format)
    if placed is None and definition is not None and node.parent is not None:
        compiled = image.registry.compile(definition, node.parent.struct, image.geometry)
        placed = compiled.by_label(field.label)
    data = bytes_at(image, span.address, span.size)
    if placed is None or placed.field.type is None or len(data) < span.size:
        return []
    order = "big" if placed.field.type.big else image.geometry.byteorder
    mask = next(part.mask for part in placed.parts if part.field.label == field.label)
    word = radix_text(int.from_bytes(data, order), radix, span.size)
    bits = f"bits {(mask & -mask).bit_length() - 1} to {mask.bit_length() - 1}"
    return [("word", [(word, "value"), (f"  {placed.field.type.text}  ", "type"), (bits, "dim")])]


def _node_facts(node: Node) -> list[Fact]:
    """What a node holds, names and points to."""
    found: list[Fact] = []
    if node.kind in (NodeKind.LIST, NodeKind.TABLE):
        found.append(("holds", _holds_line(node)))
    if node.reference:
        found.append(("names", [("→ ", "pointer"), (visible(node.reference), "value")]))
    if node.target is not None:
        what = f"{address_text(node.target.address)}  {size_text(node.target.size)}"
        line: Line = [("→ ", "pointer"), (what, "address")]
        found.append(("target", [*line, (f"  {node.struct}", "text")] if node.struct else line))
    return found


def _definition_facts(place: Place, image: Image) -> list[Fact]:
    """What the definition says about a place, and which definition that is."""
    doc = place.field.doc if place.field is not None else ""
    definition = image.registry.definitions.get(place.node.format)
    if definition is None:
        return [("doc", [(doc, "text")])] if doc else []
    if not doc:
        struct = definition.structs.get(place.struct)
        doc = struct.doc if struct is not None else definition.doc.strip().replace("\n", " ")
    source: Fact = ("from", [(f"{definition.id}  {definition.header}", "dim")])
    return [("doc", [(doc, "text")]), source] if doc else [source]


def value_facts(field: Field | None, value: int, size: int, radix: str, image: Image) -> Line:
    """A number in the chosen radix, then as its role reads it."""
    role = field.role if field is not None else ""
    shown = radix_text(value, radix, min(max(size, 1), 8))
    line: Line = [(shown, "value")]
    read = plain(value_line(field, value))
    if role == "address" and radix == "hex":
        if value < UNPLACED:
            line.append((f"  PFN {value >> image.geometry.page_shift:#x}", "dim"))
        else:
            line = [(address_text(value), "value")]
    elif role == "pfn":
        line.append((f"  address {value << image.geometry.page_shift:#x}", "dim"))
    elif read not in (shown, f"{value:#x}"):
        line.append((f"  {read}", "dim"))
    elif radix == "hex":
        line.append((f"  {value}", "dim"))
    return line


def _type_line(place: Place) -> Line:
    field, node = place.field, place.node
    line: Line = []
    if field is not None:
        if field.type is not None:
            line.append((field.type.text, "type"))
        elif field.width:
            line.append((f"{field.width} bits", "type"))
        if field.role:
            line.append((f"  {field.role}", "text"))
        if field.points_to is not None:
            shape = field.points_to.shape
            text = f", read by {field.points_to.by}" if shape == "handler" else ""
            line.append((text or f" of {field.points_to.of or shape}", "text"))
    elif place.struct:
        line.append((f"struct {place.struct}", "type"))
    elif node.kind is not NodeKind.VALUE:
        line.append((node.kind.replace("-", " "), "type"))
    return line


def _holds_line(node: Node) -> Line:
    if node.table is None:
        return [(count_text(element_count(node), "element"), "value")]
    table = node.table
    line: Line = [(count_text(len(table), "row"), "value")]
    line.append((f" of {table.compiled.struct.name}, {table.compiled.size} B each", "text"))
    if table.declared != len(table):
        line.append((f"  {count_text(table.declared)} declared", "warning"))
    return line


def _bytes_line(place: Place, image: Image) -> Line:
    span = span_of(place)
    assert span is not None
    line: Line = [(f"{span.size} at {address_text(span.address)}", "value")]
    group = group_span(place)
    if group is not None and group != span:
        line.append((f"  +{span.address - group.address:#x} of {size_text(group.size)}", "dim"))
    return line


def page_line(address: int, view: MemoryView) -> Line:
    """The page around an address: number, order, owner."""
    section = view.section(address)
    frame = address >> view.image.geometry.page_shift
    line: Line = [(f"{frame:#x}  ", "value")]
    if section.use is Use.SCRATCH:
        return [*line, ("scratch, never preserved", "scratch")]
    if section.use is Use.FREE:
        return [*line, ("not preserved", "dim")]
    if section.use is Use.UNKNOWN:
        return [*line, ("no map of preserved memory", "dim")]
    if section.use is Use.UNPRESERVED:
        line.append(("referenced, not preserved", "error"))
    else:
        line.append((f"order {section.order}, preserved", "text"))
    owners = view.owners(address)
    if owners:
        line.append((f"  {visible(owners[0])}", "owner"))
        if len(owners) > 1:
            line.append((f" and {len(owners) - 1} more", "warning"))
    elif section.use is Use.UNOWNED:
        line.append(("  no owner", "warning"))
    return line
