"""Folders of definition files, and what in them is not a definition."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

SETS_FILE = "sets.toml"
NAMES_FILE = "names.toml"
NOT_DEFINITIONS = (SETS_FILE, NAMES_FILE)
"""Files at the top of a folder that are not definitions."""


def builtin_formats() -> Traversable:
    """The folder of definitions shipped with khotool: in the wheel, or beside the package."""
    root = files("khotool")
    inside = root.joinpath("formats")
    return inside if inside.is_dir() else root.joinpath("..", "formats")


def toml_files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Name, relative to a folder, and contents of every TOML file below it."""
    for item in folder.iterdir():
        name = f"{prefix}{item.name}"
        if item.is_dir():
            yield from toml_files(item, f"{name}/")
        elif name.endswith(".toml"):
            yield name, item.read_bytes()
