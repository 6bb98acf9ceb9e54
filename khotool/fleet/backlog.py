"""What a scan has still to look at, on disk: its memory does not grow with the fleet."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from khotool.fleet.inputs import Item

Work = tuple[Item, str | None]
"""An image, and its digest in an earlier scan with the same settings."""


class Backlog:
    """Images in the order in which they were listed, each name once.

    A database without a name is a temporary file that is gone with the process.
    """

    def __init__(self) -> None:
        # Written by the thread that lists, read by the one that hands out work.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("CREATE TABLE item (number INTEGER PRIMARY KEY, name TEXT UNIQUE, item)")
        self._db.execute("CREATE TABLE known (name TEXT PRIMARY KEY, digest) WITHOUT ROWID")

    def add(self, items: Iterable[Item]) -> None:
        """Append images; of several with one name, the last one counts."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO item (name, item) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET item = excluded.item",
            ((item.name, json.dumps(asdict(item))) for item in items),
        )
        self._db.execute("COMMIT")

    def __len__(self) -> int:
        """Number of images."""
        count: int = self._db.execute("SELECT count(*) FROM item").fetchone()[0]
        return count

    def know(self, digests: Iterable[tuple[str, str]]) -> None:
        """Note names and digests of images that an earlier scan has examined."""
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO known VALUES (?, ?)", digests)
        self._db.execute("COMMIT")

    def __iter__(self) -> Iterator[Work]:
        """Every image, and its digest where it is known."""
        found = self._db.execute(
            "SELECT item, digest FROM item LEFT JOIN known USING (name) ORDER BY number"
        )
        for text, digest in found:
            yield Item(**json.loads(text)), digest

    def close(self) -> None:
        """Give the temporary file back."""
        self._db.close()
