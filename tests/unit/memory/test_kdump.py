from __future__ import annotations

import random
import struct
import sys
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.absent import Reason
from khotool.errors import InputError
from khotool.memory.compression import zstd_module
from khotool.memory.kdump import open_kdump
from khotool.memory.kdumpspace import KdumpSpace
from khotool.memory.pagemap import PageMap
from khotool.memory.space import COPY_LIMIT, Elsewhere, ExtentIndex, MemoryFault, SourceInfo
from tests.unit.memory.kdump_builder import build_kdump, flatten

NOISE = random.Random(7).randbytes(4096)
PAGES = {
    2: NOISE,
    3: bytes(4096),
    4: bytes(range(256)) * 16,
    9: b"khotool!" * 512,
    70: bytes(4096),
    200: b"last" + bytes(4092),
}


def opened(data: bytes) -> KdumpSpace:
    return open_kdump(SourceInfo("test.kdump", "kdump"), memoryview(data))


def check(space: KdumpSpace, pages: dict[int, bytes], size: int = 4096) -> None:
    for pfn, content in pages.items():
        assert bytes(space.read(pfn * size, size)) == content
    table = {
        address + index * size: row.tobytes()
        for address, rows in space.first_words(size, 4)
        for index, row in enumerate(rows)
    }
    assert table == {pfn * size: content[:32] for pfn, content in pages.items()}
    rows, ok = space.gather(np.array([pfn * size for pfn in pages], dtype=np.uint64), size)
    assert ok.all()
    assert rows.tobytes() == b"".join(pages.values())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 3, 6])
@pytest.mark.parametrize("chunk", [0, 100, 5000])
def test_every_page(order: str, version: int, chunk: int) -> None:
    """All versions, byte orders and both forms of the file give the pages back."""
    data = build_kdump(PAGES, order=order, version=version)
    space = opened(flatten(data, chunk) if chunk else data)
    check(space, PAGES)
    assert space.info.endian == ("little" if order == "<" else "big")
    assert space.info.page_size == 4096
    assert space.info.osrelease == "7.3.4"
    assert space.info.machine == "x86_64"
    assert space.info.notes == []
    assert space.extents().tolist() == [
        [0x2000, 0x5000],
        [0x9000, 0xA000],
        [0x46000, 0x47000],
        [0xC8000, 0xC9000],
    ]


@pytest.mark.parametrize("flat", [False, True])
def test_offsets_of_the_file(flat: bool) -> None:
    """A byte of a stored page has its address, one of a compressed page that of the page."""
    data = build_kdump(PAGES)
    at = data.index(NOISE), data.index(zlib.compress(PAGES[9]))
    if flat:
        data = flatten(data, 1 << 20)
        at = data.index(NOISE), data.index(zlib.compress(PAGES[9]))
    space = opened(data)
    assert [space.at_offset(at[0] + byte) for byte in (0, 5, 4095)] == [0x2000, 0x2005, 0x2FFF]
    assert space.at_offset(at[1]) == space.at_offset(at[1] + 3) == 0x9000
    assert space.at_offset(8) is Elsewhere.HEADER
    assert space.at_offset(len(data)) is Elsewhere.BEYOND


def test_reads_across_pages_and_gaps() -> None:
    """A read may span pages; a gap faults at its first byte with its length."""
    space = opened(build_kdump(PAGES))
    assert bytes(space.read(0x2FFE, 0x1004)) == NOISE[-2:] + bytes(4096) + b"\0\1"
    with pytest.raises(MemoryFault) as caught:
        space.read(0x4FFF, 0x8000)
    assert (caught.value.address, caught.value.length) == (0x5000, 0x4000)
    assert caught.value.reason is Reason.NOT_CAPTURED
    pieces = space.known(0x4800, 0x6000)
    assert [(at, state) for at, _, state in pieces] == [
        (0x4800, "data"),
        (0x5000, "hole"),
        (0x9000, "data"),
        (0xA000, "hole"),
    ]
    assert list(space.find(b"tool!kho", 0, 1 << 64, 1 << 30))[:2] == [0x9003, 0x900B]
    with space:
        pass
    with pytest.raises(MemoryFault):
        space.read(0x2000, 1)


