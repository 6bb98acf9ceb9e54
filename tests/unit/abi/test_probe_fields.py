"""Signs of a definition name fields that are there."""

from __future__ import annotations

import pytest

from khotool.abi.load import load_definition
from khotool.errors import DefinitionError

HEAD = 'id = "x"\ntitle = "x"\nkind = "file"\ncontent = "x"\nstatus = "local"\n'
STRUCTS = """
[struct.x]
size = 40
fields = [
  { bits = "u64", parts = [ { name = "low", width = 32 }, { name = "high", width = 32 } ] },
  { name = "n", type = "u64", as = "number" },
  { name = "rows", type = "u64", points_to = { shape = "blocks", of = "row" } },
  { name = "others", type = "u64", points_to = { shape = "blocks", of = "elsewhere" } },
  { name = "file", type = "u64", points_to = { shape = "folio" } },
]
[struct.row]
size = 16
fields = [
  { name = "at", type = "u64", points_to = { shape = "array", of = "row", count = "id" } },
  { name = "id", type = "u64" },
]
"""


def load(sign: str) -> None:
    load_definition(f"{HEAD}probe = [ {{ asked = true }}, {{ {sign} }} ]\n{STRUCTS}".encode(), "f")


@pytest.mark.parametrize(
    "sign",
    [
        'field = "low"',
        'field = "high"',
        'field = "number"',
        'field = "rows", aligned = true',
        'rows = "rows", field = "id"',
        'rows = "rows", field = "at/deep", ends = true',
        'rows = "others", field = "anything"',
        'inside = "rows", field = "low"',
        'field = "rows/id"',
        'field = "gone", has = "node/prop"',
        'rows = "rows", field = "at"',
        'field = "file", ends = true',
        'has = "node/prop"',
    ],
)
def test_fields_that_are_there(sign: str) -> None:
    """Fields, parts and aliases; of a list, fields of its records, where these are known."""
    load(sign)


@pytest.mark.parametrize(
    ("sign", "message"),
    [
        ('field = "n"', "'n' is no field of x"),
        ('field = "low:high"', "'low:high' is no field of x"),
        ('field = "id"', "'id' is no field of x"),
        ('field = "gone/id"', "'gone' is no field of x"),
        ('rows = "gone", field = "id"', "'gone' is no field of x"),
        ('rows = "rows", field = "low"', "'low' is no field of row"),
        ('rows = "number", field = "id"', "'number' leads to no records"),
        ('rows = "file", field = "id"', "'file' leads to no records"),
        ('inside = "file", field = "low"', "'file' leads to no records"),
        ('inside = "gone", field = "low"', "'gone' is no field of x"),
        ('field = "low", ends = true', "'low' leads to no array that could end"),
        ('rows = "rows", field = "id", ends = true', "'id' leads to no array that could end"),
    ],
)
def test_fields_that_are_not_there(sign: str, message: str) -> None:
    """The sign is named with what it says."""
    with pytest.raises(DefinitionError) as error:
        load(sign)
    assert str(error.value) == f"f.probe[1]: {message}"
