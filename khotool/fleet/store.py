"""Where a scan keeps its results: tables, and a journal of what came since they were written.

A result is a line of the journal as soon as there is one, so that an interrupted scan loses
nothing. ``fold`` makes new tables of the old ones and the journal, and replaces each at once. Both
are read in pieces, so that the memory this takes does not grow with the number of images.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from khotool.errors import InputError, KhotoolError, UsageError
from khotool.fleet.extra import require
from khotool.fleet.tables import TABLES, Row, Rows, arrow_rows, arrow_schema
from khotool.records import dataclass, field

JOURNAL = "journal-"
BATCH = 4096
"""Rows that are converted and written together."""
SYNC_SECONDS = 1.0
"""Time after which a result is on the disk."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an earlier scan knows of an image: its digest, and that of the scan's settings."""

    digest: str
    settings: str


@dataclass(slots=True)
class Journal:
    """Results of a running scan, one image a line; every line is whole or is not there."""

    file: IO[bytes]
    synced: float = field(default_factory=time.monotonic)

    def add(self, rows: Rows) -> None:
        """Append the rows of one image.

        Raises:
            KhotoolError: the disk is full or gone.
        """
        line = json.dumps(rows, separators=(",", ":")).encode() + b"\n"
        try:
            self.file.write(line)
            self.file.flush()
            if time.monotonic() - self.synced > SYNC_SECONDS:
                os.fsync(self.file.fileno())
                self.synced = time.monotonic()
        except OSError as error:
            raise KhotoolError(f"{self.file.name}: cannot be written: {error.strerror}") from error


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

    def journals(self) -> list[Path]:
        """Journals whose results are not in the tables yet, oldest first."""
        return sorted(self.folder.glob(f"{JOURNAL}*.jsonl"))

    def known(self) -> dict[str, Known]:
        """What the tables know, by image; images with an error are not among them.

        An image that could not be read is tried again: what was wrong may have been the scan's.
        """
        if not self.table("images").is_file():
            return {}
        parquet = require("pyarrow.parquet")
        found: dict[str, Known] = {}
        names = ["image", "digest", "settings", "error"]
        for batch in parquet.ParquetFile(self.table("images")).iter_batches(BATCH, columns=names):
            for image, digest, settings, error in zip(
                *(batch.column(name).to_pylist() for name in names), strict=True
            ):
                if error is None and digest is not None:
                    found[image] = Known(digest, settings or "")
        return found

    @contextlib.contextmanager
    def journal(self) -> Iterator[Journal]:
        """A new journal, to which one scan appends.

        Raises:
            KhotoolError: it cannot be made.
        """
        name = f"{JOURNAL}{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl"
        try:
            file = open(self.folder / name, "xb")  # noqa: SIM115
        except OSError as error:
            raise KhotoolError(f"{self.folder}: cannot be written: {error.strerror}") from None
        with file:
            yield Journal(file)
            with contextlib.suppress(OSError):
                os.fsync(file.fileno())

    def fold(self) -> None:
        """Make new tables of the old ones and all journals; the journals go.

        Of an image that has several results, the last one stays. When this is interrupted, the
        journals are still there, and the next fold ends in the same tables.

        Raises:
            KhotoolError: the tables cannot be written.
        """
        journals = self.journals()
        if not journals and all(self.table(name).is_file() for name in TABLES):
            return
        last: dict[str, int] = {}
        for number, rows in enumerate(_lines(journals)):
            last[rows["images"][0]["image"]] = number
        for name in TABLES:
            self._fold_table(name, journals, last)
        for journal in journals:
            journal.unlink()

    def _fold_table(self, name: str, journals: list[Path], last: dict[str, int]) -> None:
        import pyarrow as pa

        parquet = require("pyarrow.parquet")
        temporary = self.folder / f".{name}.{secrets.token_hex(8)}.tmp"
        try:
            with parquet.ParquetWriter(temporary, arrow_schema(name), compression="zstd") as out:
                for batch in self._kept(name, last):
                    out.write_batch(batch)
                for rows in _batches(name, journals, last):
                    out.write_batch(arrow_rows(name, rows))
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, self.table(name))
        except (OSError, pa.ArrowException) as error:
            raise KhotoolError(f"{self.table(name)}: cannot be written: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _kept(self, name: str, last: dict[str, int]) -> Iterator[Any]:
        """Rows of the old table whose image has no newer result."""
        import pyarrow as pa
        import pyarrow.compute as compute

        parquet = require("pyarrow.parquet")
        if not self.table(name).is_file():
            return
        newer = pa.array(list(last), pa.string())
        schema = arrow_schema(name)
        for batch in parquet.ParquetFile(self.table(name)).iter_batches(BATCH):
            kept = batch.filter(compute.invert(compute.is_in(batch.column("image"), newer)))
            if kept.num_rows:
                # A column that a later version added is null in what an earlier one wrote.
                columns = [
                    kept.column(f.name)
                    if f.name in kept.schema.names
                    else pa.nulls(len(kept), f.type)
                    for f in schema
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _lines(journals: list[Path]) -> Iterator[Rows]:
    """Results in the order in which they came; a line that was cut off is no result."""
    for path in journals:
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    rows: Rows = json.loads(line)
                except ValueError:
                    break
                yield rows


def _batches(name: str, journals: list[Path], last: dict[str, int]) -> Iterator[list[Row]]:
    """Rows of one table in the journals, those of each image's last result."""
    waiting: list[Row] = []
    for number, rows in enumerate(_lines(journals)):
        image = rows["images"][0]["image"]
        if last.get(image) != number:
            continue
        waiting.extend({**row, "image": image} for row in rows.get(name, ()))
        if len(waiting) >= BATCH:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def require_folder(folder: str) -> None:
    """Refuse a folder that is something else.

    Raises:
        UsageError: it is a file.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UsageError(f"-o {folder}: is not a folder; a scan writes several tables into one")
