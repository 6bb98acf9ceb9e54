"""Names and strings of a device tree as text of the model."""

from __future__ import annotations

from khotool.abi.record import decode_text
from khotool.fdt.blob import Node as FdtNode


def text_property(node: FdtNode, name: str) -> str | None:
    """A string property; None if it is missing."""
    prop = node.get(name)
    return None if prop is None else decode_text(prop.value)


def latin1_text(name: str) -> str:
    """A node name, which the tokenizer gives byte by byte, as UTF-8 text."""
    return decode_text(name.encode("latin-1"))
