"""Folders of definition files, and what in them is not a definition."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from khotool.errors import InputError
from khotool.memory.regular import read_regular

SETS_FILE = "sets.toml"
NAMES_FILE = "names.toml"
MAX_DEFINITION = 16 << 20
NOT_DEFINITIONS = (SETS_FILE, NAMES_FILE)
"""Files at the top of a folder that are not definitions."""


def builtin_formats() -> Traversable:
    """The folder of definitions shipped with khotool: in the wheel, or beside the package."""
    root = files("khotool")
    inside = root.joinpath("formats")
    return inside if inside.is_dir() else root.joinpath("..", "formats")


def toml_files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Name, relative to a folder, and contents of every TOML file below it.

    Links to folders are not followed: they can lead in circles.

    Raises:
        InputError: a file that is not regular, too large, or a link out of its folder.
        OSError: one that cannot be read.
    """
    for item in folder.iterdir():
        name = f"{prefix}{item.name}"
        if item.is_dir():
            if not (isinstance(item, Path) and item.is_symlink()):
                yield from toml_files(item, f"{name}/")
        elif name.endswith(".toml"):
            yield name, definition_bytes(item)


def definition_bytes(file: Traversable) -> bytes:
    """The contents of a definition file.

    Raises:
        InputError: it is not regular, too large, or a link out of its folder.
    """
    if not isinstance(file, Path):
        return file.read_bytes()
    if file.is_symlink() and not file.resolve().is_relative_to(file.parent.resolve()):
        raise InputError(f"{file}: a link out of its folder; name the folder that has the file")
    return read_regular(file, limit=MAX_DEFINITION)
