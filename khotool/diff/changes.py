"""The result of a comparison: changes, owners, gaps."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from khotool.model.image import Phase
from khotool.records import dataclass, field


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


class Why(StrEnum):
    """Why a part could not be compared: reasons of absent values, and some of a comparison."""

    NOT_CAPTURED = "not-captured"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    UNPARSABLE = "unparsable"
    LIMIT = "limit"
    CONSUMED = "consumed"
    UNKNOWN_FORMAT = "unknown-format"
    OTHER_HANDLER = "other-handler"


class Side(StrEnum):
    """Which of the images."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A part that one of the images, or both, do not show.

    Args:
        path: in the first image if it has it; ``/`` for the whole image.
        side: the image that does not show it.
        contents: only the payload was not compared.
        size: bytes of the payload that were not compared; 0 where that is not known.
    """

    path: str
    why: Why
    side: Side
    contents: bool = False
    size: int = 0


class Result(StrEnum):
    """The result of a comparison."""

    EQUAL = "equal"
    DIFFERENT = "different"
    INCOMPLETE = "incomplete"
    """No difference in what both images show, but not all was compared."""


@dataclass(slots=True)
class Comparison:
    """The differences of two images.

    Args:
        changes: in the order of the first image.
        owners: owners whose number of preserved pages changed.
        totals: pages preserved in each image; None where a map is absent.
        added: physical ranges preserved in the second image only, (start, bytes); see options.
        removed: physical ranges preserved in the first image only.
        not_compared: what one of the images does not show.
        phases: of the first and of the second image.
        addresses: physical addresses were compared.
        more_ranges: ``added`` or ``removed`` do not have all ranges.
    """

    changes: list[Change] = field(default_factory=list)
    owners: list[OwnerChange] = field(default_factory=list)
    totals: tuple[int | None, int | None] = (None, None)
    added: list[tuple[int, int]] = field(default_factory=list)
    removed: list[tuple[int, int]] = field(default_factory=list)
    not_compared: list[NotCompared] = field(default_factory=list)
    phases: tuple[Phase, Phase] = (Phase.UNKNOWN, Phase.UNKNOWN)
    addresses: bool = False
    more_ranges: bool = False

    @property
    def result(self) -> Result:
        """Whether anything changed; addresses count only if they were asked for."""
        moved = self.addresses and (self.added or self.removed)
        if self.changes or self.owners or moved:
            return Result.DIFFERENT
        return Result.INCOMPLETE if self.not_compared else Result.EQUAL

    @property
    def equal(self) -> bool:
        """True if everything was compared and nothing changed."""
        return self.result is Result.EQUAL

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
        only: paths; nothing else is reported. ``*`` matches anything but ``/``.
        ignore: paths that are not reported, with all below them.
    """

    addresses: bool = False
    pages: bool = False
    contents: bool = False
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