@pytest.mark.parametrize("size", [16384, 65536])
def test_other_page_sizes(size: int) -> None:
    """The block size of the header is the page size."""
    pages = {1: b"ab" * (size // 2), 5: bytes(size)}
    check(opened(build_kdump(pages, block_size=size)), pages, size)


def test_pages_larger_than_blocks() -> None:
    """Words of 16K pages come from dumps of 4K blocks where all four blocks are there."""
    pages = {pfn: bytes([pfn]) * 4096 for pfn in (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12)}
    space = opened(build_kdump(pages))
    found = [(address, rows.tolist()) for address, rows in space.first_words(16384)]
    word = int.from_bytes(bytes([8]) * 8, "little")
    assert found == [(0, [[0]]), (0x8000, [[word]])]
    small = sum(len(rows) for _, rows in space.first_words(1024))
    assert small == 4 * len(pages)


def test_zstd_pages() -> None:
    """Pages may be compressed with zstd."""
    zstd = zstd_module()
    if zstd is None:
        pytest.skip("no zstd")
    compress: Callable[[bytes], bytes] = zstd.compress  # type: ignore[attr-defined]
    check(opened(build_kdump(PAGES, compress=compress, flags=0x20)), PAGES)


def test_snappy_pages() -> None:
    """Pages may be compressed with snappy."""
    snappy = pytest.importorskip("snappy")
    check(opened(build_kdump(PAGES, compress=snappy.compress, flags=4)), PAGES)
    lie = opened(build_kdump({1: bytes(4096)}, compress=lambda _: b"\xff" * 5, flags=4))
    with pytest.raises(MemoryFault, match="expands to"):
        lie.read(0x1000, 8)


def test_lzo_pages() -> None:
    """Pages may be compressed with lzo."""
    lzo = pytest.importorskip("lzo")
    compress: Callable[[bytes], bytes] = lambda page: lzo.compress(page, 1, False)  # noqa: E731
    check(opened(build_kdump(PAGES, compress=compress, flags=2)), PAGES)


@pytest.mark.parametrize(("flags", "module", "extra"), [(2, "lzo", "lzo"), (4, "snappy", "snappy")])
def test_missing_library(
    monkeypatch: pytest.MonkeyPatch, flags: int, module: str, extra: str
) -> None:
    """Without the library the fault names the extra to install."""
    monkeypatch.setitem(sys.modules, module, None)
    data = build_kdump({1: bytes(4096)}, compress=lambda _: b"\x80\x20" + bytes(9), flags=flags)
    with pytest.raises(MemoryFault, match=rf"khotool\[{extra}\]") as caught:
        opened(data).read(0x1000, 8)
    assert caught.value.reason is Reason.UNREADABLE


def test_vmcoreinfo_from_either_place() -> None:
    """The text is taken from its own offset, else from the ELF note."""
    text = b"OSRELEASE=7.9.9\nPAGESIZE=16384\n"
    note = struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text + bytes(-len(text) % 4)
    for data in (build_kdump(PAGES, vmcoreinfo=text), build_kdump(PAGES, note=note)):
        info = opened(data).info
        assert info.osrelease == "7.9.9"
        assert info.page_size == 16384
    assert opened(build_kdump(PAGES, vmcoreinfo=text, version=2)).info.vmcoreinfo == {}


def test_split_dump() -> None:
    """One part of a split dump holds the pages of its range, and says so."""
    space = opened(build_kdump(PAGES, split=(3, 70)))
    check(space, {pfn: page for pfn, page in PAGES.items() if 3 <= pfn < 70})
    assert "split" in space.info.notes[0]


def test_damaged_page_is_unreadable() -> None:
    """One bad page faults on its own; the others stay readable."""
    data = bytearray(build_kdump({1: b"a" * 4096, 2: b"b" * 4096, 3: b"c" * 4096}))
    at = data.index(zlib.compress(b"b" * 4096))
    data[at : at + 4] = b"\xff" * 4
    space = opened(bytes(data))
    with pytest.raises(MemoryFault) as caught:
        space.read(0x1800, 0x1000)
    assert (caught.value.address, caught.value.length) == (0x2000, 0x800)
    assert caught.value.reason is Reason.UNREADABLE
    assert [state for _, _, state in space.known(0x1000, 0x3000)] == ["data", "error", "data"]
    assert [(at, len(rows)) for at, rows in space.first_words(4096)] == [(0x1000, 1), (0x3000, 1)]
    assert list(space.find(b"c" * 4096, 0, 1 << 64, 1 << 30)) == [0x3000]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"KDUMP   ", "cut off"),
        (b"KDUMP   " + b"\xff" * 500, "version"),
        (b"KDUMP   " + bytes(500), "bad header"),
        (build_kdump({}, max_mapnr=8), "no page"),
        (build_kdump(PAGES)[:9000], "cut off"),
        (b"makedumpfile".ljust(4096, b"\0"), "cut off"),
        (flatten(b"NOTKDUMP" + bytes(600)), "not a kdump"),
    ],
)
def test_not_readable_at_all(data: bytes, words: str) -> None:
    """Headers that are damaged or cut off have one line each."""
    with pytest.raises(InputError, match=words):
        opened(data)


