"""Where a scan keeps its results: tables, and a journal of what came since they were written.

A result is in the journal as soon as there is one, so that an interrupted scan loses nothing.
``fold`` makes new tables of the old ones and the journal, and replaces each at once. Both are read
in pieces, so that the memory this takes does not grow with the number of images.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from khotool.errors import InputError, KhotoolError, UsageError
from khotool.fleet.extra import require
from khotool.fleet.tables import TABLES, Row, Rows, arrow_rows, arrow_schema
from khotool.records import dataclass

JOURNAL = "journal.sqlite"
BATCH = 4096
"""Rows that are converted and written together."""


class Journal:
    """Results that are not in the tables yet: rows in pieces, by image and table.

    One process has it at a time. A result is there as a whole or not at all, whenever the process
    is killed.
    """

    def __init__(self, path: Path) -> None:
        """Open or make it.

        Raises:
            InputError: another scan has it; KhotoolError: it cannot be written or read.
        """
        self.path = path
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            # Without shared memory, so that a folder in the network will do.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS piece "
                "(image TEXT, name TEXT, number INTEGER, rows, UNIQUE (image, name, number))"
            )
        except sqlite3.Error as error:
            self._db.close()
            if "locked" in str(error):
                raise InputError(f"{path.parent}: another scan is writing here") from None
            raise self._failure(error) from None

    def _failure(self, error: sqlite3.Error) -> KhotoolError:
        return KhotoolError(f"{self.path}: cannot be written: {error}")

    def add(self, rows: Rows) -> None:
        """Note the rows of one image, in place of what is here of it.

        Raises:
            KhotoolError: the disk is full or gone.
        """
        image = rows["images"][0]["image"]
        pieces = (
            (image, name, start, json.dumps(some[start : start + BATCH], separators=(",", ":")))
            for name, some in rows.items()
            for start in range(0, len(some), BATCH)
        )
        try:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM piece WHERE image = ?", (image,))
            self._db.executemany("INSERT INTO piece VALUES (?, ?, ?, ?)", pieces)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failure(error) from error
        finally:
            # A Ctrl-C as well leaves all of it or nothing.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def has(self, image: str) -> bool:
        """Whether there is a result of an image."""
        found = self._db.execute("SELECT 1 FROM piece WHERE image = ? LIMIT 1", (image,))
        return found.fetchone() is not None

    def empty(self) -> bool:
        """Whether there is no result at all."""
        return self._db.execute("SELECT 1 FROM piece LIMIT 1").fetchone() is None

    def batches(self, table: str) -> Iterator[list[Row]]:
        """Rows of one table, ordered by image."""
        waiting: list[Row] = []
        found = self._db.execute(
            "SELECT image, rows FROM piece WHERE name = ? ORDER BY image, number", (table,)
        )
        for image, text in found:
            waiting.extend({**row, "image": image} for row in json.loads(text))
            if len(waiting) >= BATCH:
                yield waiting
                waiting = []
        if waiting:
            yield waiting

    def clear(self) -> None:
        """Forget all results: they are in the tables."""
        self._db.execute("DELETE FROM piece")

    def close(self) -> None:
        """Give it to others; what holds no result is removed."""
        with contextlib.closing(self._db):
            if self.empty():
                # Else what it wrote ahead would stay.
                self._db.execute("PRAGMA journal_mode = DELETE")
                self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of a scan."""

    folder: Path

    @classmethod
    def at(cls, folder: str | os.PathLike[str], *, create: bool = False) -> Store:
        """The store in a folder.

        Raises:
            InputError: there is no scan; KhotoolError: the folder cannot be made.
        """
        path = Path(folder)
        if create:
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise KhotoolError(f"{path}: cannot be made: {error.strerror}") from None
            return cls(path)
        if not (path / "images.parquet").is_file():
            raise InputError(
                f"{path}: no scan here; make one with: khotool fleet scan ... -o {path}"
            )
        return cls(path)

    def table(self, name: str) -> Path:
        """The file of a table."""
        return self.folder / f"{name}.parquet"

    @property
    def interrupted(self) -> bool:
        """Whether results are not in the tables yet: a scan is running, or was killed."""
        return (self.folder / JOURNAL).exists()

    def known(self, settings: str) -> Iterator[tuple[str, str]]:
        """Names and digests of the images that a scan with these settings has examined.

        An image that could not be read is tried again: what was wrong may have been the scan's.
        """
        parquet = require("pyarrow.parquet")
        names = ["image", "digest", "settings", "error"]
        for batch in parquet.ParquetFile(self.table("images")).iter_batches(BATCH, columns=names):
            for image, digest, used, error in zip(
                *(batch.column(name).to_pylist() for name in names), strict=True
            ):
                if error is None and digest is not None and used == settings:
                    yield image, digest

    @contextlib.contextmanager
    def journal(self) -> Iterator[Journal]:
        """The journal, for one scan at a time.

        Raises:
            InputError: another scan has it; KhotoolError: it cannot be made.
        """
        with contextlib.closing(Journal(self.folder / JOURNAL)) as journal:
            yield journal

    def fold(self, journal: Journal) -> None:
        """Make new tables of the old ones and the journal, which is empty then.

        When this is interrupted, the journal is as it was, and the next fold ends in the same
        tables.

        Raises:
            KhotoolError: the tables cannot be written.
        """
        if journal.empty() and all(self.table(name).is_file() for name in TABLES):
            return
        for name in TABLES:
            self._fold_table(name, journal)
        journal.clear()

    def _fold_table(self, name: str, journal: Journal) -> None:
        import pyarrow as pa

        parquet = require("pyarrow.parquet")
        temporary = self.folder / f".{name}.{secrets.token_hex(8)}.tmp"
        try:
            with parquet.ParquetWriter(temporary, arrow_schema(name), compression="zstd") as out:
                for batch in self._kept(name, journal):
                    out.write_batch(batch)
                for rows in journal.batches(name):
                    out.write_batch(arrow_rows(name, rows))
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, self.table(name))
        except (OSError, pa.ArrowException) as error:
            raise KhotoolError(f"{self.table(name)}: cannot be written: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _kept(self, name: str, journal: Journal) -> Iterator[Any]:
        """Rows of the old table whose image has no newer result."""
        import pyarrow as pa
        import pyarrow.compute as compute

        parquet = require("pyarrow.parquet")
        if not self.table(name).is_file():
            return
        schema = arrow_schema(name)
        for batch in parquet.ParquetFile(self.table(name)).iter_batches(BATCH):
            images = batch.column("image")
            newer = [image for image in compute.unique(images).to_pylist() if journal.has(image)]
            kept = batch.filter(compute.invert(compute.is_in(images, pa.array(newer, pa.string()))))
            if kept.num_rows:
                # A column that a later version added is null in what an earlier one wrote.
                columns = [
                    kept.column(f.name)
                    if f.name in kept.schema.names
                    else pa.nulls(len(kept), f.type)
                    for f in schema
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)


def require_folder(folder: str) -> None:
    """Refuse a folder that is something else.

    Raises:
        UsageError: it is a file.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UsageError(f"-o {folder}: is not a folder; a scan writes several tables into one")
