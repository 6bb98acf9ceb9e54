"""Inputs made to cost more than they weigh: bounded in work and memory, and said so."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from khotool.check.run import check_image
from khotool.decode.open import open_image
from khotool.errors import InputError
from khotool.fdt.parse import parse
from khotool.limits import Limits, OpenOptions
from khotool.maps.preserved import PreservedMap
from khotool.memory.debugfs import DebugfsCopy
from khotool.memory.elf import open_elf
from khotool.memory.source import open_source
from khotool.memory.space import AddressSpace, SourceInfo
from khotool.model.image import Image
from khotool.model.lookup import find_node
from khotool.model.region import MapRegion
from tests.builders import capture, decode, overlaid

#: Processor seconds: far above what any of these takes, far below what a hang takes.
SECONDS = 20
MEGABYTE = 1 << 20
SESSIONS = {
    "abi": "7.3",
    "session": [
        {"name": f"s{number}", "file": [{"token": 1, "size": 100_000}]} for number in range(30)
    ],
}


@contextmanager
def bounded(megabytes: int) -> Iterator[None]:
    """Fails if what is done inside takes more memory, or runs away."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < megabytes * MEGABYTE, f"{peak >> 20} MiB"
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_decompression_bomb(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """A file that expands a thousandfold stops at the limit, and the message names the flag."""
    path = tmp_path / "image.gz"
    path.write_bytes(pack(bytes(64 * MEGABYTE)))
    with bounded(24), pytest.raises(InputError, match="--limit bytes="):
        open_source(path, base=0, limit=8 * MEGABYTE)


def test_dictionary_of_an_xz_stream(tmp_path: Path) -> None:
    """A header of 60 bytes cannot ask for a dictionary of 4 GiB."""
    packed = bytearray(lzma.compress(b"data" * 100, check=lzma.CHECK_NONE))
    header = packed[12 : 12 + (packed[12] + 1) * 4]
    header[header.index(0x21) + 2] = 40
    header[-4:] = struct.pack("<I", zlib.crc32(header[:-4]))
    packed[12 : 12 + len(header)] = header
    path = tmp_path / "image.xz"
    path.write_bytes(packed)
    with pytest.raises(InputError, match="does not decompress: Memory usage limit"):
        open_source(path)


def test_tar_members_outside_the_folder(tmp_path: Path) -> None:
    """Members that climb out, or are absolute, links or devices, bring nothing in."""
    path = tmp_path / "copy.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("in/fdt", "../in/fdt", "in/sub_fdts/../../../x", "/etc/fdt"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"data"))
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE)):
            member = tarfile.TarInfo(f"in/sub_fdts/{number}")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    copy = open_source(path)
    assert isinstance(copy, DebugfsCopy)
    assert [tree.fdt for tree in copy.trees if tree.name == "in"] == [b"data"]
    assert not any(tree.subtrees for tree in copy.trees)
    assert not any(".." in tree.name or tree.name.startswith("/") for tree in copy.trees)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["copy.tar"]


def test_symbolic_links_in_a_copy(tmp_path: Path) -> None:
    """Links to files, to folders and to themselves are not followed."""
    (tmp_path / "secret").write_bytes(b"secret")
    tree = tmp_path / "copy" / "in"
    tree.mkdir(parents=True)
    (tree / "fdt").write_bytes(b"good")
    (tree / "sub_fdts").symlink_to(tree)
    (tree / "loop").symlink_to("loop")
    (tmp_path / "copy" / "out").symlink_to(tmp_path / "copy")
    (tree / "scratch_phys").symlink_to(tmp_path / "secret")
    copy = open_source(tmp_path / "copy")
    assert isinstance(copy, DebugfsCopy)
    assert [(one.fdt, one.subtrees, one.scratch) for one in copy.trees] == [(b"good", {}, None)]


def elf(headers: bytes, count: int, first_section: bytes = b"") -> bytes:
    """A little-endian core; 0xffff segments stand for the number in the first section header."""
    sections = 64 if first_section else 0
    head = struct.pack(
        "<HHIQQQIHHHHHH",
        4,
        62,
        1,
        0,
        64 + len(first_section),
        sections,
        0,
        64,
        56,
        count,
        64,
        int(bool(first_section)),
        0,
    )
    return b"\x7fELF\2\1\1" + bytes(9) + head + first_section + headers


