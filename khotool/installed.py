"""What is installed beside khotool, by the names of folders alone.

``importlib.metadata`` answers the same questions and more, but importing it takes as long as
reading a small image. It is asked only where a look at the folders leaves something open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache

INFO = ".dist-info"
OTHERS = (".egg-info", ".egg-link", ".egg")
ENTRIES = "entry_points.txt"


@cache
def folders(places: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Places where packages are, as in ``sys.path``, with the names of their metadata."""
    found = []
    for place in places:
        try:
            names = os.listdir(place or ".")
        except OSError:
            # A zip file; the standard library's does not exist.
            continue
        found.append((place, tuple(sorted(n for n in names if n.endswith((INFO, *OTHERS))))))
    return tuple(found)


def version_of(name: str) -> str | None:
    """Version of an installed package as its metadata folder is called; None if that is unclear."""
    head = f"{name}-"
    for place, names in folders(tuple(sys.path)):
        mine = [n for n in names if n.startswith((head, f"{name}."))]
        if not mine:
            continue
        if len(mine) == 1 and mine[0].endswith(INFO):
            return mine[0][len(head) : -len(INFO)]
        return _written_version(os.path.join(place, mine[0])) if len(mine) == 1 else None
    return None


def _written_version(folder: str) -> str | None:
    """Version in the metadata of a source tree, whose folder's name does not have it."""
    try:
        with open(os.path.join(folder, "PKG-INFO"), encoding="utf-8") as file:
            lines = file.read(4096).split("\n\n")[0].splitlines()
    except (OSError, ValueError):
        return None
    return next((line[9:].strip() for line in lines if line.startswith("Version: ")), None)


def may_offer(group: str) -> bool:
    """False if no installed package has entry points of this group."""
    if any(place.endswith((".zip", ".egg", ".whl")) for place in sys.path if os.path.isfile(place)):
        return True
    return any(group.encode() in text for text in _entry_points())


def _entry_points() -> Iterator[bytes]:
    for place, names in folders(tuple(sys.path)):
        for name in names:
            try:
                with open(os.path.join(place, name, ENTRIES), "rb") as file:
                    yield file.read()
            except OSError:
                continue
