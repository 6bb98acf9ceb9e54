"""Signs of a definition name fields that are there."""

from __future__ import annotations

import pytest

from khotool.abi.load import load_definition
from khotool.errors import DefinitionError

HEAD = 'id = "x"\ntitle = "x"\nkind = "file"\ncontent = "x"\nstatus = "local"\n'
STRUCTS = """
[struct.x]
size = 40
layout = '''
u64 low : 32;
u64 high : 32;
u64 n;
u64 rows;
u64 others;
u64 file;
'''

[struct.x.fields]
n      = { as = "number" }
rows   = { points_to = { shape = "blocks", of = "row" } }
others = { points_to = { shape = "blocks", of = "elsewhere" } }
file   = { points_to = { shape = "folio" } }

[struct.row]
size = 16
layout = '''
u64 at;
u64 id;
'''

[struct.row.fields]
at = { points_to = { shape = "array", of = "row", count = "id" } }
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
        ('field = "n"', "'n' is not a field of x"),
        ('field = "low:high"', "'low:high' is not a field of x"),
        ('field = "id"', "'id' is not a field of x"),
        ('field = "gone/id"', "'gone' is not a field of x"),
        ('rows = "gone", field = "id"', "'gone' is not a field of x"),
        ('rows = "rows", field = "low"', "'low' is not a field of row"),
        ('rows = "number", field = "id"', "'number' does not lead to records"),
        ('rows = "file", field = "id"', "'file' does not lead to records"),
        ('inside = "file", field = "low"', "'file' does not lead to records"),
        ('inside = "gone", field = "low"', "'gone' is not a field of x"),
        ('field = "low", ends = true', "'low' does not lead to an array that could end"),
        (
            'rows = "rows", field = "id", ends = true',
            "'id' does not lead to an array that could end",
        ),
    ],
)
def test_fields_that_are_not_there(sign: str, message: str) -> None:
    """The sign is named with what it says."""
    with pytest.raises(DefinitionError) as error:
        load(sign)
    assert str(error.value).startswith(f"f:6: probe[1]: {message}")