def test_elf_of_two_to_the_32_segments() -> None:
    """A number of segments is believed as far as the file holds their headers."""
    section = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0xFFFF_FFFF, 0, 0)
    data = elf(struct.pack("<IIQQQQQQ", 1, 7, 0, 0, 0x1000, 64, 64, 0), 0xFFFF, section)
    with bounded(8):
        try:
            space: AddressSpace | None = open_elf(SourceInfo("x", "elf"), memoryview(data))
        except InputError:
            space = None
        assert space is None or len(space.extents()) <= 4


def test_overlapping_segments() -> None:
    """Ten thousand segments, each over all those before it, are not quadratic."""
    count = 10_000
    rows = np.zeros((count, 7), np.uint64)
    rows[:, 0] = 1 | 7 << 32
    rows[:, 3] = np.arange(count, 0, -1) * 16
    rows[:, 4] = 4096
    rows[:, 5] = 1 << 40
    with bounded(64):
        space = open_elf(SourceInfo("x", "elf"), memoryview(elf(rows.tobytes(), count)))
        assert len(space.extents()) < count
        pieces = space.known(0, 1 << 41)
    assert len(pieces) <= 2 * count + 2


@pytest.mark.parametrize("depth", [1, 60])
def test_names_of_a_tree_do_not_amplify(depth: int) -> None:
    """64 KiB of properties that share one name of 30 KB, or of nested nodes."""
    opening = struct.pack(">II", 1, 0) * depth
    prop = struct.pack(">III", 3, 0, 0)
    room = 30_000 - len(opening) * 2
    body = opening + prop * (room // len(prop)) + struct.pack(">I", 2) * depth
    body += struct.pack(">I", 9)
    strings = b"n" * 30_000 + b"\0"
    total = 56 + len(body) + len(strings)
    head = struct.pack(
        ">10I", 0xD00DFEED, total, 56, 56 + len(body), 40, 17, 16, 0, len(strings), len(body)
    )
    with bounded(16):
        blob = parse(head + bytes(16) + body + strings)
    assert blob.root is not None
    assert len(blob.problems) <= 1001


def overlapping_trees(pages: int, tokens: bytes) -> bytes:
    """Memory in which every page begins a KHO root that goes on to the end of memory.

    What begins the next page is the value of a property.
    """
    made = bytearray()
    for number in range(pages):
        size = (pages - number) * 4096
        made += struct.pack(
            ">10I", 0xD00DFEED, size, 56, size - 32, 40, 17, 16, 0, 32, size - 32 - 56
        )
        made += bytes(16) + struct.pack(">II", 1, 0)
        made += struct.pack(">III", 3, 7, 0) + b"kho-v4\0\0"
        room = 4096 - len(made) % 4096 - 12
        made += tokens * (room // len(tokens)) + struct.pack(">I", 4) * (room % len(tokens) // 4)
        made += struct.pack(">III", 3, 84, 12)
    made[-32:] = b"compatible\0x\0".ljust(32, b"\0")
    return bytes(made)


@pytest.mark.parametrize(
    "tokens",
    [struct.pack(">I", 4), struct.pack(">III", 1, 0x61000000, 2), struct.pack(">III", 3, 0, 12)],
    ids=["nothing", "nodes", "properties"],
)
def test_trees_over_each_other(tmp_path: Path, tokens: bytes) -> None:
    """A tree on every page, each as long as all that follow, is not quadratic."""
    path = tmp_path / "memory.bin"
    path.write_bytes(overlapping_trees(40, tokens))
    few = OpenOptions(base=1 << 20, limits=Limits(scan=1 << 27))
    with bounded(128):
        image = open_image(path, few)
    unread = [finding.message for finding in image.findings if "not read" in finding.message]
    assert unread
    assert all("--limit scan=" in message for message in unread)


def table_pages(image: Image) -> list[int]:
    """Pages of the preserved-page map in the order of the walk, the root first."""
    return [
        address
        for region in image.regions
        if isinstance(region, MapRegion)
        for address, _ in region.extents()
    ]


@pytest.mark.parametrize("name", ["linux-7.1.13", "linux-7.3.4", "linux-7.3.4-arm64-16k"])
@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 3), (1, 2), (1, 4)])
def test_radix_tree_of_itself(name: str, first: int, last: int) -> None:
    """Every entry of a table leads to a table again: 512^5 paths, few pages."""
    image = capture(name)
    page = image.geometry.page_size
    tables = table_pages(image)[first:last]
    writes = [
        (table, struct.pack("<Q", tables[(number + 1) % len(tables)]) * (page // 8))
        for number, table in enumerate(tables)
    ]
    with bounded(64):
        looped = overlaid(image, writes)
        check_image(looped)
    assert isinstance(looped.map, PreservedMap)
    assert "MEM311" in {finding.rule for finding in looped.findings}


def poked(image: Image, *pokes: tuple[str, int]) -> Image:
    """An image with native 64-bit numbers written over values, by path."""
    writes: list[tuple[int, bytes]] = []
    for path, value in pokes:
        span = find_node(image, path).span
        assert span is not None
        writes.append((span.address, value.to_bytes(span.size, "little")))
    return overlaid(image, writes, OpenOptions(limits=Limits(nodes=200_000)))


def rules(image: Image) -> set[str]:
    return {finding.rule for finding in (*image.findings, *check_image(image))}


def target_of(image: Image, path: str) -> int:
    value: Any = find_node(image, path).value
    assert isinstance(value, int)
    return value


def test_vmalloc_cycle() -> None:
    """A chain of chunks that comes back ends where it began."""
    image = decode(SESSIONS)
    folios = "/LUO/sessions[s0]/files[0x1]/data/folios"
    first = target_of(image, f"{folios}/first")
    with bounded(64):
        assert "REC402" in rules(poked(image, (f"{folios}/chunks[0]/next", first)))


@pytest.mark.parametrize("order", [0, 8])
def test_an_array_of_one_page(order: int) -> None:
    """An array that names the same page a hundred thousand times is not copied as often."""
    image = decode(
        {
            "abi": "7.3",
            "session": [{"name": "a", "file": [{"token": 1, "size": 5000}]}],
            "reserve_mem": [{"name": "room", "size": "1M", "contents": {"fill": 0}}],
        }
    )
    data = "/LUO/sessions[a]/files[0x1]/data"
    start = target_of(image, "/memblock/regions[room]/start")
    chunks = [start + number * 4096 for number in range(200)]
    writes = [
        (chunk, struct.pack("<Q", following) + struct.pack("<Q", start) * 511)
        for chunk, following in zip(chunks, [*chunks[1:], 0], strict=True)
    ]
    for path, value in (
        (f"{data}/nr_folios", (1 << 32) - 1),
        (f"{data}/folios/first", start),
        (f"{data}/folios/total_pages", 511 * 200 << order),
        (f"{data}/folios/order", order),
    ):
        span = find_node(image, path).span
        assert span is not None
        writes.append((span.address, value.to_bytes(span.size, "little")))
    with bounded(400):
        made = overlaid(image, writes)
        found = rules(made)
    assert "LIM001" in found


def test_lists_that_sessions_share() -> None:
    """Sessions that all name one list of files cost no more than a multiple of what is there."""
    image = decode(
        {
            "abi": "7.2",
            "session": [
                {
                    "name": f"s{number}",
                    "file": [
                        {"token": token + 1, "size": 10} for token in range(1 if number else 60)
                    ],
                }
                for number in range(60)
            ],
        }
    )
    block = target_of(image, "/LUO/sessions[s0]/files")
    writes = []
    for number in range(1, 60):
        for path, value in (
            (f"/LUO/sessions[s{number}]/files", block),
            (f"/LUO/sessions[s{number}]/count", 60),
        ):
            span = find_node(image, path).span
            assert span is not None
            writes.append((span.address, value.to_bytes(span.size, "little")))
    few = OpenOptions(limits=Limits(nodes=20_000))
    with bounded(256):
        made = overlaid(image, writes, few)
    stopped = [finding.message for finding in made.findings if finding.rule == "LIM001"]
    assert len(stopped) == 1
    assert "--limit nodes=N" in stopped[0]


def test_defaults_follow_what_is_there() -> None:
    """A small image is visited and copied a bounded number of times; a wish is granted."""
    small = Limits().within(1_000_000)
    assert small.nodes < 250_000
    assert small.bytes < 100 * MEGABYTE
    assert Limits().within(1 << 32) == Limits()
    assert Limits().within(1 << 50).bytes == 1 << 50
    asked = Limits(nodes=5_000_000, bytes=1 << 40)
    assert asked.within(0) == asked


@pytest.mark.parametrize(
    "path",
    [
        "/LUO/sessions/blocks[0]/count",
        "/LUO/sessions[s0]/files/blocks[0]/count",
        "/LUO/sessions[s0]/count",
        "/LUO/flbs/header/count",
        "/LUO/sessions[s0]/files[0x1]/data/nr_folios",
        "/LUO/sessions[s0]/files[0x1]/data/size",
        "/LUO/sessions[s0]/files[0x1]/data/folios/total_pages",
    ],
)
def test_largest_count(path: str) -> None:
    """All ones where a number of records, pages or bytes stands is a finding and no allocation."""
    image = decode(SESSIONS)
    before = rules(image)
    span = find_node(image, path).span
    assert span is not None
    with bounded(64):
        assert rules(poked(image, (path, (1 << 8 * span.size) - 1))) - before


def test_sessions_within_sessions() -> None:
    """Lists of files that are lists of sessions, in a circle, cost a node for each record once."""
    image = decode(SESSIONS)
    block = target_of(image, "/LUO/sessions")
    pokes = [(f"/LUO/sessions[s{number}]/files", block) for number in range(30)]
    files = target_of(image, "/LUO/sessions[s0]/files")
    with bounded(128):
        looped = poked(image, *pokes, ("/LUO/sessions/blocks[0]/next", block))
        assert "REC402" in rules(looped)
        crossed = poked(image, *pokes, ("/LUO/sessions/blocks[0]/next", files))
        rules(crossed)
    for made in (looped, crossed):
        assert sum(1 for _ in made.tree.walk()) < 200_000


def test_tree_of_large_sizes(tmp_path: Path) -> None:
    """Sizes in the header of a bare tree are not allocated."""
    path = tmp_path / "tree.dtb"
    path.write_bytes(struct.pack(">10I", 0xD00DFEED, *[0xFFFF_FFF8] * 4, 17, 16, 0, *[1 << 31] * 2))
    with bounded(8), pytest.raises(InputError):
        open_image(path)


def deep_tree(levels: int) -> bytes:
    """A tree of so many nodes within each other."""
    body = struct.pack(">II", 1, 0) * levels + struct.pack(">I", 2) * levels + struct.pack(">I", 9)
    head = struct.pack(
        ">10I", 0xD00DFEED, 56 + len(body), 56, 56 + len(body), 40, 17, 16, 0, 0, len(body)
    )
    return head + bytes(16) + body


@pytest.mark.parametrize(
    ("limits", "flag"),
    [
        (Limits(nodes=40), "nodes=N"),
        (Limits(nodes=400), "nodes=N"),
        (Limits(bytes=9000), "bytes=N"),
        (Limits(chain=1), "chain=N"),
        (Limits(depth=1), "depth=N"),
    ],
    ids=["nodes", "more nodes", "bytes", "chain", "depth"],
)
def test_a_limit_names_its_flag(limits: Limits, flag: str) -> None:
    """Whatever limit is reached first, there is a finding, and it says how to raise the limit."""
    many = dict(SESSIONS, session=[{"name": f"s{number}"} for number in range(200)])
    image = decode(many)
    if limits.depth == 1:
        # Sub-trees of the handover have nodes in nodes since 6.17.
        image = decode({"abi": "6.16", "reserve_mem": [{"name": "r", "size": "4K"}]})
    limited = overlaid(image, [], OpenOptions(limits=limits))
    stopped = [finding.message for finding in limited.findings if finding.rule == "LIM001"]
    assert stopped
    assert all("raise with --limit " in message for message in stopped)
    assert any(flag in message for message in stopped)


def test_a_deep_tree(tmp_path: Path) -> None:
    """Two hundred thousand nodes within each other end at the depth."""
    path = tmp_path / "tree.dtb"
    path.write_bytes(deep_tree(200_000))
    with bounded(64), pytest.raises(InputError):
        open_image(path)
    assert "depth" in {problem.code for problem in parse(deep_tree(70)).problems}
