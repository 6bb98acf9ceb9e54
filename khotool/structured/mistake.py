"""Mistakes of a document, and the error that carries all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from khotool.errors import KhotoolError
from khotool.records import dataclass

MAX_MISTAKES = 100
"""Mistakes of one document that are kept; further ones are dropped."""
NEAR = 0.7
"""Similarity, from 0 to 1, from which on a known name is suggested."""
MAX_LISTED = 24
"""Names that a message lists."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in a document.

    Args:
        file: name of the document.
        line, column: of the key or value, counted from 1; 0 where the position is not known.
        key: dotted key such as ``set[1].entries.LUO``; empty for the document as a whole.
        message: what was found and what was expected.
    """

    file: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {f'{self.key}: ' if self.key else ''}{self.message}"


class StructuredError(KhotoolError):
    """A document has mistakes; the text is the first, with the number of the others.

    Args:
        mistakes: at least one, in the order of the document.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(summary(self.mistakes))

    @property
    def lines(self) -> tuple[str, ...]:
        """Every mistake."""
        return tuple(str(mistake) for mistake in self.mistakes)


def summary(mistakes: Sequence[Mistake]) -> str:
    """The first mistake, and how many others there are."""
    more = len(mistakes) - 1
    others = f" (and {more} more mistake{'s' if more > 1 else ''})" if more else ""
    return f"{mistakes[0]}{others}"


def suggestion(name: str, known: Iterable[str], *, near: bool = False) -> str:
    """The end of a message about an unknown name: the nearest known one, else all of them.

    Args:
        near: only the nearest one, if any is near.
    """
    names = list(known)
    found = difflib.get_close_matches(name[:200], names, 1, NEAR) if len(names) <= 1000 else []
    if found:
        return f"; did you mean {found[0]!r}?"
    if not names or near:
        return ""
    rest = f", ... ({len(names)} in all)" if len(names) > MAX_LISTED else ""
    return f"; expected one of {', '.join(names[:MAX_LISTED])}{rest}"
