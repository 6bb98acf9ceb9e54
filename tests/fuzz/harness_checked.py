"""A file of definitions as ``formats check`` reads it, and as a C header."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from khotool.abi.load import load_definition
from khotool.abi.registry import Origin
from khotool.abi.sets import load_sets
from khotool.abi.validate import check_folder
from khotool.errors import DefinitionError
from khotool.render.header import header_text
from khotool.structured import Mistake
from tests.builders import REGISTRY

KIND = "text"
RUNS = 700

FORMATS = Path(__file__).parents[2] / "formats"


def seeds() -> Iterator[bytes]:
    """The definitions of khotool, and its sets."""
    for file in sorted(FORMATS.rglob("*.toml")):
        yield file.read_bytes()


def one_input(data: bytes) -> None:
    """Faults have lines of the file; a file without any loads, and is a header."""
    lines = data.count(b"\n") + 1
    for name, load in (("fuzz.toml", load_definition), ("sets.toml", load_sets)):
        faults = faults_of(name, data)
        if any(not 1 <= fault.line <= lines for fault in faults):
            raise AssertionError(f"lines outside of the file: {faults}")
        if not faults:
            accepted(load, data, name)
    if not faults_of("fuzz.toml", data):
        loaded = load_definition(data, "fuzz.toml")
        header_text(REGISTRY.extended([(loaded, Origin("folder"))]), loaded, 4096)
    load_definition(data, "fuzz.toml")


def faults_of(name: str, data: bytes) -> list[Mistake]:
    """Faults of a folder with one file."""
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        (Path(folder) / name).write_bytes(data)
        return check_folder(Path(folder), REGISTRY)[1]


def accepted(load: Callable[[bytes, str], object], data: bytes, name: str) -> None:
    """What has no fault has to load."""
    try:
        load(data, name)
    except DefinitionError as error:
        raise AssertionError(f"no fault, but {error}") from error
