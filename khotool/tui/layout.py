"""A definition drawn with offsets, and two of them compared."""

from __future__ import annotations

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, NodeType
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.authoring.compare import Impact, compare_definitions
from khotool.tui.text import Line

BAR = 32
"""Cells of the bar that shows a field's place in its struct."""
_IMPACT = {
    Impact.BREAKING: ("✗", "error"),
    Impact.COMPATIBLE: ("+", "added"),
    Impact.COSMETIC: ("·", "dim"),
}


def definition_lines(
    registry: Registry, definition: Definition, geometry: Geometry, *, bars: bool = True
) -> list[Line]:
    """Everything a definition says.

    Args:
        bars: whether each field has a bar that shows its place; without, names have the room.
    """
    last = definition.last or "now"
    lines: list[Line] = [
        [(definition.id, "title"), (f"  {definition.title}", "name")],
        [("kind      ", "dim"), (f"{definition.kind}, {definition.status}", "text")],
        [("releases  ", "dim"), (f"{definition.first} to {last}", "text")],
        [("header    ", "dim"), (definition.header, "text")],
    ]
    matches = "; ".join(f"{key} {', '.join(v)}" for key, v in definition.match.items())
    if matches:
        lines.append([("found by  ", "dim"), (matches, "string")])
    if definition.uses:
        lines.append([("uses      ", "dim"), (", ".join(definition.uses), "type")])
    lines += [[], [(" ".join(definition.doc.split()), "text")]]
    for name in definition.structs:
        compiled = registry.compile(definition, name, geometry)
        lines += [[], *struct_lines(compiled, bars=bars)]
    if definition.fdt is not None:
        lines += [[], [("device tree", "title")], *_node_lines("/", definition.fdt, 1)]
    for name, value in definition.literals.items():
        lines.append([("literal   ", "dim"), (f"{value:#x}", "value"), (f"  {name}", "text")])
    return lines


def struct_lines(compiled: CompiledStruct, *, bars: bool = True) -> list[Line]:
    """A struct: a bar to scale, offset, size, type, name, role, target, meaning."""
    lines: list[Line] = [
        [(f"struct {compiled.struct.name}", "title"), (f"  {compiled.size} bytes", "dim")]
    ]
    if compiled.struct.doc:
        lines.append([(f"  {compiled.struct.doc}", "dim")])
    indent = BAR + 3 if bars else 2
    for number, placed in enumerate(compiled.fields):
        field = placed.field
        low = placed.offset * BAR // max(compiled.size, 1)
        high = max(-(-(placed.offset + placed.size) * BAR // max(compiled.size, 1)), low + 1)
        token = f"owner{number % 4}"
        bar: Line = [("  ", "")]
        if bars:
            bar += [
                ("·" * low, "zero"),
                ("█" * (high - low), token),
                ("·" * (BAR - high), "zero"),
                (" ", ""),
            ]
        kind = field.type.text if field.type is not None else ""
        lead: Line = [(f"+{placed.offset:#06x} {placed.size:>5}  ", "address")]
        if not field.parts:
            lines.append([*bar, *lead, (f"{kind:<12} ", "type"), *_field_pieces(field)])
            continue
        lines.append([*bar, *lead, (f"{kind:<12} ", "type"), ("bits", "dim")])
        for part in placed.parts:
            text = f"{part.mask:#018x}"
            lines.append([(" " * indent, ""), (f"{text:>27} ", "dim"), *_field_pieces(part.field)])
    return lines


def _field_pieces(field: Field) -> Line:
    line: Line = [(f"{field.name}", "name")]
    if field.role:
        line.append((f"  {field.role}", "key"))
    if field.points_to is not None:
        line.append((f" → {field.points_to.of or field.points_to.shape}", "pointer"))
    if field.value:
        line.append((f'  = "{field.value}"', "string"))
    if field.doc:
        line.append((f"  {field.doc}", "dim"))
    return line


def _node_lines(name: str, top: NodeType, level: int) -> list[Line]:
    lines: list[Line] = []
    stack = [(name, top, level)]
    while stack:
        name, node, level = stack.pop()
        pad = "  " * level
        lines.append([(f"{pad}{name}", "key"), (f"  {node.doc}" if node.doc else "", "dim")])
        for field in node.properties:
            kind = field.type.text if field.type is not None else ""
            lines.append([(f"{pad}  ", ""), (f"{kind:<12} ", "type"), *_field_pieces(field)])
        below = [(f"{child}", kind, level + 1) for child, kind in node.nodes.items()]
        if node.any_node is not None:
            below.append(("*", node.any_node, level + 1))
        stack.extend(reversed(below))
    return lines


def compare_lines(
    registry: Registry, old: Definition, new: Definition, geometry: Geometry
) -> list[Line]:
    """What changed between two definitions, breaking changes marked."""
    changes = compare_definitions(old, new, registry, geometry)
    lines: list[Line] = [
        [(old.id, "title"), (" → ", "pointer"), (new.id, "title")],
        [],
    ]
    if not changes:
        lines.append([("the same bytes", "added")])
    for change in changes:
        glyph, token = _IMPACT[change.impact]
        lines.append(
            [
                (f" {glyph} {change.impact:<11} ", token),
                (f"{change.where}  ", "name"),
                (change.message, "text"),
            ]
        )
    return lines
