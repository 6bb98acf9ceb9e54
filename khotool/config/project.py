"""Find and read the configuration of a project."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_args

from khotool.errors import KhotoolError
from khotool.records import dataclass, field
from khotool.structured import Document, StructuredError, Table, read_document
from khotool.structured.positions import positions

FILE = "khotool.toml"
PYPROJECT = "pyproject.toml"
TOOL = ("tool", "khotool")
MAX_BYTES = 1 << 20
"""Bytes of a configuration."""
FailOn = Literal["error", "warning", "note", "never"]
Choice = Literal["auto", "always", "never"]


class Project(TypedDict, total=False):
    """Settings of a project; options on the command line override them."""

    select: Annotated[list[str], "rules of `khotool check`: ids, beginnings of ids, slugs"]
    ignore: Annotated[list[str], "rules that `khotool check` leaves out"]
    fail__on: Annotated[FailOn, "lowest severity that gives exit code 1"]
    suppressions: Annotated[list[str], "files of suppressions, relative to this file"]
    policy: Annotated[str, "file of the handlers that must come back, relative to this file"]
    kernels: Annotated[list[str], "releases whose verdict `khotool check` adds"]
    formats: Annotated[list[str], "folders of definitions, relative to this file"]
    color: Annotated[Choice, "colours of text"]
    ascii: Annotated[bool, "draw trees with ASCII characters only"]
    pager: Annotated[bool, "show long output on a terminal with a pager (true)"]


FILES = frozenset(("formats", "policy", "suppressions"))
"""Keys with paths, relative to the file of the configuration."""
HINTS = typing.get_type_hints(Project)
KEYS = {name.replace("__", "-"): hint for name, hint in HINTS.items()}
"""Types by key."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings in effect.

    Args:
        path: of the file; None without one.
        values: by key; folders are paths from the working directory.
        lines: line of each key in the file, counted from 1.
    """

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def origin(self, key: str) -> str:
        """``FILE:LINE`` of a key, or ``default``."""
        if self.path is None or key not in self.values:
            return "default"
        return f"{self.path}:{self.lines[key]}"


def find_configuration(folder: Path) -> Configuration:
    """The nearest configuration from a folder upwards.

    Raises:
        KhotoolError: it has mistakes, or cannot be read.
    """
    for parent in (folder, *folder.parents):
        for name, keys in ((FILE, ()), (PYPROJECT, TOOL)):
            path = parent / name
            try:
                raw = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                if name == PYPROJECT:
                    continue
                raise ConfigurationError(f"{path}: {error.strerror}") from None
            if keys and b"tool.khotool" not in raw:
                continue
            found = read_configuration(raw, path, keys)
            if found is not None:
                return found
    return Configuration()


def read_configuration(raw: bytes, path: Path, keys: tuple[str, ...] = ()) -> Configuration | None:
    """Read a configuration; None if the document does not have its table.

    Args:
        keys: of the table in the document that holds it.

    Raises:
        ConfigurationError: with file, line and key of every mistake.
    """
    try:
        document = read_document(raw, str(path), limit=MAX_BYTES)
        table = document.root
        for key in keys:
            # The other tables of a pyproject.toml belong to other programs.
            table.ignore()
            if key not in table:
                return None
            table = table.table(key)
        values = _values(document, table, path.parent)
        document.finish()
    except StructuredError as error:
        raise ConfigurationError(*error.lines) from None
    places = positions(raw.decode(), [(*keys, key) for key in values], is_json=False)
    lines = {key: places[(*keys, key)][0] for key in values}
    return Configuration(path, values, lines)


def _values(document: Document, table: Table, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, hint in KEYS.items():
        value = table.get(key)
        if value is None:
            continue
        if hint is bool:
            found[key] = value.boolean()
        elif hint is str:
            found[key] = value.text()
        elif typing.get_origin(hint) is Literal:
            found[key] = value.choice(get_args(hint))
        else:
            found[key] = list(value.texts())
    for key in FILES & found.keys():
        value = found[key]
        found[key] = (
            [str(folder / name) for name in value]
            if isinstance(value, list)
            else str(folder / value)
        )
    return found


class ConfigurationError(KhotoolError):
    """A configuration has mistakes.

    Args:
        mistakes: one line each.
    """

    exit_code = 2

    def __init__(self, *mistakes: str) -> None:
        super().__init__(mistakes[0])
        self.mistakes = mistakes

    @property
    def lines(self) -> tuple[str, ...]:
        """Every mistake."""
        return self.mistakes
