"""A definition drawn: its strings, its structs with offsets, its device tree, where it is from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from khotool.abi.c_text import declarations
from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.abi.definition import Definition, Field, NodeType
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Origin, Registry
from khotool.document.dump import head
from khotool.render.lines import Line
from khotool.render.overview import row


def releases(first: str, last: str) -> str:
    """``6.16-7.0``, or ``7.2-`` where it is still written."""
    return f"{first}-{last}" if first != last else first


def origin_text(origin: Origin) -> str:
    """Where a definition comes from: ``shipped``, a package with its version, or a folder."""
    return origin.name or origin.kind


def origin_word(origin: Origin) -> str:
    """The same, short enough for a table: ``user`` and ``--formats`` for folders."""
    return {"user": "user", "folder": "--formats"}.get(origin.kind, origin_text(origin))


def list_json(registry: Registry, definition: Definition) -> dict[str, Any]:
    """One definition in a list."""
    origin = registry.origin(definition.id)
    return {
        "id": definition.id,
        "kind": str(definition.kind),
        "status": definition.status,
        "first": definition.first or None,
        "last": definition.last or None,
        "title": definition.title,
        "from": {"kind": origin.kind, "name": origin.name or None, "file": definition.source},
    }


def list_lines(registry: Registry, found: list[Definition]) -> Iterator[Line]:
    """A line for each definition, with its origin unless all are shipped."""
    heads: tuple[str, ...] = ("id", "kind", "status", "releases", "from", "title")
    table = [heads]
    for d in found:
        origin = origin_word(registry.origin(d.id))
        table.append((d.id, str(d.kind), d.status, releases(d.first, d.last), origin, d.title))
    if all(cells[4] == "shipped" for cells in table[1:]):
        table = [(*cells[:4], cells[5]) for cells in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    hang = " " * (sum(widths) + 2 * len(widths))
    for number, cells in enumerate(table):
        *shown, title = cells
        shown = [cell.ljust(width) for cell, width in zip(shown, widths, strict=True)]
        if not number:
            yield Line([("  ".join((*shown, title)), "key")])
            continue
        yield Line(
            [(shown[0], "format"), ("  " + "  ".join(shown[1:]), ""), (f"  {title}", "")], hang=hang
        )


def show_json(registry: Registry, definition: Definition, page_size: int) -> dict[str, Any]:
    """Everything about one definition, with offsets for one page size."""
    document = head("formats")
    document.update(list_json(registry, definition))
    document["doc"] = definition.doc.strip()
    document["unverified"] = definition.unverified or None
    document["verified"] = definition.verified or None
    document["header"] = definition.header
    document["match"] = {key: list(values) for key, values in definition.match.items()}
    document["uses"] = list(definition.uses)
    document["page_size"] = page_size
    document["layouts"] = [
        {
            "name": layout.name,
            "doc": layout.doc,
            "first": layout.first or None,
            "last": layout.last or None,
            "parameters": dict(layout.parameters),
        }
        for layout in definition.layouts.values()
    ]
    document["structs"] = [
        struct_json(registry.compile(definition, name, Geometry(page_size)))
        for name in definition.structs
    ]
    document["fdt"] = node_json(definition.fdt) if definition.fdt is not None else None
    document["literals"] = {name: f"{value:#x}" for name, value in definition.literals.items()}
    return document


def struct_json(compiled: CompiledStruct) -> dict[str, Any]:
    """A struct with its fields at their offsets, bytes."""
    fields = []
    for placed in compiled.fields:
        entry: dict[str, Any] = {"offset": placed.offset, "size": placed.size}
        if placed.field.parts:
            kind = placed.field.type
            entry["type"] = kind.text if kind is not None else ""
            entry["parts"] = [
                {"mask": f"{part.mask:#x}", **field_json(part.field)} for part in placed.parts
            ]
        else:
            entry.update(field_json(placed.field))
        fields.append(entry)
    return {
        "name": compiled.struct.name,
        "size": compiled.size,
        "doc": compiled.struct.doc,
        "fields": fields,
    }


def field_json(field: Field) -> dict[str, Any]:
    """A field or property; keys without a value are left out."""
    found: dict[str, Any] = {"name": field.name, "label": field.label}
    if field.type is not None:
        found["type"] = field.type.text
    for name in ("role", "layout", "value", "doc"):
        if getattr(field, name):
            found[name] = getattr(field, name)
    if field.points_to is not None:
        found["points_to"] = target_text(field)
    if field.flags:
        found["flags"] = dict(field.flags)
    if field.enum:
        found["enum"] = dict(field.enum)
    return found


def node_json(node: NodeType) -> dict[str, Any]:
    """A node type of a device tree."""
    return {
        "doc": node.doc,
        "format": node.format or node.kind or None,
        "properties": [
            {**field_json(field), "optional": field.optional} for field in node.properties
        ],
        "nodes": {name: node_json(child) for name, child in node.nodes.items()},
        "any_node": node_json(node.any_node) if node.any_node is not None else None,
    }


def target_text(field: Field) -> str:
    """What a pointer leads to, in words."""
    reference = field.points_to
    if reference is None:
        return ""
    words = str(reference.shape)
    if reference.of:
        words += f" of {reference.of}"
    if reference.kind:
        words = f"{reference.kind} {words}"
    if reference.by:
        words += f", by {reference.by}"
    if reference.count:
        words += f", counted by {reference.count}"
    return words


def show_lines(registry: Registry, definition: Definition, page_size: int) -> Iterator[Line]:
    """The definition as text."""
    d = definition
    yield Line([(d.id, "format"), (f"  {d.title}", "name")])
    yield row("kind", [(f"{d.kind}, {d.status}", "")])
    yield row("releases", [(releases(d.first, d.last), "")])
    yield row("header", [(d.header, "")])
    yield row("from", [(f"{origin_text(registry.origin(d.id))}, {d.source}", "")])
    matches = [f"{key} {', '.join(values)}" for key, values in d.match.items()]
    yield row("found by", [("; ".join(matches) or "what points to it", "")])
    if d.uses:
        yield row("uses", [(", ".join(d.uses), "format")])
    for paragraph in d.doc.strip().split("\n\n"):
        yield Line()
        yield Line([(" ".join(paragraph.split()), "")])
    if d.unverified:
        yield Line()
        yield Line([("not certain: ", "warning"), (d.unverified, "")])
    if d.verified:
        yield Line()
        yield Line([("read again in ", "dim"), (d.verified, "")])
    for layout in d.layouts.values():
        yield Line()
        span = releases(layout.first, layout.last)
        line = Line([("layout ", "key"), (f"{d.id}={layout.name}", "format")], hang="  ")
        yield line.add(f"  {span}  ", "dim").add(layout.doc)
    for name in d.structs:
        yield Line()
        yield from struct_lines(registry.compile(d, name, Geometry(page_size)), page_size)
    if d.fdt is not None:
        yield Line()
        yield Line([("device tree", "key"), ("  integers in the byte order of the kernel", "dim")])
        yield from node_lines("/", d.fdt)
    for name, value in d.literals.items():
        yield row("literal", [(f"{value:#x}  {name}", "")])


def struct_lines(compiled: CompiledStruct, page_size: int) -> Iterator[Line]:
    """A struct as its C, with the offset and size in bytes of every member."""
    name, size = compiled.struct.name, compiled.size
    page = f" (a page of {page_size})" if compiled.struct.size == "page" else ""
    yield Line([(f"struct {name}", "name"), (f"  {size} bytes{page}", "dim")])
    if compiled.struct.doc:
        yield Line([(f"  {compiled.struct.doc}", "dim")], hang="  ")
    rows = list(declarations(compiled))
    width = max((len(code) for _, _, code in rows), default=0)
    before: PlacedField | None = None
    for placed, field, code in rows:
        lead = f"  +{size:#05x} {'':>5}  "
        if placed is not None:
            # The bit-fields of a word share its place.
            shown = f"+{placed.offset:#05x} {placed.size:>5}"
            lead = f"  {shown if placed is not before else '':<12}  "
        yield field_line(lead, code, width, field)
        before = placed


def field_line(lead: str, declared: str, width: int, field: Field) -> Line:
    """One field: how it is declared, its role, target, flags and meaning.

    Args:
        width: columns of ``declared``.
    """
    hang = " " * (len(lead) + width + 2)
    line = Line([(lead, "address"), (declared.ljust(width), "format")], hang=hang)
    if field.role:
        line.add(f"  {field.role}", "dim")
    if field.alias:
        line.add(f"  as {field.alias}", "dim")
    if field.points_to is not None:
        line.add(f"  -> {target_text(field)}", "address")
    if field.value:
        line.add(f'  = "{field.value}"', "text")
    if field.layout:
        line.add(f"  only {field.layout}", "dim")
    if field.doc:
        line.add(f"  {field.doc}")
    for name, value in (*field.flags.items(), *field.enum.items()):
        line.add(f"  {name} = {value:#x}", "dim")
    return line


def node_lines(name: str, top: NodeType) -> Iterator[Line]:
    """A device tree's node types, children indented."""
    stack = [(name, top, 1)]
    while stack:
        shown, node, level = stack.pop()
        pad = "  " * level
        line = Line([(f"{pad}{shown}", "name")], hang=f"{pad}    ")
        if node.format or node.kind:
            line.add(f"  {node.format or node.kind}", "format")
        if node.optional:
            line.add("  optional", "dim")
        yield line.add(f"  {node.doc}" if node.doc else "", "dim")
        rows = [(f"{f.type.text if f.type else '':<6}  {f.name}", f) for f in node.properties]
        width = max((len(declared) for declared, _ in rows), default=0)
        for declared, field in rows:
            yield field_line(f"{pad}  ", declared, width, field)
        below = [(child_name, child, level + 1) for child_name, child in node.nodes.items()]
        if node.any_node is not None:
            below.append(("(any name)", node.any_node, level + 1))
        stack.extend(reversed(below))
