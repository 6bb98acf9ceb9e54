"""Memory of a running host: what is read, what is kept, and what is never asked for."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.absent import Reason
from khotool.errors import InputError
from khotool.memory.kcore import HEAD_LIMIT, open_devmem, open_kcore, system_ram
from khotool.memory.live import BATCH, LiveSpace
from khotool.memory.segments import Ranges, Segment, SegmentedSpace
from khotool.memory.space import MemoryFault, SourceInfo
from tests.hosts import DIRECT_MAP, IMAGE_MAP, NO_ADDRESS, VMALLOC, Header, kcore

PAGE = 4096
TIB = 1 << 40


class File:
    """A file of ``size`` bytes whose pages differ, some of which cannot be read."""

    def __init__(self, size: int, bad: set[int] | None = None) -> None:
        self.data = bytearray(b"".join(bytes([n % 251]) * PAGE for n in range(size // PAGE)))
        self.bad = bad or set()
        self.asked: list[tuple[int, int]] = []

    def read_at(self, length: int, offset: int) -> bytes:
        self.asked.append((length, offset))
        if any(offset < (n + 1) * PAGE and n * PAGE < offset + length for n in self.bad):
            raise OSError(errno.EIO, "Input/output error")
        return bytes(self.data[offset : offset + length])


def ranges(*rows: tuple[int, int, int]) -> Ranges:
    """Start, end and offset of each range."""
    table = np.array(rows, dtype=np.uint64).reshape(-1, 3)
    return Ranges(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy())


def space_of(file: File, *rows: tuple[int, int, int], cache: int = 1 << 20) -> LiveSpace:
    info = SourceInfo("kcore", "live")
    return LiveSpace(info, file.read_at, ranges(*rows), page_size=PAGE, cache=cache)


def test_reads_across_ranges_that_lie_apart_in_the_file() -> None:
    """Neighbours in memory are one extent, wherever the file has them; a gap is not captured."""
    file = File(64 * PAGE)
    space = space_of(file, (0x10000, 0x12000, 8 * PAGE), (0x12000, 0x13000, 0))
    assert space.extents().tolist() == [[0x10000, 0x13000]]
    assert bytes(space.read(0x11FFE, 4)) == bytes([9, 9, 0, 0])
    assert bytes(space.read(0x10000, 0)) == b""
    with pytest.raises(MemoryFault) as fault:
        space.read(0x12FF0, 0x20)
    assert (fault.value.address, fault.value.length) == (0x13000, 0x10)
    assert fault.value.reason is Reason.NOT_CAPTURED


def test_only_whole_pages_are_memory() -> None:
    """A range that begins or ends inside a page gives its whole pages, at their own offsets."""
    file = File(16 * PAGE)
    space = space_of(file, (0x10100, 0x13F00, 0x100), (0x20001, 0x20FFF, 0), (0x30000, 0x30000, 0))
    assert space.extents().tolist() == [[0x11000, 0x13000]]
    assert bytes(space.read(0x11000, 1)) == b"\1"


def test_a_page_that_cannot_be_read_is_unreadable() -> None:
    """The pages around a bad one are read, and only the bad one faults."""
    file = File(16 * PAGE, bad={2})
    space = space_of(file, (0, 8 * PAGE, 0))
    with pytest.raises(MemoryFault) as fault:
        space.read(PAGE, 4 * PAGE)
    assert fault.value.reason is Reason.UNREADABLE
    assert (fault.value.address, fault.value.length) == (2 * PAGE, PAGE)
    assert "Input/output error" in fault.value.detail
    states = [(at, state) for at, _, state in space.known(0, 9 * PAGE)]
    assert states == [(0, "data"), (2 * PAGE, "error"), (3 * PAGE, "data"), (8 * PAGE, "hole")]
    rows, ok = space.gather(np.array([PAGE, 2 * PAGE, 3 * PAGE], np.uint64), 8)
    assert ok.tolist() == [True, False, True]
    assert rows[:, 0].tolist() == [1, 0, 3]
    assert space.glance(2 * PAGE, 4) is None


def test_a_file_that_ends_early_is_unreadable() -> None:
    """A short read is no exception: the pages behind the end are unreadable."""
    space = space_of(File(2 * PAGE), (0, 4 * PAGE, 0), (1 << 20, 1 << 21, 1 << 63))
    assert bytes(space.read(0, 2 * PAGE))[-1] == 1
    for address in (3 * PAGE, 1 << 20):
        with pytest.raises(MemoryFault) as fault:
            space.read(address, 8)
        assert fault.value.reason is Reason.UNREADABLE


def test_a_page_stays_as_it_was_first_read() -> None:
    """One decode sees one copy of a page, while the memory behind it changes."""
    file = File(8 * PAGE)
    space = space_of(file, (0, 8 * PAGE, 0))
    before = bytes(space.read(PAGE + 8, 8))
    file.data[:] = bytes(len(file.data))
    assert bytes(space.read(PAGE + 8, 8)) == before
    assert bytes(space.read(0, 3 * PAGE))[PAGE : PAGE + 8] == before
    assert space.glance(PAGE, 4) == before[:4]


def test_what_is_kept_is_bounded() -> None:
    """Beyond the bound pages are read anew: what was kept stays, memory does not grow."""
    file = File(8 * PAGE)
    space = space_of(file, (0, 8 * PAGE, 0), cache=2 * PAGE)
    assert len(space.read(0, 8 * PAGE)) == 8 * PAGE
    file.data[:] = bytes(len(file.data))
    assert bytes(space.read(PAGE, 1)) == b"\1"
    assert bytes(space.read(5 * PAGE, 1)) == b"\0"


def test_a_glance_keeps_nothing() -> None:
    """Looking at a few bytes reads these bytes, and no page."""
    file = File(8 * PAGE)
    space = space_of(file, (0, 8 * PAGE, 0))
    assert space.glance(3 * PAGE, 4) == bytes([3]) * 4
    assert file.asked == [(4, 3 * PAGE)]
    assert space.glance(3 * PAGE - 2, 4) is None
    assert space.glance(9 * PAGE, 4) is None


def test_first_words_of_every_page_that_can_be_read() -> None:
    """Looking through all memory meets every readable page once, in pieces, and keeps none."""
    pages = 3 * BATCH // PAGE
    file = File(pages * PAGE, bad={5})
    space = space_of(file, (0x100000, 0x100000 + pages * PAGE, 0))
    found = [
        base + n * PAGE for base, words in space.first_words(PAGE) for n in range(words.shape[0])
    ]
    assert found == [0x100000 + n * PAGE for n in range(pages) if n != 5]
    assert max(length for length, _ in file.asked) <= BATCH
    assert not space._pages


@given(st.data())
def test_reads_like_any_other_space(data: st.DataObject) -> None:
    """For any disjoint ranges and any read, the answer is that of a file read whole."""
    file = File(32 * PAGE)
    cuts = sorted(data.draw(st.sets(st.integers(0, 32), min_size=2, max_size=9)))
    rows = [
        (low * PAGE, high * PAGE, data.draw(st.integers(0, 32 - (high - low))) * PAGE)
        for low, high in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    live = space_of(file, *rows, cache=data.draw(st.integers(0, 8)) * PAGE)
    view = memoryview(file.data).toreadonly()
    plain = SegmentedSpace(
        SourceInfo("", "raw"), [Segment(a, b, view[at : at + b - a]) for a, b, at in rows]
    )
    assert live.extents().tolist() == plain.extents().tolist()
    for _ in range(4):
        address = data.draw(st.integers(0, 33 * PAGE))
        length = data.draw(st.integers(0, 5 * PAGE))
        assert outcome(live.read, address, length) == outcome(plain.read, address, length)


def outcome(read: Callable[[int, int], memoryview], address: int, length: int) -> object:
    try:
        return bytes(read(address, length))
    except MemoryFault as fault:
        return fault.address, fault.reason


def test_closed_space_is_empty() -> None:
    """After close every read faults, and the file is released once."""
    closed: list[int] = []
    file = File(8 * PAGE)
    info = SourceInfo("kcore", "live")
    space = LiveSpace(
        info, file.read_at, ranges((0, PAGE, 0)), page_size=PAGE, release=lambda: closed.append(1)
    )
    space.read(0, 8)
    space.close()
    space.close()
    assert closed == [1]
    with pytest.raises(MemoryFault):
        space.read(0, 8)


# -- /proc/kcore -----------------------------------------------------------------------------


def reader(head: bytes, pages: dict[int, bytes]) -> File:
    """A kcore whose file is far larger than anything that exists: pages by offset."""
    file = File(0)

    def read_at(length: int, offset: int) -> bytes:
        file.asked.append((length, offset))
        if offset < len(head):
            return head[offset : offset + length].ljust(length, b"\0")
        return b"".join(pages.get(at, bytes(PAGE)) for at in range(offset, offset + length, PAGE))[
            :length
        ]

    file.read_at = read_at  # type: ignore[method-assign]
    return file


def test_kcore_by_physical_address() -> None:
    """Segments are found by p_paddr; those without one are left out; notes give the rest."""
    rows: list[Header] = [
        (1, 100 * TIB, VMALLOC, NO_ADDRESS, 32 * TIB),
        (1, 64 * PAGE, DIRECT_MAP + 0x100000, 0x100000, 16 * PAGE),
    ]
    file = reader(kcore(rows, b"OSRELEASE=7.3.4\nPAGESIZE=4096\n"), {65 * PAGE: b"x" * PAGE})
    info = SourceInfo("/proc/kcore", "live")
    space = open_kcore(info, file.read_at, page_size=65536)
    assert space.extents().tolist() == [[0x100000, 0x110000]]
    assert bytes(space.read(0x101000, 3)) == b"xxx"
    assert (info.osrelease, info.page_size, info.machine) == ("7.3.4", 4096, "x86_64")
    assert sum(length for length, _ in file.asked) < 1 << 16


def test_kcore_prefers_the_direct_map() -> None:
    """Where the kernel's image is mapped twice, the direct map is read: the other one has gaps."""
    rows: list[Header] = [
        (1, 8 * TIB, IMAGE_MAP + 0x200000, 0x200000, 2 * PAGE),
        (1, 64 * PAGE, DIRECT_MAP + 0x100000, 0x100000, 512 * PAGE),
        (1, 1024 * PAGE, DIRECT_MAP + (4 << 30), 4 << 30, 512 * PAGE),
    ]
    at = 64 * PAGE + 0x100000
    file = reader(kcore(rows), {at: b"d" * PAGE, 8 * TIB: b"i" * PAGE})
    space = open_kcore(SourceInfo("/proc/kcore", "live"), file.read_at)
    assert bytes(space.read(0x200000, 1)) == b"d"


