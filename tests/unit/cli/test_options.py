"""Values of flags: what is accepted and what the error says."""

from __future__ import annotations

import argparse

import pytest

from khotool.cli import options
from khotool.cli.addresses import parse_address, parse_range
from khotool.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x4de000", 0x4DE000),
        ("4096", 4096),
        ("16K", 16384),
        ("2MiB", 2 << 20),
        ("2 MiB", 2 << 20),
        ("48 B", 48),
        ("1g", 1 << 30),
        ("0xFFFF_FFFF", 0xFFFFFFFF),
        ("0", 0),
    ],
)
def test_numbers(text: str, value: int) -> None:
    """Decimal, hexadecimal, and binary suffixes."""
    assert options.number(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1", "0x", "1.5", "4 X", "010", "٣"])
def test_no_numbers(text: str) -> None:
    """Anything else is refused, also digits of other scripts."""
    with pytest.raises(ValueError, match=r".*"):
        options.number(text)


def test_page_sizes() -> None:
    """Powers of two from 4K to 64K."""
    assert [options.page_size(t) for t in ("4K", "16384", "64k")] == [4096, 16384, 65536]
    for text in ("1", "5000", "8K", "128K", "four"):
        with pytest.raises(argparse.ArgumentTypeError, match="4K, 16K or 64K"):
            options.page_size(text)


def test_areas_and_roots() -> None:
    """``ADDR+LEN`` with both parts; a root may be a name."""
    assert options.area("0xdc00000+16M") == (0xDC00000, 16 << 20)
    for text in ("0xdc00000", "+1", "1+", "1+0", "0xffffffffffffffff+2"):
        with pytest.raises(argparse.ArgumentTypeError, match="ADDR"):
            options.area(text)
    assert options.root("in/kho/in") == "in/kho/in"
    assert options.root("0x10") == 16
    with pytest.raises(argparse.ArgumentTypeError):
        options.root("0xzz")
    with pytest.raises(argparse.ArgumentTypeError, match="64 bits"):
        options.address("0x10000000000000000")


def test_limits() -> None:
    """Named limits change, the others stay."""
    found = options.limits("nodes=1K,chain=5")
    assert found is not None
    assert (found.nodes, found.chain, found.depth) == (1024, 5, 64)
    for text in ("nodes", "nodes=0", "cats=1", "nodes=", "nodes=9999999999999999999999"):
        with pytest.raises(argparse.ArgumentTypeError):
            options.limits(text)


def test_abi() -> None:
    """An id, or an id with its layout."""
    assert options.abi("kho-v1") == ("kho-v1", None)
    assert options.abi("kho-v1=bitmap-512") == ("kho-v1", "bitmap-512")
    with pytest.raises(argparse.ArgumentTypeError, match="ID=LAYOUT"):
        options.abi("kho-v1=")


def test_addresses_of_commands() -> None:
    """Page frames count pages of the image; lengths are bytes."""
    assert parse_address("#0x4de", 16384) == 0x4DE << 14
    assert parse_range("0x1000+16", 4096, 256) == (0x1000, 16)
    assert parse_range("#1", 4096, 256) == (4096, 256)
    for text in ("zero", "0x1000+", "1+0", "0xffffffffffffffff+2", "#0xffffffffffffffff"):
        with pytest.raises(UsageError):
            parse_range(text, 4096, 256)
