"""Constraints that a definition declares: reserved, flags, fixed values, strings, counts, keys."""

from __future__ import annotations

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.image.model import Node, NodeKind

UNIQUE_RULES = {"name": "LUO501", "token": "LUO502"}
"""Rule for a duplicate key by the role of the key; others are REC416."""


def check_fields(context: Context) -> None:
    """Every value against its own definition."""
    for node in context.image.tree.walk():
        if node.field is not None and not isinstance(node.value, Absent):
            _numbers(context, node)
            _strings(context, node)
            _counts(context, node)
        if node.kind is NodeKind.LIST:
            _keys(context, node)


def _numbers(context: Context, node: Node) -> None:
    field, value = node.field, node.value
    if field is None or not isinstance(value, int):
        return
    place = node.span.address if node.span is not None else None
    if field.reserved:
        if value:
            context.report("REC411", node, f"{field.name} is {value:#x}, expected 0", place)
    elif field.flags:
        known = 0
        for bit in field.flags.values():
            known |= bit
        if value & ~known:
            context.report(
                "REC412", node, f"{field.name} has unknown bits {value & ~known:#x}", place
            )
    if field.expect is not None and value != field.expect:
        text = f"{field.name} is {value:#x}, expected {field.expect:#x}"
        context.report("REC415", node, text, place)


def _strings(context: Context, node: Node) -> None:
    field = node.field
    if field is None or field.type is None or not isinstance(node.value, str):
        return
    if field.nonempty and not node.value:
        context.report("REC413", node, f"{field.name} is empty")
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
    elif any(tail):
        at = node.span.address + len(raw) - len(tail.lstrip(b"\0"))
        context.report("REC410", node, f"bytes stand behind the end of {field.name}", at)


def _counts(context: Context, node: Node) -> None:
    field = node.field
    if field is None or not field.counts:
        return
    # A number says how many there are; of two arrays side by side, one is as long as the other.
    value = node.value if node.table is None else node.table.declared
    if not isinstance(value, int):
        return
    counted = node.parent.get(field.counts) if node.parent is not None else None
    if counted is None:
        return
    target = counted.get("target")
    if target is not None and isinstance(target.value, Absent):
        context.skip("REC414", node, f"{counted.path} is not captured")
        return
    if counted.table is not None:
        # The descriptor of a vmalloc area says how much there is; what it lacks is REC403.
        number = counted.table.declared
    elif counted.kind is NodeKind.LIST or counted.value == 0:
        number = len(counted.elements()) + counted.free
    else:
        return
    if value != number:
        verb = "is" if node.table is None else "has"
        text = f"{field.name} {verb} {value}, {field.counts} has {number}"
        context.report("REC414", node, text, node.span.address if node.span else None)


def _keys(context: Context, node: Node) -> None:
    seen: dict[object, Node] = {}
    for element in node.elements():
        for child in element.children:
            field = child.field
            unique = field is not None and field.unique
            region_name = field is None and child.name == "name"
            if not (unique or region_name) or isinstance(child.value, Absent):
                continue
            if child.value == "":
                # An empty name is a fault of its own, and no name that two records share.
                continue
            role = field.role if field is not None else "region"
            first = seen.setdefault((child.name, child.value), element)
            if first is not element:
                flb = node.name == "flbs"
                rule = "LUO503" if flb else UNIQUE_RULES.get(role, "REC416")
                shown = hex(child.value) if isinstance(child.value, int) else repr(child.value)
                context.report(rule, element, f"{child.name} {shown} is that of {first.path} too")
