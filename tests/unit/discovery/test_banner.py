"""The kernel that memory is of, from its banner."""

from __future__ import annotations

import dataclasses

import pytest

from khotool.abi.registry import load_registry
from khotool.decode.open import open_memory
from khotool.discovery.banner import Banner, find_banner
from khotool.document.dump import image_json
from khotool.encode.pack import pack_image
from khotool.lab import bridge
from khotool.limits import Limits, OpenOptions
from khotool.memory.segments import Segment, SegmentedSpace
from khotool.memory.space import SourceInfo
from khotool.model.image import Image

BUILD = b"#7 SMP PREEMPT Sat Nov 21 02:06:59 UTC 2026"
TEXT = b"Linux version 6.18.15-x (me@host) (gcc (Debian) 12.2.0, GNU ld 2.40) " + BUILD
FORMAT = b"%s version %s (me@host) (gcc) %s\0Linux version 6.18.15-x (me@host) (gcc) # SMP\n"
ELSE = TEXT.replace(b"6.18.15-x", b"6.17.1")
AT = 0x3000000


def memory(*pieces: tuple[int, bytes]) -> SegmentedSpace:
    info = SourceInfo("ram", "raw", page_size=4096, endian="little")
    parts = [Segment(at, at + len(data), memoryview(data)) for at, data in pieces]
    return SegmentedSpace(info, parts)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (FORMAT + TEXT + b"\n\0" + TEXT, Banner("6.18.15-x", BUILD.decode())),
        (FORMAT, None),
        (TEXT + b"\0" + ELSE, None),
        (TEXT[:60], None),
        (b"Linux version \xff", None),
    ],
)
def test_banner_of_the_only_kernel(text: bytes, found: Banner | None) -> None:
    assert find_banner(memory((AT, text)), Limits()) == found


def test_search_has_a_limit() -> None:
    limits = dataclasses.replace(Limits(), scan=4096)

    assert find_banner(memory((AT, bytes(8192) + TEXT)), limits) is None


def whole(text: bytes) -> Image:
    """A handover of 6.18 in memory that also has some text."""
    built = bridge.build({"abi": "6.18", "kho_test": {"orders": [0]}})
    pieces = [(at, bytes(data)) for at, data in built.segments]
    space = memory(*sorted([*pieces, (AT + (64 << 20), text.ljust(4096, b"\0"))]))
    return open_memory(space, load_registry([]), OpenOptions(root=built.root))


def test_whole_memory_says_its_kernel_and_so_does_its_packed_copy() -> None:
    image = whole(TEXT)

    assert (image.info.osrelease, image.info.build) == ("6.18.15-x", BUILD.decode())
    assert image_json(image)["build"] == BUILD.decode()
    assert all(choice.certain for choice in image.choices)
    assert pack_image(image).vmcoreinfo["OSRELEASE"] == "6.18.15-x"


def test_memory_without_a_kernel_is_implied() -> None:
    image = whole(b"")

    assert (image.info.osrelease, image.info.build) == (None, None)
    assert "build" not in image_json(image)
