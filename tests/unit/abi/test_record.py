"""Ranges: a value that does not fit is an error with its path, never a neighbour's bit."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.geometry import Geometry
from khotool.abi.record import (
    decode_record,
    decode_text,
    encode_chars,
    encode_record,
    encode_text,
    fit_int,
)
from khotool.errors import EncodeError
from tests.builders import REGISTRY

GEOMETRY = Geometry(16384, "big")

WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("luo-v5", "luo_ser", {"sessions": 1 << 64}, "/x/sessions: 0x10000000000000000 does not fit 6"),
    ("luo-v5", "luo_ser", {"sessions": -1}, "/x/sessions: -0x1 does not fit 64 bits"),
    ("luo-v5", "luo_ser", {"sessions": "1"}, "/x/sessions: expected a number, found '1'"),
    ("luo-v5", "luo_ser", {"sessions": True}, "/x/sessions: expected a number, found True"),
    ("luo-v5", "luo_ser", {"sessions": None}, "/x/sessions: expected a number, found None"),
    ("luo-v5", "luo_ser", {"sessions": 1.0}, "/x/sessions: expected a number, found 1.0"),
    ("luo-v5", "luo_ser", {"session": 1}, "/x/session: luo_ser has no such field"),
    ("luo-v5", "luo_session_ser", {"name": "x" * 65}, "/x/name: 65 bytes; at most 64 fit"),
    ("luo-v5", "luo_session_ser", {"name": "é" * 33}, "/x/name: 66 bytes; at most 64 fit"),
    ("luo-v5", "luo_session_ser", {"name": "a\0b"}, "/x/name: a string cannot contain NUL"),
    ("luo-v5", "luo_session_ser", {"name": 7}, "/x/name: expected a string, found 7"),
    ("luo-v5", "luo_session_ser", {"name": "\ud800"}, "/x/name: '\\ud800' holds a character"),
    ("memfd-v2", "memfd_luo_ser", {"seals": 1 << 32}, "/x/seals: 0x100000000 does not fit 32 b"),
    ("memfd-v2", "memfd_luo_ser", {"folios": 7}, "/x/folios: expected the fields of kho_vmalloc"),
    (
        "memfd-v2",
        "memfd_luo_ser",
        {"folios": {"order": 1 << 16}},
        "/x/folios/order: 0x10000 does not fit 16 bits",
    ),
    (
        "memfd-v2",
        "memfd_luo_folio_ser",
        {"pfn": 1 << 52},
        "/x/pfn: 0x10000000000000 does not fit; expected at most 52 bits",
    ),
    ("memfd-v2", "memfd_luo_folio_ser", {"flags": 4096}, "/x/flags: 0x1000 does not fit; expected"),
    ("memfd-v2", "memfd_luo_folio_ser", {"flags": -1}, "/x/flags: expected a number of at least 0"),
    ("memfd-v2", "memfd_luo_folio_ser", {"flags": "1"}, "/x/flags: expected a number, found '1'"),
    (
        "kho-test-v1",
        "kho_test_folio",
        {"address": 4096},
        "/x/address: 0x1000 does not fit; expected a multiple of 0x4000",
    ),
    ("kho-test-v1", "kho_test_folio", {"order": 1 << 14}, "/x/order: 0x4000 does not fit; expec"),
    ("kho_vmalloc", "kho_vmalloc_chunk", {"phys": [0] * 2048}, "/x/phys: 2048 elements; the page"),
    ("kho_vmalloc", "kho_vmalloc_chunk", {"phys": 7}, "/x/phys: expected a list of numbers"),
    ("kho_vmalloc", "kho_vmalloc_chunk", {"phys": [0, 1 << 64]}, "/x/phys[1]: 0x1000000000000000"),
    ("kho_vmalloc", "kho_vmalloc_chunk", {"phys": [0, "a"]}, "/x/phys[1]: expected a number, f"),
    ("kho_vmalloc", "kho_vmalloc_chunk", {"phys": [True]}, "/x/phys[0]: expected a number, foun"),
    ("kexec-metadata", "kho_kexec_metadata", {"version": 1 << 32}, "/x/version: 0x100000000 does"),
]


@pytest.mark.parametrize(("identifier", "struct", "values", "message"), WRONG)
def test_every_type_has_a_range(
    identifier: str, struct: str, values: dict[str, Any], message: str
) -> None:
    """Each kind of field names path, value and what fits."""
    compiled = REGISTRY.compile(REGISTRY.get(identifier), struct, GEOMETRY)
    with pytest.raises(EncodeError, match=re.escape(message)):
        encode_record(compiled, values, "/x")


def test_edges_fit() -> None:
    """The largest value of every field of a word stays in its own bits."""
    compiled = REGISTRY.compile(REGISTRY.get("memfd-v2"), "memfd_luo_folio_ser", GEOMETRY)
    values = {"pfn": (1 << 52) - 1, "flags": 0, "index": (1 << 64) - 1}
    assert decode_record(compiled, encode_record(compiled, values, "/")) == values
    values = {"pfn": 0, "flags": 4095, "index": 0}
    assert decode_record(compiled, encode_record(compiled, values, "/")) == values
    name = "x" * 64
    session = REGISTRY.compile(REGISTRY.get("luo-v5"), "luo_session_ser", GEOMETRY)
    assert decode_record(session, encode_record(session, {"name": name}, "/"))["name"] == name


def test_short_bytes_are_refused() -> None:
    """A record needs all of its bytes."""
    compiled = REGISTRY.compile(REGISTRY.get("luo-v5"), "luo_ser", GEOMETRY)
    with pytest.raises(ValueError, match="luo_ser needs 32 bytes, has 31"):
        decode_record(compiled, bytes(31))


@given(st.integers(1, 8), st.booleans(), st.integers(-(1 << 66), 1 << 66))
def test_integers_fit_or_fail(size: int, signed: bool, value: int) -> None:
    """What fits is what int.to_bytes takes."""
    try:
        value.to_bytes(size, "little", signed=signed)
    except OverflowError:
        with pytest.raises(EncodeError, match=r"^/p: -?0x[0-9a-f]+ does not fit \d+ bits$"):
            fit_int(value, size, signed, "/p")
    else:
        assert fit_int(value, size, signed, "/p") == value


@given(st.binary(max_size=80))
def test_text_is_any_bytes(data: bytes) -> None:
    """A string is what stands before the NUL, byte for byte, UTF-8 or not."""
    raw = data.split(b"\0")[0]
    assert encode_text(decode_text(data)) == raw
    assert encode_chars(decode_text(data), 80, "/") == raw.ljust(80, b"\0")


@given(st.text())
def test_any_text_fits_or_fails(text: str) -> None:
    """No text raises anything but EncodeError, and then it holds a surrogate."""
    if any(0xD800 <= ord(c) < 0xDC80 or 0xDD00 <= ord(c) < 0xE000 for c in text):
        with pytest.raises(EncodeError, match=r"^/p: "):
            encode_text(text, "/p")
    else:
        raw = encode_text(text, "/p")
        assert raw.decode("utf-8", "surrogateescape") == text or max(text) >= "\udc80"
