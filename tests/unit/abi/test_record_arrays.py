"""Records of arrays, embedded structs, bytes and words of parts: both ways, to the last bit."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import pytest

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition
from khotool.abi.geometry import ByteOrder, Geometry
from khotool.abi.load import load_definition
from khotool.abi.record import (
    check_int,
    column,
    decode_record,
    decode_records,
    encode_bytes,
    encode_record,
    fit_int,
    int_range,
)
from khotool.abi.registry import Registry
from khotool.errors import DefinitionError, EncodeError

TEXT = """
id = "x"
title = "x"
kind = "structure"
content = "outer"
status = "local"

[struct.inner]
size = 3
layout = '''
u16 a;
s8 b;
'''

[struct.outer]
size = 32
layout = '''
struct inner items[3];
__be32 big;
u8 raw[4];
char text[3];
s16 minus[2];
u32 low : 5;
u32 middle : 12;
u32 high : 15;
struct inner last;
u8 end;
'''

[struct.outer.fields]
middle = { in_place = true }

[struct.loose]
size = 16
packed = false
layout = '''
u8 a;
u64 b;
'''

[struct.around]
size = 24
packed = false
layout = '''
u8 n;
struct loose in;
'''

[struct.full]
size = "page"
layout = '''
u64 n;
u16 rest[(PAGE_SIZE - 8) / sizeof(u16)];
'''
"""
VALUES: dict[str, Any] = {
    "items": [{"a": 1, "b": -1}, {"a": 65535, "b": 127}, {"a": 0, "b": -128}],
    "big": 0x01020304,
    "raw": b"\0\1\0\2",
    "text": "ab",
    "minus": [-32768, 32767],
    "low": 31,
    "middle": 0xABC << 5,
    "high": 0x7FFF,
    "last": {"a": 258, "b": 3},
    "end": 255,
}


def definition_of(text: str) -> Definition:
    return load_definition(text.encode(), "x.toml")


def compiled(name: str, byteorder: ByteOrder = "little", text: str = TEXT) -> CompiledStruct:
    definition = definition_of(text)
    return Registry([definition]).compile(definition, name, Geometry(4096, byteorder))


def stored(byteorder: ByteOrder) -> bytes:
    """The bytes of VALUES, put together by hand."""
    end = "<" if byteorder == "little" else ">"
    items = b"".join(struct.pack(f"{end}Hb", i["a"], i["b"]) for i in VALUES["items"])
    word = 31 | 0xABC << 5 | 0x7FFF << 17
    tail = struct.pack(f"{end}hhI", -32768, 32767, word) + struct.pack(f"{end}HbB", 258, 3, 255)
    return items + b"\1\2\3\4" + b"\0\1\0\2" + b"ab\0" + tail


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_every_kind_of_field(byteorder: ByteOrder) -> None:
    """Arrays, embedded structs, bytes, text and parts stand where the definition puts them."""
    outer = compiled("outer", byteorder)
    data = stored(byteorder)
    assert encode_record(outer, VALUES, "/") == data
    assert decode_record(outer, data) == VALUES
    assert decode_record(outer, data + b"more") == VALUES
    assert decode_records(outer, data * 3, 3) == [VALUES] * 3
    assert decode_records(outer, b"", 0) == []
    assert isinstance(decode_record(outer, data)["raw"], bytes)
    assert isinstance(decode_records(outer, data, 1)[0]["raw"], bytes)


def test_values_are_plain() -> None:
    """Numbers and lists are Python's own, one by one and in arrays of records."""

    def kinds(value: Any) -> set[type]:
        if isinstance(value, dict | list):
            items = value.values() if isinstance(value, dict) else value
            return {type(value)}.union(*map(kinds, items))
        return {type(value)}

    data = stored("big")
    outer = compiled("outer", "big")
    plain = {dict, list, int, str, bytes}
    assert kinds(decode_record(outer, data)) == plain
    assert [kinds(row) for row in decode_records(outer, data * 2, 2)] == [plain, plain]


@pytest.mark.parametrize("name", ["outer", "loose", "around", "full"])
def test_what_is_not_given_is_zero(name: str) -> None:
    """A record of no values is all zeros, and arrays that are short are filled with zeros."""
    shape = compiled(name)
    assert encode_record(shape, {}, "/") == bytes(shape.size)