@pytest.mark.parametrize("count", [2, 3])
def test_kcore_without_physical_addresses(count: int) -> None:
    """Segments that all claim address 0 are no memory, as in kernels before 4.11."""
    rows: list[Header] = [
        (1, (n + 1) * TIB, DIRECT_MAP + n * TIB, 0, 16 * PAGE) for n in range(count)
    ]
    with pytest.raises(InputError, match="physical address"):
        open_kcore(SourceInfo("/proc/kcore", "live"), reader(kcore(rows), {}).read_at)


def test_kcore_memory_may_begin_at_0() -> None:
    """Address 0 counts where the distance to its virtual address is that of the direct map."""
    rows: list[Header] = [
        (1, 64 * PAGE, DIRECT_MAP, 0, 16 * PAGE),
        (1, TIB, VMALLOC, 0, 16 * PAGE),
        (1, 128 * PAGE, DIRECT_MAP + 0x100000, 0x100000, 16 * PAGE),
    ]
    file = reader(kcore(rows), {64 * PAGE: b"0" * PAGE})
    space = open_kcore(SourceInfo("/proc/kcore", "live"), file.read_at)
    assert space.extents().tolist() == [[0, 16 * PAGE], [0x100000, 0x110000]]
    assert bytes(space.read(0, 1)) == b"0"


