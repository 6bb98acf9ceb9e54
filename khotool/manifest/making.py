"""What a manifest may read and have made of it: for its author much, for anybody's image little."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

from khotool.errors import InputError
from khotool.limits import LEAST_BYTES, Limits
from khotool.memory.regular import mapped_regular
from khotool.records import dataclass
from khotool.structured import Value

MAX_CONTENTS = 16 << 30
"""Bytes of contents that one manifest has made of it."""
MAX_ROWS = 1 << 26
"""Folios of one manifest; columns of more would not fit the memory of most hosts."""
ROW_BYTES = 64
"""Memory that one row of a table takes while it is laid out."""


@dataclass(slots=True)
class Making:
    """What is left of what a manifest may ask for.

    Args:
        folders: where files of contents may come from, and relative names start in the first;
            empty where no file may be read.
        contents: bytes of contents.
        rows: folios, whether or not they have contents.
        advice: what to do about either.
    """

    folders: tuple[Path, ...]
    contents: int = MAX_CONTENTS
    rows: int = MAX_ROWS
    advice: str = "describe less, or in larger pieces: folio = 'huge'"

    @classmethod
    def of_author(cls, folder: Path, further: Sequence[Path] = ()) -> Making:
        """For who writes an image of a manifest and names it to do so."""
        return cls((folder, *further))

    @classmethod
    def of_reader(cls, limits: Limits) -> Making:
        """For who looks at a manifest as at any image: no file, and what fits into memory."""
        default = Limits().bytes == limits.bytes
        size = LEAST_BYTES if default else limits.bytes
        advice = "raise --limit bytes=N, or write the image with khotool encode"
        return cls((), size, min(MAX_ROWS, size // ROW_BYTES), advice)

    def spend(self, where: Value, *, contents: int = 0, rows: int = 0) -> bool:
        """Take from what is left; False, and a mistake at a value, if it is not enough."""
        for wanted, left, what in (
            (contents, self.contents, "bytes of contents"),
            (rows, self.rows, "folios"),
        ):
            if wanted > left:
                where.mistake(f"{wanted} {what}, and at most {left} more are made; {self.advice}")
                return False
        self.contents -= contents
        self.rows -= rows
        return True

    def file(self, value: Value) -> bytes | mmap.mmap:
        """The contents of the file that a value names; none, and a mistake, where it may not be.

        They are mapped; who reads much of them gives it back (``give_back``).
        """
        name = value.text(nul=False)
        if not name:
            return b""
        if not self.folders:
            value.mistake("contents of files are read by khotool encode only")
            return b""
        try:
            path = (self.folders[0] / name).resolve()
            if not any(path.is_relative_to(folder.resolve()) for folder in self.folders):
                value.mistake(f"{name!r:.60} is not below the manifest; give --contents FOLDER")
                return b""
            return mapped_regular(path, limit=min(self.contents, MAX_CONTENTS))
        except (OSError, ValueError, RuntimeError) as error:
            value.mistake(f"{name!r:.60} cannot be read: {error}")
        except InputError as error:
            # Its text has the whole path, of which the name is what the manifest says.
            reason = str(error).removeprefix(f"{path}: ").removesuffix("; name a file that exists")
            value.mistake(f"{name!r:.60} cannot be read: {reason}")
        return b""
