"""A part whose format is known in one image only: one change, of the string that names it."""

from __future__ import annotations

from khotool.abi.record import decode_text
from khotool.diff.changes import Change, ChangeKind
from khotool.diff.fields import is_version
from khotool.model.image import Node, NodeKind

PARTS = frozenset({NodeKind.ENTRY, NodeKind.FDT_NODE})


def known_on_one_side(a: Node, b: Node) -> bool:
    """True for a part that a definition explains in one of the images only."""
    return a.kind in PARTS and a.kind is b.kind and bool(a.format) != bool(b.format)


def version_change(a: Node, b: Node) -> Change | None:
    """What makes a part of a known format one of an unknown format, or the other way round.

    None if both have the same version string, so that something else is the cause.
    """
    known, other = (a, b) if a.format else (b, a)
    version = next((child for child in known.children if is_version(child)), None)
    text = None if version is None else _stored(version, known, other)
    if version is None or text is None:
        value = {"format": a.format or None}, {"format": b.format or None}
        shown = a.format or "unknown format", b.format or "unknown format"
        return Change(ChangeKind.CHANGED, a.path, *value, shown)
    if text == version.value:
        return None
    pair = (str(version.value), text) if known is a else (text, str(version.value))
    return Change(ChangeKind.CHANGED, f"{a.path}/{version.name}", *pair, pair)


def _stored(version: Node, known: Node, other: Node) -> str | None:
    """The text that ``other`` has where ``known`` has ``version``."""
    raw = other.get(version.name)
    if raw is not None and isinstance(raw.value, bytes):
        return decode_text(raw.value)
    blob = other.get("bytes")
    if blob is None or not isinstance(blob.value, bytes):
        return None
    if version.span is None or known.target is None:
        return None
    at = version.span.address - known.target.address
    return decode_text(blob.value[at : at + version.span.size]) if at >= 0 else None


def unknown_nodes(known: list[Node], other: list[Node]) -> list[tuple[Node, str, list[Node]]]:
    """Nodes of a tree that have their fields in the parent, where one image does not know them.

    Args:
        known: children that only the one image has.
        other: children that only the other image has.

    Returns:
        The version string's node, its text in the other image, and the children of both that
        are explained by it.
    """
    versions = [node for node in known if is_version(node) and node.name != "compatible"]
    if not versions:
        return []
    found = []
    raw = (node for node in other if node.kind is NodeKind.FDT_NODE and not node.format)
    for version, node in zip(versions, raw, strict=False):
        text = node.get("compatible")
        if text is None or not isinstance(text.value, bytes):
            continue
        part = [child for child in known if child.format == version.format]
        found.append((version, decode_text(text.value), [*part, node]))
    return found