@given(st.data())
def test_kcore_headers_may_say_anything(data: st.DataObject) -> None:
    """Whatever the headers claim, there is a space or one line; little is read for either."""
    big = st.sampled_from([0, 1, PAGE, TIB, 1 << 63, (1 << 64) - 1, (1 << 64) - PAGE])
    number = st.one_of(big, st.integers(0, (1 << 64) - 1))
    row = st.tuples(st.integers(0, 6), number, number, number, number)
    head = bytearray(kcore(data.draw(st.lists(row, max_size=6)), b"PAGESIZE=4096\n"))
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(head) - 1), st.integers(0, 255)), max_size=6)
    ):
        head[at] = value
    if data.draw(st.booleans()):
        struct.pack_into("<HH", head, 54, data.draw(st.integers(0, 65535)), 0xFFFF)
    file = reader(bytes(head[: data.draw(st.integers(0, len(head)))] or head), {})
    try:
        space = open_kcore(SourceInfo("/proc/kcore", "live"), file.read_at)
    except InputError:
        pass
    else:
        for start, end in space.extents().tolist()[:3]:
            outcome(space.read, start, 8)
            outcome(space.read, end - 8, 8)
            outcome(space.read, start, 3 * PAGE)
    assert sum(length for length, _ in file.asked) <= 3 * HEAD_LIMIT


# -- /dev/mem --------------------------------------------------------------------------------

IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
000f0000-000fffff : System ROM
00100000-0fffffff : System RAM
  01000000-01ffffff : Kernel code
fd000000-fdffffff : PCI Bus 0000:00
100000000-1ffffffff : Persistent Memory
  140000000-17fffffff : System RAM (kmem)
"""


def test_system_ram_of_iomem() -> None:
    """Memory is what is called System RAM, at any depth; hidden addresses give none."""
    assert system_ram(IOMEM) == [
        (0x1000, 0x9FC00),
        (0x100000, 0x10000000),
        (0x140000000, 0x180000000),
    ]
    hidden = "\n".join("00000000-00000000 : System RAM" for _ in range(3))
    assert system_ram(hidden) == []
    assert system_ram("ffffffffffffffff-0 : System RAM\nnonsense\n") == []


def test_devmem_reads_at_addresses() -> None:
    """An offset is an address, and nothing but memory is ever asked for."""
    file = File(64 * PAGE)
    space = open_devmem(SourceInfo("/dev/mem", "raw"), file.read_at, [(PAGE, 8 * PAGE)])
    assert bytes(space.read(3 * PAGE, 1)) == b"\3"
    with pytest.raises(MemoryFault):
        space.read(9 * PAGE, 1)
    assert all(offset >= PAGE and offset + length <= 8 * PAGE for length, offset in file.asked)


def test_devmem_that_keeps_memory_back() -> None:
    """Under CONFIG_STRICT_DEVMEM the refusal comes at once; without addresses it is one line."""

    def refuse(length: int, offset: int) -> bytes:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    info = SourceInfo("/dev/mem", "live")
    with pytest.raises(PermissionError):
        open_devmem(info, refuse, [(0, 1 << 30)])
    with pytest.raises(InputError, match="iomem"):
        open_devmem(info, refuse, [])
