"""A flattened device tree as JSON and back, offsets of names included."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_text, encode_text, int_range
from khotool.document.numbers import integers, rows
from khotool.errors import EncodeError
from khotool.fdt.blob import HEADER_WORDS, Blob, Node, Nop, Property
from khotool.model.image import Node as ModelNode
from khotool.structured import Table

HEADER = HEADER_WORDS[1:]
"""The words of the header that are written; the magic is not one of them."""
INTEGER = re.compile(r"^(?P<big>be)?(?P<sign>[us])(?P<bits>8|16|32|64)$")
"""Key of a number: its type."""
MAX_DEPTH = 64
MAX_SIZE = 64 << 20
"""Bytes of a tree."""
MAX_WORD = (1 << 32) - 1


def blob_to_json(blob: Blob, base: int, fields: Mapping[int, ModelNode]) -> dict[str, Any]:
    """Header, reservations, strings and tree; an incomplete tree is its bytes.

    Args:
        base: physical address of the tree.
        fields: value nodes by physical address; they say which properties are numbers.
    """
    if not blob.complete or blob.root is None:
        return {"incomplete": bytes(blob.data).hex()}
    return {
        "header": {name: getattr(blob, name) for name in HEADER},
        "reservations": [[hex(a), n] for a, n in blob.reservations],
        "nops": [blob.nops_before, blob.nops_after],
        "strings": blob.strings.decode("latin-1"),
        "tree": _node_to_json(blob.root, base, fields),
    }


def _node_to_json(root: Node, base: int, fields: Mapping[int, ModelNode]) -> dict[str, Any]:
    top: dict[str, Any] = {}
    stack = [(root, top)]
    while stack:
        node, data = stack.pop()
        items: list[dict[str, Any]] = []
        data["node"] = node.name
        data["items"] = items
        for item in node.items:
            if isinstance(item, Property):
                value = _value_to_json(item, fields.get(base + item.value_offset))
                items.append({"property": item.name, "name_offset": item.name_offset} | value)
            elif isinstance(item, Node):
                child: dict[str, Any] = {}
                items.append(child)
                stack.append((item, child))
            else:
                items.append({"nop": True})
    return top


def _value_to_json(prop: Property, node: ModelNode | None) -> dict[str, Any]:
    kind = node.field.type if node is not None and node.field is not None else None
    whole = node is not None and node.span is not None and node.span.size == len(prop.value)
    if node is not None and kind is not None and whole:
        if kind.kind == "int" and isinstance(node.value, int):
            return {kind.text: hex(node.value) if kind.size == 8 else node.value}
        if kind.kind == "string" and prop.value == encode_text(decode_text(prop.value)) + b"\0":
            return {"text": decode_text(prop.value)}
    return {"hex": prop.value.hex()}


def blob_from_json(given: Table, geometry: Geometry) -> Blob:
    """The inverse of ``blob_to_json``; what is wrong is noted."""
    if "incomplete" in given:
        numbers = dict.fromkeys(HEADER, 0)
        return _blob(numbers, None, data=given["incomplete"].hexadecimal())
    header = given["header"].table()
    numbers = {name: header.integer(name, most=MAX_WORD) for name in HEADER}
    if numbers["totalsize"] > MAX_SIZE:
        header["totalsize"].mistake(f"more than {MAX_SIZE} bytes")
        numbers["totalsize"] = 0
    nops = integers(given["nops"]) if "nops" in given else [0, 0]
    if len(nops) != 2 or min(nops) < 0 or 4 * sum(nops) > numbers["totalsize"]:
        given["nops"].mistake("expected two numbers of words, which fit into totalsize")
        nops = [0, 0]
    strings = given["strings"]
    try:
        names = strings.text().encode("latin-1")
    except UnicodeEncodeError:
        strings.mistake("expected characters below 256")
        names = b""
    reservations = [(int(a), int(n)) for a, n in rows(given["reservations"], 2).tolist()]
    root = _node_from_json(given["tree"].table(), geometry, 0)
    return _blob(numbers, root, bytes(numbers["totalsize"]), names, reservations, nops)


def _blob(
    numbers: dict[str, int],
    root: Node | None,
    data: bytes,
    strings: bytes = b"",
    reservations: list[tuple[int, int]] | None = None,
    nops: Sequence[int] = (0, 0),
) -> Blob:
    return Blob(
        **numbers,
        reservations=reservations or [],
        root=root,
        strings=strings,
        data=data,
        problems=[],
        struct_end=0,
        complete=root is not None,
        nops_before=nops[0],
        nops_after=nops[1],
    )


def _node_from_json(given: Table, geometry: Geometry, depth: int) -> Node:
    node = Node(given.text("node"))
    if depth > MAX_DEPTH:
        given.mistake(f"more than {MAX_DEPTH} levels")
        return node
    for item in given["items"].tables():
        if "node" in item:
            node.items.append(_node_from_json(item, geometry, depth + 1))
        elif "property" in item:
            name, offset = item.text("property"), item.integer("name_offset", most=MAX_WORD)
            node.items.append(Property(name, _value_from_json(item, geometry), offset))
        else:
            node.items.append(Nop())
    return node


def _value_from_json(given: Table, geometry: Geometry) -> bytes:
    if "text" in given:
        text = given["text"]
        try:
            return encode_text(text.text()) + b"\0"
        except EncodeError as error:
            text.mistake(str(error))
    elif "hex" in given:
        return given["hex"].hexadecimal()
    else:
        for kind in given:
            found = INTEGER.match(kind)
            if found is not None:
                size, signed = int(found["bits"]) // 8, found["sign"] == "s"
                least, most = int_range(size, signed)
                value = given.integer(kind, least=least, most=most)
                order = "big" if found["big"] else geometry.byteorder
                return value.to_bytes(size, order, signed=signed)
        given.mistake("a property needs one of text, hex, u32, u64")
    return b""
