"""A BTF section."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from khotool.abi.geometry import Geometry
from khotool.authoring.btf import Btf
from khotool.authoring.compare_btf import compare_set
from tests.builders import REGISTRY

KIND = "binary"
RUNS = 15000

MOST_STRUCTS = 50


def seeds() -> Iterator[bytes]:
    """BTF of two structs, one of which holds an array and a union of the other."""
    strings = b"\0int\0inner\0kho_vmalloc\0a\0b\0kho_scratch\0addr\0size\0"

    def name(text: bytes) -> int:
        return strings.index(b"\0" + text + b"\0") + 1 if text else 0

    for order in "<>":

        def kind(label: bytes, info: int, size: int, *rest: int, order: str = order) -> bytes:
            words = (name(label), info, size, *rest)
            return struct.pack(f"{order}{len(words)}I", *words)

        types = b"".join(
            (
                kind(b"int", 1 << 24, 8, 64),
                kind(b"inner", 4 << 24 | 2, 16, name(b"a"), 1, 0, name(b"b"), 1, 64),
                kind(b"", 3 << 24, 0, 2, 1, 4),
                kind(b"", 5 << 24 | 1, 16, name(b"a"), 2, 0),
                kind(b"kho_vmalloc", 4 << 24 | 2, 80, name(b"a"), 3, 0, 0, 4, 512),
                kind(b"kho_scratch", 4 << 24 | 2, 16, name(b"addr"), 1, 0, name(b"size"), 1, 64),
            )
        )
        head = struct.pack(
            f"{order}HBB5I", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)
        )
        yield head + types + strings


def one_input(data: bytes) -> None:
    """A section is refused, or its structs compare with those of every set."""
    section = Btf(data)
    for name in islice(section.structs, MOST_STRUCTS):
        section.struct(name)
    for abi in REGISTRY.sets.values():
        compare_set(section, abi, REGISTRY, Geometry(4096))
