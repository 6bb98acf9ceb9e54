"""Definitions against the type information of the kernels that the captures are from."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from khotool.abi.geometry import Geometry
from khotool.authoring.btf import HEADER, Btf
from khotool.authoring.compare_btf import compare_set, nearest_set
from tests.builders import REAL, REGISTRY
from tests.trim_btf import trim

KERNELS = {
    "6.17.8": "6.16",
    "6.18.15": "6.18",
    "6.19.11": "6.19",
    "7.1.13": "7.1",
    "7.3.4": "7.2",
    "7.3.4-arm64-16k": "7.2",
}
GEOMETRY = Geometry(4096)


def btf_of(kernel: str) -> Path:
    return REAL / f"linux-{kernel}" / "vmlinux.btf"


@pytest.mark.parametrize(("kernel", "expected"), KERNELS.items())
def test_definitions_are_those_of_the_kernel(kernel: str, expected: str) -> None:
    """Every struct of a kernel's set is in its BTF, byte for byte; no other set fits better."""
    btf = Btf(btf_of(kernel).read_bytes())
    abi = nearest_set(btf, REGISTRY, GEOMETRY)
    compared, differences = compare_set(btf, abi, REGISTRY, GEOMETRY)

    assert abi.id == expected
    assert differences == []
    assert compared >= 5


def planted(kernel: str, name: str, member: int, offset: int) -> Btf:
    """The kernel's BTF with one member of one struct moved to a bit offset."""
    data = bytearray(btf_of(kernel).read_bytes())
    btf = Btf(bytes(data))
    # Types begin after the header of these sections.
    at = btf.head(btf.structs[name])[4] + HEADER
    struct.pack_into("<I", data, at + 12 * member + 8, offset)
    return Btf(bytes(data))


@pytest.mark.parametrize(
    ("kernel", "name", "member", "offset", "field"),
    [
        ("7.3.4", "luo_session_ser", 1, 576, "files"),
        ("7.3.4", "luo_file_ser", 2, 384, "token"),
        ("7.1.13", "memfd_luo_ser", 3, 352, "flags"),
        ("6.17.8", "kho_scratch", 1, 32, "size"),
    ],
)
def test_a_planted_difference_is_found(
    kernel: str, name: str, member: int, offset: int, field: str
) -> None:
    """A member that moved is named with its struct, and the right set is still the nearest."""
    btf = planted(kernel, name, member, offset)
    abi = nearest_set(btf, REGISTRY, GEOMETRY)
    _, differences = compare_set(btf, abi, REGISTRY, GEOMETRY)

    assert abi.id == KERNELS[kernel]
    assert (name, field) in {(d.struct, d.field) for d in differences}
    assert {d.struct for d in differences} == {name}


def test_a_missing_type_is_named() -> None:
    """A set whose structs the kernel does not have says which."""
    btf = Btf(btf_of("7.3.4").read_bytes())
    _, differences = compare_set(btf, REGISTRY.sets["7.1"], REGISTRY, GEOMETRY)

    assert [(d.definition, d.struct, d.message) for d in differences] == [
        ("luo-session-v2", "luo_session_header_ser", "the kernel has no such struct")
    ]


@pytest.mark.parametrize("kernel", KERNELS)
def test_trimming_keeps_what_it_keeps(kernel: str) -> None:
    """A trimmed section trims to itself."""
    data = btf_of(kernel).read_bytes()

    assert trim(data) == data
