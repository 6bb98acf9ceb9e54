"""Structs inside structs: a definition whose structs hold one another is refused, not followed."""

from __future__ import annotations

import pytest

from khotool.abi.c_text import declared
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import MAX_NESTING, Registry
from khotool.abi.types import parse_type
from khotool.errors import DefinitionError

HEAD = 'title = "X"\nkind = "structure"\nstatus = "local"\n'


def registry(**files: str) -> Registry:
    """Definitions of one file each, by id."""
    loaded = []
    for name, text in files.items():
        uses = [other for other in files if other != name]
        head = f'id = "{name}"\ncontent = "{name}_ser"\nuses = {uses}\n{HEAD}'
        loaded.append(load_definition((head + text).encode(), f"{name}.toml"))
    return Registry(loaded)


def struct(name: str, kind: str, size: int = 8) -> str:
    field = declared(parse_type(kind), "a")
    return f"[struct.{name}]\nsize = {size}\nlayout = '{field}'\n"


def test_a_struct_inside_itself() -> None:
    """Directly, and by way of another definition; the error names file and struct."""
    known = registry(x=struct("x_ser", "x_ser"))
    with pytest.raises(DefinitionError, match=r"^x\.toml: struct\.x_ser: the struct embeds itself"):
        known.compile(known.get("x"), "x_ser", Geometry(4096))
    pair = registry(x=struct("x_ser", "y_ser"), y=struct("y_ser", "x_ser[1]"))
    for _ in range(2):
        with pytest.raises(DefinitionError, match=r"^y\.toml: struct\.y_ser: the struct embeds"):
            pair.compile(pair.get("y"), "y_ser", Geometry(4096))


def test_a_list_of_itself_at_the_end() -> None:
    """An array of open length has no elements that hold one another either."""
    text = "[struct.x_ser]\nsize = 8\nlayout = 'u64 n; struct x_ser a[];'\n"
    known = registry(x=text + "[struct.x_ser.fields]\nn = { counts = 'a' }\n")
    with pytest.raises(DefinitionError, match="embeds itself"):
        known.compile(known.get("x"), "x_ser", Geometry(4096))


def test_chains_of_structs() -> None:
    """So many structs inside one another compile, one more does not, and nothing is left over."""
    links = [struct("in0", "u64"), *(struct(f"in{i}", f"in{i - 1}") for i in range(1, 1200))]
    known = registry(x=struct("x_ser", "u64") + "".join(links))
    definition = known.get("x")
    with pytest.raises(DefinitionError, match=f"structs nest more than {MAX_NESTING} deep"):
        known.compile(definition, "in1199", Geometry(4096))
    last = known.compile(definition, f"in{MAX_NESTING - 1}", Geometry(4096))
    assert last.size == 8
    nested = 0
    while (inner := last.fields[0].nested) is not None:
        last, nested = inner, nested + 1
    assert nested == MAX_NESTING - 1
