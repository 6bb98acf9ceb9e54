"""Constraints that a definition declares: reserved, flags, fixed values, strings, counts, keys."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_

import numpy as np

from khotool.abi.definition import Field, Struct
from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.errors import DefinitionError
from khotool.model.image import Node, NodeKind, Table

UNIQUE_RULES = {"name": "LUO501", "token": "LUO502"}
"""Rule for a duplicate key by the role of the key; others are REC416."""


@rule(
    "LUO501",
    "LUO502",
    "LUO503",
    "REC409",
    "REC410",
    "REC411",
    "REC412",
    "REC413",
    "REC414",
    "REC415",
    "REC416",
    "REC418",
    "REC419",
    "REC420",
    when_consumed=True,
)
def check_fields(context: Context) -> None:
    """Every value against its own definition."""
    bound: dict[int, bool] = {}
    for node in context.nodes:
        field = node.field
        if field is not None:
            constrained = bound.get(id(field))
            if constrained is None:
                constrained = bound[id(field)] = _is_constrained(field)
            if constrained and not isinstance(node.value, Absent):
                _numbers(context, node)
                _strings(context, node)
                _counts(context, node)
        if node.kind is NodeKind.LIST:
            _keys(context, node)
            _records(context, node)
        if node.table is not None:
            _rows(context, node, node.table)


def _is_constrained(field: Field) -> bool:
    """True if some values of a field are wrong."""
    number = field.reserved or field.flags or field.whole_pages or field.expect is not None
    text = field.nonempty or field.component or (field.type and field.type.kind == "char")
    return bool(number or text or field.counts or field.role == "kernel-pointer")


def _numbers(context: Context, node: Node) -> None:
    field, value = node.field, node.value
    if field is None or not isinstance(value, int):
        return
    place = node.span.address if node.span is not None else None
    for identifier, fault in _number_faults(field, value, context.image.geometry.page_size):
        context.report(identifier, node, f"{field.name} {fault}", place)


def _number_faults(field: Field, value: int, page_size: int) -> Iterator[tuple[str, str]]:
    """Rules that a number breaks, each with what is wrong."""
    unknown = value & ~reduce(or_, field.flags.values(), 0)
    if field.reserved and value:
        yield "REC411", f"is {value:#x}, expected 0"
    if field.flags and unknown and not field.reserved:
        yield "REC412", f"has unknown bits {unknown:#x}"
    if field.role == "kernel-pointer" and value:
        yield "REC418", f"is {value:#x}"
    if field.whole_pages and not value:
        yield "REC419", "is 0"
    elif field.whole_pages and value % page_size:
        yield "REC419", f"is {value}, not a multiple of {page_size}"
    if field.expect is not None and value != field.expect:
        yield "REC415", f"is {value:#x}, expected {field.expect:#x}"


def _strings(context: Context, node: Node) -> None:
    field = node.field
    if field is None or field.type is None or not isinstance(node.value, str):
        return
    if field.nonempty and not node.value:
        context.report("REC413", node, f"{field.name} is empty")
    if field.component and node.value and ("/" in node.value or node.value in (".", "..")):
        context.report("REC420", node, f"{field.name} is {node.value!r}")
    if field.type.kind != "char" or node.span is None:
        return
    raw = context.read(node.span.address, node.span.size)
    if raw is None:
        return
    start, nul, tail = raw.partition(b"\0")
    if not nul:
        context.report(
            "REC409", node, f"{field.name} has {len(start)} bytes and no NUL", node.span.address
        )
    elif tail.count(0) < len(tail):
        at = node.span.address + len(raw) - len(tail.lstrip(b"\0"))
        context.report("REC410", node, f"{field.name} has non-zero bytes after its NUL", at)


def _counts(context: Context, node: Node) -> None:
    field = node.field
    if field is None or not field.counts:
        return
    # A number says how many there are; of two arrays side by side, one is as long as the other.
    value = node.value if node.table is None else node.table.declared
    counted = node.parent.get(field.counts) if node.parent is not None else None
    if counted is None or not isinstance(value, int):
        return
    target = counted.get("target")
    if target is not None and isinstance(target.value, Absent):
        context.skip("REC414", node, f"{counted.path} is not captured")
        return
    right = _right_counts(context, counted)
    if right and value not in right:
        verb = "is" if node.table is None else "has"
        text = f"{field.name} {verb} {value}, {field.counts} has {right[0]}"
        context.report("REC414", node, text, node.span.address if node.span else None)


def _right_counts(context: Context, counted: Node) -> tuple[int, ...]:
    """Numbers that may be said of a list or table; none where its length is not known."""
    if counted.table is not None:
        # The descriptor of a vmalloc area says how much there is; what it lacks is REC403.
        return (counted.table.declared,)
    if counted.kind is not NodeKind.LIST and counted.value != 0:
        return ()
    number = len(used_elements(context, counted)) + counted.free
    # Whether a number counts records that are not used is up to its format.
    return number, number - _idle(context, counted)


def _idle(context: Context, node: Node) -> int:
    """Elements of a list that are not used, by the field that says so."""
    definition = context.image.registry.definitions.get(node.format)
    elements = node.elements()
    if definition is None or not elements:
        return 0
    struct = definition.structs.get(elements[0].struct)
    if struct is None or not struct.unused:
        return 0
    return sum(1 for element in elements if not element.value_of(struct.unused))


def _keys(context: Context, node: Node) -> None:
    seen: dict[object, Node] = {}
    for element in node.elements():
        for child in element.children:
            field = child.field
            if not (field.unique if field is not None else child.name == "name"):
                continue
            if isinstance(child.value, Absent):
                continue
            if child.value == "":
                # An empty name is a fault of its own, not a name that two records share.
                continue
            role = field.role if field is not None else "region"
            first = seen.setdefault((child.name, child.value), element)
            if first is not element:
                flb = node.name == "flbs"
                rule = "LUO503" if flb else UNIQUE_RULES.get(role, "REC416")
                shown = hex(child.value) if isinstance(child.value, int) else repr(child.value)
                context.report(rule, element, f"{child.name} {shown} is also that of {first.path}")


def _records(context: Context, node: Node) -> None:
    """Elements of a list that share all fields that only one of them may have."""
    elements = used_elements(context, node)
    struct = struct_of(context, elements[0]) if elements else None
    if struct is None or not struct.unique:
        return
    seen: dict[tuple[object, ...], Node] = {}
    for element in elements:
        first = seen.setdefault(tuple(element.value_of(key) for key in struct.unique), element)
        if first is not element:
            keys = ", ".join(f"{key} {element.value_of(key):#x}" for key in struct.unique)
            context.report("REC416", element, f"{keys} are also those of {first.path}")


def _rows(context: Context, node: Node, table: Table) -> None:
    """Rows of a table that share all columns that only one of them may have."""
    struct = table.compiled.struct
    if not struct.unique or not len(table):
        return
    columns = np.stack([table.column(key) for key in struct.unique], axis=1)
    if struct.unused:
        columns = columns[table.column(struct.unused) != 0]
    _, first, counts = np.unique(columns, axis=0, return_index=True, return_counts=True)
    twice = np.flatnonzero(counts > 1)
    if len(twice):
        keys = ", ".join(
            f"{key} {value:#x}"
            for key, value in zip(struct.unique, columns[first[twice[0]]].tolist(), strict=True)
        )
        context.report(
            "REC416", node, f"{len(twice)} rows occur more than once, the first with {keys}"
        )


def used_elements(context: Context, node: Node) -> list[Node]:
    """Elements of a list without its free slots."""
    elements = node.elements()
    struct = struct_of(context, elements[0]) if elements else None
    if struct is None or not struct.unused:
        return elements
    return [element for element in elements if element.value_of(struct.unused)]


def struct_of(context: Context, node: Node) -> Struct | None:
    """The struct whose fields the children of a node are."""
    registry = context.image.registry
    definition = registry.definitions.get(node.format)
    if definition is None or not node.struct:
        return None
    try:
        return registry.owner_of_struct(definition, node.struct).structs[node.struct]
    except DefinitionError:
        return None