@pytest.mark.parametrize("flat", [False, True])
def test_truncation_at_every_length(flat: bool) -> None:
    """A dump cut anywhere opens with what is there or is refused with one line."""
    whole = build_kdump(PAGES)
    data = flatten(whole, 600, shuffle=False) if flat else whole
    for length in [*range(0, 600, 7), *range(600, len(data), 97)]:
        try:
            space = opened(data[:length])
        except InputError as error:
            message = str(error)
            assert "\n" not in message
            continue
        for pfn in PAGES:
            try:
                assert bytes(space.read(pfn * 4096, 4096)) == PAGES[pfn]
            except MemoryFault:
                continue


@settings(max_examples=150)
@given(st.data())
def test_any_change_of_a_byte_is_harmless(data: st.DataObject) -> None:
    """A damaged dump is refused or read as something; reads only fault."""
    image = bytearray(build_kdump({1: b"a" * 4096, 3: b"b" * 4096}))
    places = [*range(8, 12), *range(402, 464), *range(4096, 4200), 8192, 12288]
    places += range(16384, len(image))
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.sampled_from(places))] = data.draw(st.integers(0, 255))
    try:
        space = opened(bytes(image))
    except InputError:
        return
    for pfn in (0, 1, 3):
        try:
            space.read(pfn * 4096, 4096)
        except MemoryFault:
            continue
    list(space.first_words(4096))


def test_hostile_flat_records() -> None:
    """Negative offsets and sizes end the index; sizes past the end are cut."""
    good = flatten(build_kdump(PAGES), 5000)[:-16]
    for record in ((-5, 10), (10, -5), (1 << 62, 1 << 62), ((1 << 63) - 1, 5)):
        space = opened(good + struct.pack(">qq", *record) + bytes(50))
        check(space, PAGES)
        assert space.info.notes


