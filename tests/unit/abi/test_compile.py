"""Structs compiled: construct, numpy and the values by label are one and the same."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.c_text import declared
from khotool.abi.compile import CompiledStruct
from khotool.abi.geometry import PAGE_SIZES, ByteOrder, Geometry
from khotool.abi.load import load_definition
from khotool.abi.record import (
    column,
    decode_by_construct,
    decode_record,
    decode_records,
    encode_record,
)
from khotool.abi.registry import Registry
from khotool.abi.types import parse_type
from khotool.errors import DefinitionError
from tests.builders import REGISTRY

STRUCTS = [(d.id, name) for d in REGISTRY for name in d.structs]
ORDERS: tuple[ByteOrder, ...] = ("little", "big")
GEOMETRIES = [Geometry(size, order) for size in PAGE_SIZES for order in ORDERS]


def compiled_struct(identifier: str, name: str, geometry: Geometry) -> CompiledStruct:
    return REGISTRY.compile(REGISTRY.get(identifier), name, geometry)


@st.composite
def structs(draw: st.DrawFn) -> tuple[CompiledStruct, bytes]:
    """A struct of any definition and geometry, and bytes for it."""
    identifier, name = draw(st.sampled_from(STRUCTS))
    compiled = compiled_struct(identifier, name, draw(st.sampled_from(GEOMETRIES)))
    seed = draw(st.binary(min_size=1, max_size=min(compiled.size, 300)))
    return compiled, (seed * (compiled.size // len(seed) + 1))[: compiled.size]


def by_construct(compiled: CompiledStruct, data: bytes) -> dict[str, Any]:
    return by_name(compiled.construct.parse(data))


def by_name(parsed: Any) -> dict[str, Any]:
    """Fields of a parsed struct, without what construct and the compiler add."""
    return {
        key: nested_construct(value)
        for key, value in parsed.items()
        if key != "_io" and not key.startswith("gap_")
    }


def nested_construct(value: Any) -> Any:
    if hasattr(value, "items"):
        return [
            nested_construct(v) for k, v in value.items() if k != "_io" and not k.startswith("gap_")
        ]
    return [nested_construct(item) for item in value] if isinstance(value, list) else value


def by_numpy(compiled: CompiledStruct, data: bytes) -> dict[str, Any]:
    row = np.frombuffer(data, compiled.dtype)[0]
    return {name: nested_numpy(row[name]) for name in compiled.dtype.names or ()}


def nested_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [nested_numpy(item) for item in value]
    if isinstance(value, np.void) and value.dtype.names:
        return [nested_numpy(value[name]) for name in value.dtype.names]
    return value.tobytes() if isinstance(value, np.void) else value.tolist()


@pytest.mark.parametrize("identifier", [d.id for d in REGISTRY if d.structs])
def test_every_struct_compiles(identifier: str) -> None:
    """Fields follow one another inside the declared size; both engines agree on it."""
    for name, geometry in product(REGISTRY.get(identifier).structs, GEOMETRIES):
        check_struct(
            compiled_struct(identifier, name, geometry), f"{identifier}: {name} {geometry}"
        )


def check_struct(compiled: CompiledStruct, where: str) -> None:
    assert compiled.construct.sizeof() == compiled.dtype.itemsize == compiled.size, where
    end = 0
    for placed in compiled.fields:
        assert placed.offset >= end, f"{where}: {placed.field.name}"
        end = placed.offset + placed.size
        masks = [part.mask for part in placed.parts]
        assert sum(masks) < 1 << placed.size * 8, f"{where}: {placed.field.name}"
        assert all(a & b == 0 for i, a in enumerate(masks) for b in masks[:i]), where
    assert end <= compiled.size, where
    data = bytes(i * 37 & 0xFF for i in range(compiled.size))
    assert by_construct(compiled, data) == by_numpy(compiled, data), where


@given(structs())
def test_construct_and_numpy_are_equal(drawn: tuple[CompiledStruct, bytes]) -> None:
    """Both give the same values of any bytes, and one record is the same as one of many."""
    compiled, data = drawn
    assert by_construct(compiled, data) == by_numpy(compiled, data)
    assert decode_records(compiled, data * 2, 2) == [decode_record(compiled, data)] * 2
    if not compiled.has_fill:
        assert decode_by_construct(compiled, data) == decode_record(compiled, data)


def without_tails(compiled: CompiledStruct, data: bytes) -> bytes:
    """A record with zeros after the end of each of its strings, nested ones included."""
    made = bytearray(data)
    for placed in compiled.fields:
        kind, size = placed.field.type, placed.size // placed.count
        for start in range(placed.offset, placed.offset + placed.size, size or 1):
            part = data[start : start + size]
            if placed.nested is not None:
                made[start : start + size] = without_tails(placed.nested, part)
            elif kind is not None and kind.kind == "char":
                made[start : start + size] = part.partition(b"\0")[0].ljust(size, b"\0")
    return bytes(made)


@given(structs())
def test_encode_is_the_inverse_of_decode(drawn: tuple[CompiledStruct, bytes]) -> None:
    """encode(decode(bytes)) is the bytes, save string tails, and decode(encode(v)) is v."""
    compiled, data = drawn
    values = decode_record(compiled, data)
    made = encode_record(compiled, values, "/x")
    assert made == without_tails(compiled, data)
    assert decode_record(compiled, made) == values


@given(structs())
def test_columns_are_the_values(drawn: tuple[CompiledStruct, bytes]) -> None:
    """A column of a table has the value of the record, whatever the byte order."""
    compiled, data = drawn
    values = decode_record(compiled, data)
    records = np.frombuffer(data, compiled.dtype)
    for placed in compiled.fields:
        kind = placed.field.type
        if placed.nested or placed.field.fill or kind is None or kind.kind != "int":
            continue
        for field in placed.field.parts or (placed.field,):
            assert column(compiled, records, field.label).tolist() == [values[field.label]]


SIZES = {
    "u8": 1,
    "u16": 2,
    "u32": 4,
    "u64": 8,
    "s8": 1,
    "s16": 2,
    "s32": 4,
    "s64": 8,
    "beu16": 2,
    "beu32": 4,
    "beu64": 8,
    "char[5]": 5,
}


def made_of(types: list[str], size: int, packed: bool) -> CompiledStruct:
    layout = "\n".join(declared(parse_type(kind), f"f{i}") for i, kind in enumerate(types))
    text = (
        'id = "x"\ntitle = "x"\nkind = "structure"\ncontent = "x"\nstatus = "local"\n'
        f"[struct.x]\nsize = {size}\npacked = {str(packed).lower()}\nlayout = '''\n{layout}\n'''\n"
    )
    definition = load_definition(text.encode(), "x.toml")
    struct = definition.structs["x"]
    return CompiledStruct(struct, Geometry(), lambda name: None, "x.toml: struct.x")  # type: ignore[arg-type, return-value]


@given(st.lists(st.sampled_from(sorted(SIZES)), min_size=1, max_size=6), st.booleans(), st.data())
def test_natural_alignment_is_that_of_c(
    types: list[str], packed: bool, data: st.DataObject
) -> None:
    """Unpacked structs have the padding a C compiler gives them; packed ones have none."""
    offsets, at, most = [], 0, 1
    for kind in types:
        align = 1 if packed or kind.startswith("char") else SIZES[kind]
        most = max(most, align)
        at = -(-at // align) * align
        offsets.append(at)
        at += SIZES[kind]
    size = -(-at // most) * most
    compiled = made_of(types, size, packed)
    assert [placed.offset for placed in compiled.fields] == offsets
    raw = data.draw(st.binary(min_size=size, max_size=size))
    assert by_construct(compiled, raw) == by_numpy(compiled, raw)
    values = decode_record(compiled, raw)
    assert decode_record(compiled, encode_record(compiled, values, "/")) == values


@pytest.mark.parametrize("wrong", [7, 9, 16])
def test_declared_size_is_asserted(wrong: int) -> None:
    """A size that is not that of the fields is an error with both numbers."""
    message = f"x.toml: struct.x: the fields take 8 bytes, but the declared size is {wrong}"
    with pytest.raises(DefinitionError, match=re.escape(message)):
        made_of(["u32", "u32"], wrong, True)


def test_labels_find_fields_and_parts() -> None:
    """A label is that of a field, an alias, or a part of a word; anything else is a KeyError."""
    compiled = compiled_struct("memfd-v2", "memfd_luo_folio_ser", Geometry())
    assert compiled.by_label("pfn") is compiled.by_label("flags")
    assert compiled.by_label("index").offset == 8
    with pytest.raises(KeyError):
        compiled.by_label("nothing")


IN = {"packed": ("u8, u32", 5), "natural": ("u64", 8), "text": ("char[3]", 3)}


@pytest.mark.parametrize(
    ("fields", "size", "offsets"),
    [
        ("u8, packed", 6, [0, 1]),
        ("u8, packed, u16", 8, [0, 1, 6]),
        ("natural, u8", 16, [0, 8]),
        ("u8, natural", 16, [0, 8]),
        ("u8, text", 4, [0, 1]),
        ("text", 3, [0]),
        ("char[3], char[4]", 7, [0, 3]),
        ("u8, natural, text", 24, [0, 8, 16]),
    ],
)
def test_natural_alignment_of_embedded_structs(fields: str, size: int, offsets: list[int]) -> None:
    """An embedded struct is aligned as what it holds; packed ones and text are not aligned."""

    def struct(name: str, types: str, size: int, packed: bool) -> str:
        rows = [declared(parse_type(t), f"f{i}") for i, t in enumerate(types.split(", "))]
        layout = "\n".join(rows)
        head = f"[struct.{name}]\nsize = {size}\npacked = {packed}\n".lower()
        return f"{head}layout = '''\n{layout}\n'''\n"

    text = 'id = "x"\ntitle = "x"\nkind = "structure"\ncontent = "x"\nstatus = "local"\n'
    text += struct("x", fields, size, False)
    text += "".join(struct(name, *IN[name], name == "packed") for name in IN)
    definition = load_definition(text.encode(), "x.toml")
    compiled = Registry([definition]).compile(definition, "x", Geometry())
    assert [placed.offset for placed in compiled.fields] == offsets
    assert compiled.size == size == compiled.dtype.itemsize == compiled.construct.sizeof()


@pytest.mark.parametrize(
    ("fields", "fill"),
    [
        ("u64 a; u16 b[(PAGE_SIZE - 8) / sizeof(u16)];", True),
        ("u64 a[PAGE_SIZE / sizeof(u64)];", True),
        ("u64 a[511]; u64 b;", False),
        ("char a[8]; u16 b[(PAGE_SIZE - 8) / sizeof(u16)];", False),
    ],
)
def test_plain_numbers_that_fill_a_page(fields: str, fill: bool) -> None:
    """Such a struct, with nothing but numbers in it, goes through numpy."""
    text = 'id = "x"\ntitle = "x"\nkind = "structure"\ncontent = "x"\nstatus = "local"\n'
    text += f'[struct.x]\nsize = "page"\nlayout = "{fields}"\n'
    definition = load_definition(text.encode(), "x.toml")
    assert Registry([definition]).compile(definition, "x", Geometry()).has_fill is fill


@pytest.mark.parametrize(("page", "shift"), [(4096, 12), (16384, 14), (65536, 16)])
def test_geometries(page: int, shift: int) -> None:
    """The page shift follows from the page size, the prefix from the byte order."""
    assert Geometry(page).page_shift == shift
    assert (Geometry(page).prefix, Geometry(page, "big").prefix) == ("<", ">")
    assert Geometry() == Geometry(4096, "little")
