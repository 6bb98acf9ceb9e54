"""What a comparison gives back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ChangeKind(StrEnum):
    """What happened to a value; the words of the JSON contract."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"


@dataclass(slots=True)
class Change:
    """One difference.

    Args:
        path: in the first image; of what was added, in the second.
        old: JSON value in the first image, None if it is not there; of a move the position.
        new: the same in the second image.
        text: old and new for a person; untrusted text.
        detail: further facts, such as the offset of the first different byte.
    """

    kind: ChangeKind
    path: str
    old: Any = None
    new: Any = None
    text: tuple[str, str] = ("", "")
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OwnerChange:
    """An owner of preserved pages that grew or shrank; path None for pages without owner."""

    path: str | None
    old: int
    new: int


@dataclass(slots=True)
class Comparison:
    """The differences of two images.

    Args:
        changes: in the order of the first image.
        owners: owners of preserved memory with another number of pages.
        totals: pages preserved in each image; None where a map is absent.
        added: physical ranges preserved in the second image only, (start, bytes); see options.
        removed: physical ranges preserved in the first image only.
        notes: what could not be compared and why.
    """

    changes: list[Change] = field(default_factory=list)
    owners: list[OwnerChange] = field(default_factory=list)
    totals: tuple[int | None, int | None] = (None, None)
    added: list[tuple[int, int]] = field(default_factory=list)
    removed: list[tuple[int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    addresses: bool = False

    @property
    def equal(self) -> bool:
        """True if nothing changed; addresses count only if they were asked for."""
        moved = self.addresses and (self.added or self.removed)
        return not (self.changes or self.owners or moved)

    @property
    def pages_added(self) -> int:
        """Pages by which owners grew, new owners included."""
        return sum(max(owner.new - owner.old, 0) for owner in self.owners)

    @property
    def pages_removed(self) -> int:
        """Pages by which owners shrank, owners that are gone included."""
        return sum(max(owner.old - owner.new, 0) for owner in self.owners)


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """What to compare.

    Args:
        addresses: physical addresses too.
        pages: list preserved ranges of one image only.
        contents: payload too.
        only: paths; nothing else is reported. ``*`` stands for anything but ``/``.
        ignore: paths that are not reported, with all below them.
    """

    addresses: bool = False
    pages: bool = False
    contents: bool = False
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


class PathFilter:
    """Which paths are reported."""

    def __init__(self, options: DiffOptions) -> None:
        self.only = [_pattern(text) for text in options.only]
        self.ignore = [_pattern(text) for text in options.ignore]

    def __call__(self, path: str) -> bool:
        """True if a change at this path is reported."""
        if any(pattern.match(path) for pattern in self.ignore):
            return False
        return not self.only or any(pattern.match(path) for pattern in self.only)


def _pattern(text: str) -> re.Pattern[str]:
    parts = [re.escape(part) for part in text.rstrip("/").split("*")]
    # A run of stars is one star, so that no pattern backtracks for long.
    body = "[^/]*".join([parts[0], *(part for part in parts[1:] if part)])
    tail = "[^/]*" if text.endswith("*") else ""
    return re.compile(rf"{body}{tail}(?=$|[/\[])", re.DOTALL)
