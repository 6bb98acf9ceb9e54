"""Lists whose elements have a key: sessions by name, files by token."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Generic, TypeVar

from khotool.absent import Absent
from khotool.model.image import Node
from khotool.records import dataclass

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

SHOWN = 6
"""Keys listed in an error."""


@dataclass(frozen=True, repr=False)
class OfNode:
    """A view of one node of the model."""

    node: Node

    @property
    def path(self) -> str:
        """As ``khotool dump`` prints it."""
        return self.node.path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"


@dataclass(frozen=True, slots=True, repr=False)
class Keyed(Generic[K, T]):
    """Elements in stored order, found by key.

    Iterating gives the elements. Of elements with the same key, ``[]`` gives the first.

    Args:
        what: one of them, for errors, such as ``session``.
        elements: those that were read.
        keys: the key of each; Absent where it could not be read.
        absent: why the list, or the rest of it, could not be read; None if it could.
        node: the list in the model; None where the format, or this image, has none.
    """

    what: str
    elements: tuple[T, ...] = ()
    keys: tuple[K | Absent, ...] = ()
    absent: Absent | None = None
    node: Node | None = None

    def __repr__(self) -> str:
        why = f", {self.absent.reason}" if self.absent is not None else ""
        return f"<Keyed {self.what}: {len(self)}{why}>"

    def __iter__(self) -> Iterator[T]:
        return iter(self.elements)

    def __len__(self) -> int:
        """How many elements were read."""
        return len(self.elements)

    def __bool__(self) -> bool:
        return bool(self.elements)

    def __contains__(self, key: object) -> bool:
        return key in self.keys

    def __getitem__(self, key: K) -> T:
        """The first element with this key.

        Raises:
            KeyError: there is none; names the nearest keys.
        """
        if key in self.keys:
            return self.elements[self.keys.index(key)]
        raise KeyError(self._missing(key))

    def get(self, key: K) -> T | None:
        """The first element with this key; None if there is none."""
        return self.elements[self.keys.index(key)] if key in self.keys else None

    def at(self, position: int) -> T:
        """The element at a position, counted from 0.

        Raises:
            IndexError: the list is shorter.
        """
        return self.elements[position]

    def _missing(self, key: K) -> str:
        if self.absent is not None:
            return f"no {self.what} {_text(key)}: the list is {self.absent.reason}"
        known = [_text(key) for key in islice(self.keys, 2000) if not isinstance(key, Absent)]
        if not known:
            return f"no {self.what} {_text(key)}; the list is empty"
        near = get_close_matches(_text(key), known, SHOWN, 0.5)
        shown = (near + [name for name in known if name not in near])[:SHOWN]
        return f"no {self.what} {_text(key)}; there is {', '.join(shown)}"


def _text(key: object) -> str:
    return f"{key:#x}" if isinstance(key, int) else repr(key)


def keyed(
    what: str,
    node: Node | None,
    make: Callable[[Node], T],
    key: Callable[[T], K | Absent],
    absent: Absent | None = None,
) -> Keyed[K, T]:
    """The elements of a list of the model.

    Args:
        node: the list; None where the format, or this image, has none.
        absent: why what holds the list could not be read.
    """
    if node is None:
        return Keyed(what, absent=absent)
    elements = tuple(make(child) for child in node.elements())
    keys = tuple(key(element) for element in elements)
    return Keyed(what, elements, keys, absent_of(node), node)


def absent_of(node: Node | None) -> Absent | None:
    """Why a value or its target could not be read; None if it could.

    A missing target of a pointer is a child ``target``; the pointer itself is known then.
    """
    if node is None:
        return None
    if isinstance(node.value, Absent):
        return node.value
    target = node.get("target")
    if target is not None and target.field is None and isinstance(target.value, Absent):
        return target.value
    return None