def test_short_arrays_are_filled() -> None:
    """Elements that are not given are zero; those given stay in place."""
    outer = compiled("outer")
    data = encode_record(outer, {"items": [{"a": 7}], "minus": [5], "text": "x"}, "/")
    made = decode_record(outer, data)
    assert made["items"] == [{"a": 7, "b": 0}, {"a": 0, "b": 0}, {"a": 0, "b": 0}]
    assert (made["minus"], made["text"]) == ([5, 0], "x")
    full = compiled("full")
    made = decode_record(full, encode_record(full, {"n": 3, "rest": [1, 2]}, "/"))
    assert (made["n"], made["rest"][:3], sum(made["rest"])) == (3, [1, 2, 0], 3)
    assert len(made["rest"]) == (4096 - 8) // 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"items": {}}, "/x/items: expected a list of records, found {}"),
        ({"items": [{}] * 4}, "/x/items: 4 elements; the array takes 3"),
        ({"items": [{}, 7]}, "/x/items[1]: expected the fields of inner"),
        ({"items": [{}, {"b": 128}]}, "/x/items[1]/b: 0x80 does not fit 8 bits"),
        ({"items": [{"c": 1}]}, "/x/items[0]/c: inner has no such field"),
        ({"minus": [0, 32768]}, "/x/minus[1]: 0x8000 does not fit 16 bits"),
        ({"minus": [-32769]}, "/x/minus[0]: -0x8001 does not fit 16 bits"),
        ({"minus": [0] * 3}, "/x/minus: 3 elements; the array takes 2"),
        ({"minus": 0}, "/x/minus: expected a list of numbers, found 0"),
        ({"raw": "xy"}, "/x/raw: expected hexadecimal bytes"),
        ({"raw": 7}, "/x/raw: expected bytes, found 7"),
        ({"raw": bytes(5)}, "/x/raw: 5 bytes; at most 4 fit"),
        ({"low": 32}, "/x/low: 0x20 does not fit; expected at most 5 bits"),
        ({"high": 1 << 15}, "/x/high: 0x8000 does not fit; expected at most 15 bits"),
        ({"middle": 16}, "/x/middle: 0x10 does not fit; expected a multiple of 0x20"),
        ({"middle": 1 << 17}, "/x/middle: 0x20000 does not fit; expected a multiple of 0x20"),
        ({"low": 1.5}, "/x/low: expected a number, found 1.5"),
        ({"low": True}, "/x/low: expected a number, found True"),
        ({"last": [1]}, "/x/last: expected the fields of inner"),
    ],
)
def test_mistakes_have_a_path(values: dict[str, Any], message: str) -> None:
    """The path leads to the element, and the message says what would fit."""
    with pytest.raises(EncodeError, match=re.escape(message)):
        encode_record(compiled("outer"), values, "/x")


def test_bytes_are_padded() -> None:
    """Bytes or hexadecimal digits of any length up to the field's."""
    assert encode_bytes(b"\1", 3, "/") == b"\1\0\0"
    assert encode_bytes("01 ff", 2, "/") == b"\1\xff"
    assert encode_bytes(b"abcd", 4, "/") == b"abcd"


def test_columns_of_words_and_signed_numbers() -> None:
    """A column has the values of the records, parts shifted down unless they stay in place."""
    outer = compiled("outer", "big")
    data = stored("big")
    rows = np.frombuffer(data + encode_record(outer, {"low": 1, "end": 9}, "/"), outer.dtype)
    assert column(outer, rows, "low").tolist() == [31, 1]
    assert column(outer, rows, "middle").tolist() == [0xABC << 5, 0]
    assert column(outer, rows, "high").tolist() == [0x7FFF, 0]
    assert column(outer, rows, "end").tolist() == [255, 9]
    assert column(outer, rows, "big").dtype == np.uint64
    inner = compiled("inner")
    rows = np.frombuffer(b"\0\0\xff\0\0\x7f", inner.dtype)
    assert column(inner, rows, "b").tolist() == [-1, 127]
    assert column(inner, rows, "b").dtype == np.int64


@pytest.mark.parametrize(("size", "signed"), [(1, True), (1, False), (8, True), (8, False)])
def test_ranges_end_where_bits_do(size: int, signed: bool) -> None:
    """The first and the last number fit; their neighbours do not."""
    low, high = int_range(size, signed)
    assert high - low == (1 << size * 8) - 1
    assert low == (-(high + 1) if signed else 0)
    for value in (low, high):
        assert fit_int(value, size, signed, "/") == value
    for value in (low - 1, high + 1):
        with pytest.raises(EncodeError, match=f"does not fit {size * 8} bits"):
            fit_int(value, size, signed, "/")


def test_numbers_are_numbers() -> None:
    """Zero is a number of at least 0; truth values and others are none."""
    assert check_int(0, "/") == 0
    for wrong in (True, False, None, "1", 1.0):
        with pytest.raises(EncodeError, match="expected a number, found"):
            check_int(wrong, "/")


def test_gaps_of_natural_alignment() -> None:
    """A struct is as aligned as what it holds; the gaps are zero and no field."""
    loose, around = compiled("loose"), compiled("around")
    assert [(placed.offset, placed.size) for placed in loose.fields] == [(0, 1), (8, 8)]
    assert [(placed.offset, placed.size) for placed in around.fields] == [(0, 1), (8, 16)]
    data = encode_record(around, {"n": 255, "in": {"a": 1, "b": 2}}, "/")
    assert data == b"\xff".ljust(8, b"\0") + b"\1".ljust(8, b"\0") + b"\2".ljust(8, b"\0")
    assert decode_record(around, b"\xff" * 24) == {"n": 255, "in": {"a": 255, "b": (1 << 64) - 1}}


def word(layout: str, size: int = 2) -> str:
    return (
        TEXT.partition("[struct.inner]")[0].replace("outer", "w")
        + f"[struct.w]\nsize = {size}\nlayout = '{layout}'\n"
    )


def test_parts_fill_their_word() -> None:
    """Bit-fields go from the lowest bit up; a page shift takes the bits of a page's offset."""
    shape = compiled("w", text=word("u16 a : PAGE_SHIFT; u16 b : 16 - PAGE_SHIFT;"))
    (placed,) = shape.fields
    assert [(part.mask, part.shift) for part in placed.parts] == [(0xFFF, 0), (0xF000, 12)]
    (placed,) = compiled("w", text=word("u16 a : 15; u16 b : 1;")).fields
    assert [(part.mask, part.shift) for part in placed.parts] == [(0x7FFF, 0), (0x8000, 15)]
    first, second = compiled("w", text=word("u16 a : 16; u16 b : 1;", 4)).fields
    assert (first.offset, second.offset, second.parts[0].mask) == (0, 2, 1)


def test_a_struct_without_fields() -> None:
    """No members are no bytes, which no declared size is."""
    with pytest.raises(DefinitionError, match="take 0 bytes, but the declared size is 1"):
        compiled("w", text=word("", 1))
