"""One value of a decoded image as the bytes that hold it, for a value written in its place."""

from __future__ import annotations

from khotool.abi.record import encode_chars, encode_text, fit_int
from khotool.errors import EncodeError
from khotool.memory.space import MemoryFault
from khotool.model.image import Image, Node


def number_bytes(image: Image, node: Node, number: int, where: str) -> bytes:
    """A number as the bytes of a node; of a part of a word, the word with that part changed.

    Raises:
        EncodeError: it does not fit, or the word is not in the image; names ``where``.
    """
    assert node.span is not None
    kind = node.field.type if node.field is not None else None
    order = "big" if kind is not None and kind.big else image.geometry.byteorder
    if node.field is not None and node.field.width:
        return _part_bytes(image, node, number, where)
    signed = kind is not None and kind.signed
    stored = fit_int(number, node.span.size, signed, where)
    return stored.to_bytes(node.span.size, order, signed=signed)


def text_bytes(node: Node, text: str, where: str) -> bytes:
    """Text as the bytes of a node: a char array is padded, a string of a tree keeps its length.

    Raises:
        EncodeError: it does not fit; names ``where``.
    """
    assert node.span is not None
    kind = node.field.type.kind if node.field is not None and node.field.type is not None else ""
    if kind == "char":
        return encode_chars(text, node.span.size, where)
    raw = encode_text(text, where) + b"\0"
    if len(raw) != node.span.size or b"\0" in raw[:-1]:
        raise EncodeError(
            where, f"{len(raw) - 1} bytes; text of a device tree keeps its {node.span.size - 1}"
        )
    return raw


def _part_bytes(image: Image, node: Node, number: int, where: str) -> bytes:
    assert node.span is not None
    assert node.field is not None
    name = node.parent.struct if node.parent is not None else ""
    compiled = image.registry.compile(image.registry.get(node.format), name, image.geometry)
    placed = compiled.by_label(node.field.label)
    part = next(p for p in placed.parts if p.field.label == node.field.label)
    kind = placed.field.type
    order = "big" if kind is not None and kind.big else image.geometry.byteorder
    if (number << part.shift) & ~part.mask:
        raise EncodeError(where, f"{number:#x} does not fit {node.path}")
    try:
        word = int.from_bytes(image.space.read(node.span.address, placed.size), order)
    except MemoryFault as fault:
        raise EncodeError(where, str(fault)) from None
    return ((word & ~part.mask) | (number << part.shift)).to_bytes(placed.size, order)
