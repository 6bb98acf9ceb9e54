"""Any flattened device tree as it is in its bytes: header, tree with offsets, problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from khotool.fdt.blob import HEADER_WORDS, Blob, Item, Node, Nop, Problem, Property
from khotool.fdt.header import check
from khotool.fdt.text import value_text
from khotool.render.lines import Line
from khotool.render.text import visible

SHOWN = 64
"""Bytes of a value that a line shows."""
ROW = 16


def problems_of(blob: Blob) -> list[Problem]:
    """What a parser would refuse or misread, by offset, each once."""
    found = {(p.offset, p.code): p for p in (*blob.problems, *check(blob))}
    return [found[key] for key in sorted(found)]


def tree_at(blob: Blob, path: str) -> Node | None:
    """The first node of a path such as ``/soc/uart@1000``; None where there is none."""
    node = blob.root
    for name in path.strip("/").split("/") if path.strip("/") else ():
        node = node.child(name) if node is not None else None
    return node


def flat_lines(blob: Blob, top: Node | None) -> Iterator[Line]:
    """Header, reservations, the tree below a node with offsets in the blob, and problems."""
    for name in HEADER_WORDS[1:] if top is blob.root else ():
        yield Line().add(f"{name:18}", "label").add(str(getattr(blob, name)), "number")
    for address, size in blob.reservations if top is blob.root else ():
        yield Line().add("reserved          ", "label").add(f"{address:#x}+{size:#x}", "address")
    for depth, item in items(top):
        line = Line().add(f"{item.tag_offset:#08x}  ", "dim").add("  " * min(depth, 32))
        if isinstance(item, Node):
            yield line.add(visible(item.name) or "/", "name")
        elif isinstance(item, Nop):
            yield line.add("FDT_NOP", "dim")
        else:
            yield line.add(visible(item.name) or "(no name)", "label").add(_value(item))
    for problem in problems_of(blob):
        text = f"offset {problem.offset:#x}: {problem.code}: {visible(problem.text)}"
        yield Line().add(text, "warning")


def _value(item: Property) -> str:
    if not item.value:
        return ""
    cut = "" if len(item.value) <= SHOWN else f" ... {len(item.value)} bytes"
    value = item.value if not cut else item.value[:SHOWN]
    return f" = {visible(value_text(value))}{cut}"


def items(top: Node | None) -> Iterator[tuple[int, Item]]:
    """A node and all below it with their depth, in the order of the blob, without recursion."""
    stack: list[tuple[int, Item]] = [] if top is None else [(0, top)]
    while stack:
        depth, item = stack.pop()
        yield depth, item
        if isinstance(item, Node):
            stack.extend((depth + 1, below) for below in reversed(item.items))


def hex_rows(blob: Blob, top: Node | None) -> Iterator[Line]:
    """The bytes of everything below a node: token by token, values 16 bytes a row."""
    for _, item in items(top):
        if isinstance(item, Property):
            what = f"FDT_PROP {visible(item.name)}, {len(item.value)} bytes"
            yield from _rows(blob, item.tag_offset, item.value_offset, what)
            end = item.value_offset + len(item.value)
            yield from _rows(blob, item.value_offset, end, "")
        elif isinstance(item, Nop):
            yield from _rows(blob, item.tag_offset, item.tag_offset + 4, "FDT_NOP")
        else:
            end = item.tag_offset + 4 + (len(item.name) + 4) // 4 * 4
            yield from _rows(blob, item.tag_offset, end, f"FDT_BEGIN_NODE {visible(item.name)}")


def _rows(blob: Blob, start: int, end: int, what: str) -> Iterator[Line]:
    for at in range(start, min(end, len(blob.data)), ROW):
        row = blob.data[at : min(at + ROW, end)].hex(" ")
        yield Line().add(f"{at:#08x}  ", "dim").add(f"{row:<47}").add(f"  {what}".rstrip(), "label")
        what = ""


def flat_document(blob: Blob, top: Node | None) -> dict[str, Any]:
    """The same for JSON: values as hexadecimal digits, and as strings where they are text."""
    return {
        "header": {name: getattr(blob, name) for name in HEADER_WORDS[1:]},
        "complete": blob.complete,
        "reservations": [{"address": hex(a), "size": n} for a, n in blob.reservations],
        "tree": _node(top),
        "problems": [
            {"code": p.code, "offset": p.offset, "text": p.text} for p in problems_of(blob)
        ],
    }


def _node(top: Node | None) -> dict[str, Any] | None:
    made: dict[int, dict[str, Any]] = {}
    first: dict[str, Any] | None = None
    for _, node in top.walk() if top is not None else ():
        made[id(node)] = {
            "name": node.name,
            "offset": node.tag_offset,
            "properties": [_property(item) for item in node.properties],
            "nodes": [],
        }
        first = first or made[id(node)]
    for _, node in top.walk() if top is not None else ():
        made[id(node)]["nodes"] = [made[id(child)] for child in node.children]
    return first


def _property(item: Property) -> dict[str, Any]:
    text = value_text(item.value)
    strings = item.value[:-1].decode("ascii").split("\0") if text.startswith('"') else None
    return {
        "name": item.name,
        "offset": item.tag_offset,
        "value_offset": item.value_offset,
        "size": len(item.value),
        "value": item.value.hex(),
        "strings": strings,
    }