@given(st.binary(max_size=40), st.integers(0, 330), st.integers(0, 330), st.integers(0, 300))
def test_page_map(bits: bytes, first: int, stop: int, keep: int) -> None:
    """Ranks, runs and clipping agree with a list of the bits."""
    pages = PageMap(memoryview(bits), first, stop)
    expected = [
        pfn for pfn in range(first, min(stop, len(bits) * 8)) if bits[pfn // 8] >> pfn % 8 & 1
    ]
    pages.keep_first(keep)
    expected = expected[:keep]
    assert len(pages) == len(expected)
    assert [pfn for low, high in pages.runs().tolist() for pfn in range(low, high)] == expected
    assert [pages.rank(pfn) for pfn in expected] == list(range(len(expected)))
    ranks = pages.ranks(np.array(expected, dtype=np.uint64))
    assert ranks.tolist() == list(range(len(expected)))


def test_header_versions() -> None:
    """A version above 6 is read, with a note; one that no order makes sense of is refused."""
    data = bytearray(build_kdump(PAGES))
    data[8:12] = struct.pack("<i", 7)
    space = opened(bytes(data))
    check(space, PAGES)
    assert space.info.notes == ["kdump header version 7 is newer than 6"]
    data[8:12] = b"\xff" * 4
    with pytest.raises(InputError, match=r"test\.kdump: kdump file with a bad header version"):
        opened(bytes(data))


def test_dump_of_a_full_disk() -> None:
    """A dump that says that it is incomplete is read, with a note."""
    space = opened(build_kdump(PAGES, status=8))
    check(space, PAGES)
    assert space.info.notes == ["the dump says it is incomplete: the disk was full"]


def test_vmcoreinfo_that_is_cut_off() -> None:
    """Text whose place lies behind the end of the file is a note; the pages are there."""
    data = bytearray(build_kdump(PAGES, vmcoreinfo=b"OSRELEASE=7.9.9\n"))
    at = 4096 + struct.calcsize("<QiiQQ")
    assert struct.unpack_from("<Q", data, at)[0] == 8192
    data[at : at + 8] = struct.pack("<q", 1 << 40)
    space = opened(bytes(data))
    check(space, PAGES)
    assert space.info.notes == ["the VMCOREINFO of the dump is cut off"]
    assert space.info.osrelease == "7.3.4"


def test_notes_without_vmcoreinfo() -> None:
    """Other notes of the dump are passed over."""
    note = struct.pack("<III", 5, 8, 1) + b"CORE\0\0\0\0" + bytes(8)
    space = opened(build_kdump(PAGES, note=note))
    assert (space.info.vmcoreinfo, space.info.notes) == ({}, [])


def test_closed_dump_faults() -> None:
    """After closing, every read faults instead of touching bytes that are gone."""
    space = opened(build_kdump(PAGES))
    with space:
        assert space.read(0x2000, 4) == NOISE[:4]
    assert not space.contains(0x2000)
    with pytest.raises(MemoryFault):
        space.read(0x2000, 4)
    assert space.extents().shape == (0, 2)


def test_long_reads_are_refused() -> None:
    """A read of more than COPY_LIMIT bytes is not attempted where all of it is in the dump."""
    count = COPY_LIMIT // 4096 + 1
    pages = dict.fromkeys(range(1, 40), bytes(4096))
    space = opened(build_kdump(pages))
    space._index = ExtentIndex(np.array([[0, (count + 1) * 4096]], dtype=np.uint64))
    with pytest.raises(MemoryFault, match="is refused"):
        space.read(4096, COPY_LIMIT + 1)
    assert len(space.read(4096, 0)) == 0


def test_descriptors_that_lie() -> None:
    """A page without bytes, with too many, or shorter than a page is unreadable, in bulk too."""
    data = build_kdump({1: NOISE, 2: b"x" * 4096, 3: b"y" * 4096})
    space = opened(data)
    at = space._descriptors_at
    for offset, size, why in (
        (0, 16, "names 16 bytes at 0"),
        (4096, 0, "names 0 bytes"),
        (4096, 8193, "names 8193 bytes"),
        (1 << 40, 16, "cut off: byte 1099511627776"),
    ):
        damaged = bytearray(data)
        damaged[at + 24 : at + 36] = struct.pack("<qi", offset, size)
        space = opened(bytes(damaged))
        with pytest.raises(MemoryFault, match=why) as caught:
            space.read(0x2000, 8)
        assert (caught.value.address, caught.value.reason) == (0x2000, Reason.UNREADABLE)
        rows, ok = space.gather(np.array([0x1000, 0x2000, 0x3000], dtype=np.uint64), 8)
        assert ok.tolist() == [True, False, True]
        assert rows.tobytes() == NOISE[:8] + bytes(8) + b"y" * 8
        assert [address for address, _ in space.first_words(4096)] == [0x1000, 0x3000]
        assert list(space.find(b"yyyy", 0x1000, 0x3004, 1 << 20)) == [0x3000]
    short = bytearray(data)
    where = struct.unpack_from("<q", short, at + 24)[0]
    packed = zlib.compress(b"x" * 4)
    short[where : where + len(packed)] = packed
    space = opened(bytes(short))
    rows, ok = space.gather(np.array([0x2000], dtype=np.uint64), 8)
    assert ok.tolist() == [False]
    with pytest.raises(MemoryFault, match="the stored page expands to 4 bytes, not 4096"):
        space.read(0x2000, 4)


def test_pages_that_share_their_bytes() -> None:
    """Equal pages in a row, good or damaged, all have the same fate."""
    data = bytearray(build_kdump(dict.fromkeys(range(1, 40), b"same" * 1024)))
    addresses = np.arange(1, 40, dtype=np.uint64) * np.uint64(4096)
    rows, ok = opened(bytes(data)).gather(addresses, 8)
    assert ok.all()
    assert rows.tobytes() == b"samesame" * 39
    at = opened(bytes(data))._descriptors_at
    where = struct.unpack_from("<q", data, at)[0]
    data[where : where + 4] = b"\xff" * 4
    rows, ok = opened(bytes(data)).gather(addresses, 8)
    assert not ok.any()
    assert not rows.any()
