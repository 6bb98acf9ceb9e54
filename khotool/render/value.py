"""One value in the notation of its role."""

from __future__ import annotations

from typing import Any

from khotool.abi.definition import HEX_ROLES, Field
from khotool.absent import Absent
from khotool.model.image import Node, NodeKind
from khotool.render.lines import Segment
from khotool.render.text import quoted, visible
from khotool.view.notation import number_text

RAW_SHOWN = 16
"""Bytes of an unexplained value that are shown in a line."""


def value_segments(node: Node) -> list[Segment]:
    """The value of a leaf with styles; of a pointer with an arrow, of an absent one the reason."""
    value = node.value
    if isinstance(value, Absent):
        return absent_segments(value)
    if isinstance(value, str):
        return [(quoted(value), "text")]
    if isinstance(value, bytes):
        return [(bytes_shown(value), "dim")]
    if isinstance(value, list):
        return [(list_shown(value, node.field), "address")]
    if isinstance(value, int):
        if not value and node.field is not None and node.field.null == "empty":
            return [("none", "dim")]
        text = number_text(value, node.field)
        role = node.field.role if node.field is not None else ""
        style = "address" if role in HEX_ROLES or role == "pfn" else "number"
        if node.reference:
            return [(text, style), (" -> ", "dim"), (visible(reference_text(node)), "name")]
        if is_pointer(node) and value:
            return [("-> ", "dim"), (text, "address")]
        return [(text, style)]
    return []


def reference_text(node: Node) -> str:
    """The path of what a value names, without the part that its own path begins with."""
    own, other = node.path, node.reference
    most = min(len(own), len(other))
    same = next((at for at in range(most) if own[at] != other[at]), most)
    return other[other.rfind("/", 0, same) + 1 :]


def absent_segments(value: Absent) -> list[Segment]:
    """The reason, and its detail."""
    text = f"{value.reason}: {visible(value.detail)}" if value.detail else str(value.reason)
    return [(text, "absent")]


def is_pointer(node: Node) -> bool:
    """True if the value is an address that leads, or should lead, somewhere."""
    if node.field is None or node.field.points_to is None or node.kind is NodeKind.TABLE:
        return False
    return node.target is not None or node.field.role == "address"


def bytes_shown(value: bytes) -> str:
    """The first bytes in hexadecimal, and how many there are."""
    shown = value[:RAW_SHOWN].hex(" ")
    count = f"{len(value)} bytes"
    return f"{count}: {shown}{' ...' if len(value) > RAW_SHOWN else ''}" if value else count


def list_shown(values: list[Any], field: Field | None, limit: int = 4) -> str:
    """The first numbers of a list, and how many there are."""
    shown = [number_text(value, field) for value in values[:limit]]
    if len(values) > limit:
        shown.append(f"... {len(values) - limit} more")
    return f"[{', '.join(shown)}]"
