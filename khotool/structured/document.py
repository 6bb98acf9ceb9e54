"""A document while it is read: its values, its mistakes and their positions."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from khotool.structured.mistake import MAX_MISTAKES, Mistake, StructuredError
from khotool.structured.numbers import has_huge_integer
from khotool.structured.positions import Path, Position, positions
from khotool.structured.values import Table, key_text

MAX_BYTES = 64 << 20
"""Bytes of a document, unless its reader allows more."""
_LONG_QUOTES = ('"""', "'''")
_TOML_LINE = re.compile(r"\(at line (\d+), column (\d+)\)$")


class Document:
    """A parsed document with the mistakes found in it so far.

    Args:
        name: of the file, as mistakes name it.
        data: the parsed document.
        text: what it was parsed from, for positions; None if there is no text. One of more than
            ``MAX_BYTES`` characters is not searched for them.
        is_json: the text is JSON, not TOML.
    """

    def __init__(
        self, name: str, data: object, text: str | None = None, *, is_json: bool = False
    ) -> None:
        self.name = name
        self.data = data
        self._text = text
        self._is_json = is_json
        self._tables: dict[Path, Table] = {}
        self._found: dict[tuple[Path, str, int, int], None] = {}
        self._wrong: set[Path] = set()

    @property
    def root(self) -> Table:
        """The document's own table."""
        return self.table((), self.data)

    def add(self, path: Path, message: str, *, line: int = 0, column: int = 0) -> None:
        """Note a mistake; the same message at the same place counts once.

        Args:
            line, column: of a mistake inside a text of several lines, counted from 1 in the text.
        """
        self.mark(path)
        if len(self._found) < MAX_MISTAKES:
            self._found.setdefault((path, message, line, column))

    def mark(self, path: Path) -> None:
        """Count a path as wrong without a mistake of its own."""
        self._wrong.update(path[:length] for length in range(len(path) + 1))

    def is_wrong(self, path: Path) -> bool:
        """True if a mistake was noted at a path or below it."""
        return path in self._wrong

    def table(self, path: Path, raw: object) -> Table:
        """The table at a path, the same each time; `finish` reports keys that were not asked for.

        Args:
            raw: the value there; one that is not a table is a mistake.
        """
        found = self._tables.get(path)
        if found is None:
            found = self._tables[path] = Table(self, path, raw)
        return found

    def close_tables(self) -> None:
        """Report unknown keys of all tables opened so far."""
        for table in self._tables.values():
            table.close()

    def mistakes(self) -> list[Mistake]:
        """Mistakes so far, in the order of the document."""
        places = {}
        if self._text is not None and len(self._text) <= MAX_BYTES and self._found:
            paths = {path for path, _, _, _ in self._found}
            places = positions(self._text, paths, is_json=self._is_json)
        found = []
        for path, message, line, column in self._found:
            place = places.get(path, (0, 0))
            if line and place[0]:
                place = self._inside(place[0], line, column)
            found.append(Mistake(self.name, *place, key_text(path), message))
        return sorted(found, key=lambda mistake: (mistake.line, mistake.column))

    def _inside(self, first: int, line: int, column: int) -> Position:
        """The position of a line of a text whose key is on some line of the document."""
        rows = (self._text or "").split("\n")
        opening = rows[first - 1].rstrip() if first <= len(rows) else ""
        if not any(quotes in opening for quotes in _LONG_QUOTES):
            # A text in single quotes is on one line, even if its escapes make several.
            return first, 1
        below = line if opening.endswith(_LONG_QUOTES) else line - 1
        return min(first + below, len(rows)), column

    def finish(self) -> None:
        """End reading: unknown keys become mistakes, and all mistakes are raised.

        Raises:
            StructuredError: there is a mistake.
        """
        self.close_tables()
        self.check()

    def check(self) -> None:
        """End reading a part whose other keys mean nothing: all mistakes so far are raised.

        Raises:
            StructuredError: there is a mistake.
        """
        if self._found:
            raise StructuredError(self.mistakes())


def read_document(
    raw: bytes,
    name: str,
    *,
    is_json: bool = False,
    limit: int = MAX_BYTES,
    any_integer: bool = False,
) -> Document:
    """Parse a document.

    Args:
        raw: UTF-8.
        name: of the file, as mistakes name it.
        limit: bytes that are accepted.
        any_integer: skip the search for integers beyond ``MAX_BITS`` bits; for large documents
            whose reader checks the range of every integer before it prints one.

    Raises:
        StructuredError: not UTF-8, not TOML or JSON, nested too deeply, too long, or with an
            integer beyond ``MAX_BITS`` bits. The one mistake has line and column if known.
    """

    def refuse(message: str, line: int = 0, column: int = 0) -> StructuredError:
        return StructuredError([Mistake(name, line, column, "", message)])

    syntax = "JSON" if is_json else "TOML"
    if len(raw) > limit:
        raise refuse(f"{len(raw)} bytes; at most {limit} are read")
    try:
        text = raw.decode()
        data: Any = json.loads(text) if is_json else tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise refuse(f"not {syntax}: byte {raw[error.start]:#04x} is not UTF-8", line) from None
    except json.JSONDecodeError as error:
        raise refuse(f"not JSON: {error.msg}", error.lineno, error.colno) from None
    except RecursionError:
        raise refuse(f"not {syntax}: nested too deeply") from None
    except ValueError as error:
        match = _TOML_LINE.search(str(error))
        if match is not None:
            message = str(error)[: match.start()].rstrip()
            raise refuse(f"not TOML: {message}", int(match[1]), int(match[2])) from None
        line = text.count("\n") + 1 if "end of document" in str(error) else 0
        raise refuse(f"not {syntax}: {str(error)[:200]}", line) from None
    bits = 0 if any_integer else has_huge_integer(data)
    if bits:
        raise refuse(f"an integer of {bits} bits")
    return Document(name, data, text, is_json=is_json)
