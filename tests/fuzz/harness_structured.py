"""TOML and JSON as every reader of khotool's gets them; the first byte says which."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from khotool.structured import read_document
from khotool.structured.mistake import StructuredError
from khotool.structured.values import Table, Value
from tests.fuzz.damage import MANIFESTS

KIND = "text"
RUNS = 30000

JSON = b"{"
#: Bytes of a seed; longer documents repeat themselves.
SHORT = 1500
#: One of so many documents is read value by value, which finds the place of every mistake.
SELDOM = 4
FIXTURES = Path(__file__).parents[2] / "fixtures"


def seeds() -> Iterator[bytes]:
    """Short recipes as TOML, and manifests as JSON."""
    for file in sorted(FIXTURES.glob("*/*/recipe.toml")):
        if file.stat().st_size < SHORT:
            yield file.read_bytes()
    for manifest in MANIFESTS:
        yield json.dumps(manifest, indent=1).encode()
    yield b'a.b = [{c = 1, "d\\u00e9" = """\nx"""}, 2]\n[[t]]\nx = 0x1F\n[[t.u]]\ny = 1979-05-27\n'


def one_input(data: bytes) -> None:
    """The values are those of the library; a mistake is in a line that is there."""
    is_json = data.startswith(JSON)
    lines = data.count(b"\n") + 1
    try:
        document = read_document(data, "fuzz", is_json=is_json)
    except StructuredError as error:
        if any(mistake.line > lines for mistake in error.mistakes):
            raise AssertionError("a line outside of the document") from error
        return
    text = data.decode()
    plain: Any = json.loads(text) if is_json else tomllib.loads(text)
    if plain != plain or crc32(data) % SELDOM:
        return
    if isinstance(plain, dict):
        root = document.root
        assert repr(root.raw) == repr(plain)
        read_all(root)
    for mistake in document.mistakes():
        assert 1 <= mistake.line <= lines, mistake


def read_all(table: Table) -> None:
    """Ask for every value as something that it may not be."""
    for number, (_, value) in enumerate(table.values()):
        raw = value.raw
        if isinstance(raw, dict):
            read_all(value.table())
        elif isinstance(raw, list):
            for item in value.items():
                ask(item, number)
        else:
            ask(value, number)


def ask(value: Value, number: int) -> None:
    """One of the ways to read a value; what does not fit is a mistake with a place."""
    if isinstance(value.raw, dict):
        read_all(value.table())
        return
    ways = (value.text, value.integer, value.boolean, value.hexadecimal, value.texts)
    ways[number % len(ways)]()
    value.integer(sizes=True)
