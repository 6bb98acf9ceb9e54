"""A file of definitions, alone and beside khotool's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import load_registry
from khotool.abi.sets import load_sets
from khotool.errors import KhotoolError
from tests.builders import REGISTRY

KIND = "text"
RUNS = 1000

FORMATS = Path(__file__).parents[2] / "formats"


def seeds() -> Iterator[bytes]:
    """The definitions of khotool."""
    for file in sorted(FORMATS.rglob("*.toml")):
        yield file.read_bytes()


def one_input(data: bytes) -> None:
    """A definition is refused with its place, or every struct of it compiles or says why not."""
    with suppress(KhotoolError):
        load_sets(data, "fuzz")
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        (Path(folder) / "fuzz.toml").write_bytes(data)
        with suppress(KhotoolError):
            load_registry([folder])
    loaded = load_definition(data, "fuzz")
    for name in loaded.structs:
        with suppress(KhotoolError):
            REGISTRY.compile(loaded, name, Geometry(4096))
