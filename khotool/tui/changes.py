"""Changes between two images, as lines and places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from khotool.diff.changes import Change, ChangeKind, DiffOptions, OwnerChange
from khotool.diff.compare import compare
from khotool.model.image import Image
from khotool.tui.place import resolve, span_of
from khotool.tui.text import Line, count_text, plain, visible

GLYPHS = {
    "changed": ("~", "warning"),
    "added": ("+", "added"),
    "removed": ("-", "removed"),
    "moved": (">", "pointer"),
    "pages": ("#", "note"),
}
"""Glyph and token of each kind of change; ``pages`` is an owner of more or fewer pages."""


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One change.

    Args:
        kind: key of ``GLYPHS``.
        path: in both images, or in the one that has it.
        old, new: the value of each side; empty where there is none.
    """

    kind: str
    path: str
    old: Line
    new: Line


def compare_images(first: Image, second: Image, *, addresses: bool = False) -> list[ChangeLine]:
    """What differs, in the order of the first image; then owners of more or fewer pages.

    Args:
        addresses: whether physical addresses count.
    """
    found = compare(first, second, DiffOptions(addresses=addresses))
    return [*map(_change, found.changes), *map(_owner, found.owners)]


def search_changes(changes: Sequence[ChangeLine], text: str) -> list[int]:
    """Indexes of the changes that have a text in their path or on either side, in order."""
    wanted = text.strip().casefold()
    if not wanted:
        return []
    return [
        number
        for number, change in enumerate(changes)
        if wanted in change.path.casefold()
        or wanted in plain(change.old).casefold()
        or wanted in plain(change.new).casefold()
    ]


def _change(change: Change) -> ChangeLine:
    old, new = (visible(text) for text in change.text)
    if change.kind is ChangeKind.MOVED and not (old or new):
        old, new = f"position {change.old}", f"position {change.new}"
    return ChangeLine(
        change.kind, change.path, [(old, "value")] if old else [], [(new, "value")] if new else []
    )


def _owner(owner: OwnerChange) -> ChangeLine:
    old, new = (count_text(count, "page") for count in (owner.old, owner.new))
    path = owner.path if owner.path is not None else "pages without owner"
    return ChangeLine("pages", path, [(old, "value")], [(new, "value")])


def side_bytes(image: Image, path: str, size: int = 64) -> list[Line]:
    """The bytes of a path as rows of sixteen."""
    place = resolve(image.tree, path)
    if place is None:
        return [[("not in this image", "dim")]]
    span = span_of(place)
    if span is None:
        return [[("no bytes of its own", "dim")]]
    lines: list[Line] = []
    for start in range(span.address, span.address + min(span.size, size), 16):
        stop = min(start + 16, span.end)
        line: Line = [(f"{start:#x} ", "dim")]
        for address, view, _ in image.space.known(start, stop - start):
            data = bytes(view) if view is not None else b""
            text = " ".join(f"{byte:02x}" for byte in data) or "··"
            line.append((f" {text}", "other" if any(data) else "zero"))
            if address >= stop:
                break
        lines.append(line)
    return lines
