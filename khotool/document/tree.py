"""A flattened device tree as JSON and back, offsets of names included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_text, encode_text, fit_int
from khotool.document.json_input import number, take, word
from khotool.errors import EncodeError
from khotool.fdt.blob import HEADER_WORDS, Blob, Node, Nop, Property
from khotool.model.image import Node as ModelNode

HEADER = HEADER_WORDS[1:]
"""The words of the header that are written; the magic is not one of them."""
INTEGER = re.compile(r"^(?P<big>be)?(?P<sign>[us])(?P<bits>8|16|32|64)$")
"""Key of a number: its type."""
MAX_DEPTH = 64


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


def blob_from_json(data: dict[str, Any], where: str, geometry: Geometry) -> Blob:
    """The inverse of ``blob_to_json``.

    Raises:
        EncodeError: names the key that is wrong.
    """
    if "incomplete" in data:
        raw = _hex(data["incomplete"], f"{where}.incomplete")
        zeros = dict.fromkeys(HEADER, 0)
        return Blob(
            **zeros,
            reservations=[],
            root=None,
            strings=b"",
            data=raw,
            problems=[],
            struct_end=0,
            complete=False,
        )
    header = take(data, "header", dict, where)
    numbers = {
        name: fit_int(number(header.get(name), f"{where}.header.{name}"), 4, False, where)
        for name in HEADER
    }
    if numbers["totalsize"] > 64 << 20:
        raise EncodeError(f"{where}.header.totalsize", "more than 64 MiB")
    nops = _pair(data.get("nops", [0, 0]), f"{where}.nops")
    if 4 * sum(nops) > numbers["totalsize"]:
        raise EncodeError(f"{where}.nops", "more than totalsize holds")
    reservations = [
        _pair(pair, f"{where}.reservations") for pair in take(data, "reservations", list, where)
    ]
    try:
        strings = take(data, "strings", str, where).encode("latin-1")
    except UnicodeEncodeError:
        raise EncodeError(f"{where}.strings", "expected characters below 256") from None
    return Blob(
        **numbers,
        reservations=reservations,
        root=_node_from_json(take(data, "tree", dict, where), f"{where}.tree", geometry, 0),
        strings=strings,
        data=bytes(numbers["totalsize"]),
        problems=[],
        struct_end=0,
        complete=True,
        nops_before=nops[0],
        nops_after=nops[1],
    )


def _pair(data: Any, where: str) -> tuple[int, int]:
    if not isinstance(data, list) or len(data) != 2:
        raise EncodeError(where, "expected two numbers")
    return word(data[0], where), word(data[1], where)


def _node_from_json(data: dict[str, Any], where: str, geometry: Geometry, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise EncodeError(where, f"more than {MAX_DEPTH} levels")
    node = Node(take(data, "node", str, where))
    for index, item in enumerate(take(data, "items", list, where)):
        here = f"{where}.items[{index}]"
        if not isinstance(item, dict):
            raise EncodeError(here, "expected an object")
        if "node" in item:
            node.items.append(_node_from_json(item, here, geometry, depth + 1))
        elif "property" in item:
            name = take(item, "property", str, here)
            offset = fit_int(take(item, "name_offset", int, here), 4, False, here)
            node.items.append(Property(name, _value_from_json(item, here, geometry), offset))
        else:
            node.items.append(Nop())
    return node


def _value_from_json(item: dict[str, Any], where: str, geometry: Geometry) -> bytes:
    if "text" in item:
        return encode_text(take(item, "text", str, where), f"{where}.text") + b"\0"
    if "hex" in item:
        return _hex(item["hex"], f"{where}.hex")
    for kind in item:
        found = INTEGER.match(kind)
        if found is not None:
            size, signed = int(found["bits"]) // 8, found["sign"] == "s"
            here = f"{where}.{kind}"
            value = fit_int(number(item[kind], here), size, signed, here)
            order = "big" if found["big"] else geometry.byteorder
            return value.to_bytes(size, order, signed=signed)
    raise EncodeError(where, "a property needs one of text, hex, u32, u64")


def _hex(value: Any, where: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise EncodeError(where, "expected hexadecimal bytes") from None
