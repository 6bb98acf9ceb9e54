from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.errors import EncodeError, InputError, KhotoolError
from khotool.memory import writer
from khotool.memory.elf import CUT_OFF, EXCLUDED, open_elf
from khotool.memory.source import open_source
from khotool.memory.space import AddressSpace, Endian, MemoryFault, SourceInfo
from khotool.memory.writer import write_elf

Header = tuple[int, int, int, int, int]


def core(
    headers: list[Header], body: bytes = b"", order: str = "<", phnum: int | None = None
) -> bytes:
    """A core with program headers (type, offset, paddr, filesz, memsz) behind the ELF header."""
    ident = b"\x7fELF" + bytes([2, 1 if order == "<" else 2, 1]) + bytes(9)
    count = len(headers) if phnum is None else phnum
    head = struct.pack(f"{order}HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 8, 56, count, 0, 0, 0)
    table = b"".join(
        struct.pack(f"{order}IIQQQQQQ", kind, 7, offset, 0, paddr, filesz, memsz, 0)
        for kind, offset, paddr, filesz, memsz in headers
    )
    return ident + head + table + body


def opened(data: bytes) -> AddressSpace:
    return open_elf(SourceInfo("test.elf", "elf"), memoryview(data))


contents = st.dictionaries(st.integers(0, 30), st.binary(max_size=9000), max_size=6)


@settings(max_examples=40)
@given(
    contents,
    st.sampled_from(["little", "big"]),
    st.sampled_from([1, 512, 4096, 65536]),
    st.dictionaries(st.text("ABC()", min_size=1), st.text("xyz=é 1")),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    parts: dict[int, bytes],
    endian: Endian,
    align: int,
    lines: dict[str, str],
) -> None:
    """What write_elf() writes, open_source() reads: bytes, byte order, machine and note."""
    path = tmp_path_factory.mktemp("elf") / "image.elf"
    segments = [(at * 0x10000 + 0x234, data) for at, data in parts.items()]
    write_elf(path, segments, endian=endian, machine="aarch64", vmcoreinfo=lines, align=align)
    if not any(parts.values()):
        with pytest.raises(InputError, match=r"holds no memory|no program headers"):
            open_source(path)
        return
    with open_source(path) as space:  # type: ignore[union-attr]
        assert isinstance(space, AddressSpace)
        assert space.info.endian == endian
        assert space.info.machine == "aarch64"
        assert space.info.vmcoreinfo == lines
        assert space.info.notes == []
        for start, data in segments:
            assert bytes(space.read(start, len(data))) == data
        expected = sorted([start, start + len(data)] for start, data in segments if data)
        assert space.extents().tolist() == expected


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    """The output does not depend on the time or the order of the segments."""
    segments = [(0x5000, b"b" * 100), (0x1000, b"a" * 5000)]
    write_elf(tmp_path / "a", segments, endian="little", vmcoreinfo={"PAGESIZE": "4096"})
    write_elf(tmp_path / "b", segments[::-1], endian="little", vmcoreinfo={"PAGESIZE": "4096"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf")
@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("count", [2, 70000])
def test_readelf_accepts_the_output(tmp_path: Path, endian: Endian, count: int) -> None:
    """GNU readelf lists every segment and the note without a complaint."""
    path = tmp_path / "image.elf"
    segments = [(0x1000 * index, bytes([index % 256]) * 16) for index in range(count)]
    write_elf(path, segments, endian=endian, vmcoreinfo={"OSRELEASE": "7.3.4"}, align=16)
    result = subprocess.run(
        ["readelf", "-W", "-h", "-l", "-n", path], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    assert result.stdout.count("  LOAD  ") == count
    assert "VMCOREINFO" in result.stdout
    with open_source(path) as space:  # type: ignore[union-attr]
        assert isinstance(space, AddressSpace)
        assert len(space.extents()) == count
        assert space.info.osrelease == "7.3.4"
        last = count - 1
        assert bytes(space.read(0x1000 * last, 16)) == bytes([last % 256]) * 16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"segments": [(0, b"aa"), (1, b"b")]}, "overlaps"),
        ({"segments": [((1 << 64) - 1, b"aa")]}, "outside"),
        ({"segments": [(-5, b"aa")]}, "outside"),
        ({"segments": [], "machine": "vax"}, "none of"),
        ({"segments": [], "vmcoreinfo": {"A": "b\nC=d"}}, "one line"),
        ({"segments": [], "vmcoreinfo": {"A=B": "c"}}, "one line"),
        ({"segments": [], "vmcoreinfo": {"A": "\u20ac"}}, "Latin-1"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, arguments: dict[str, object], words: str) -> None:
    """Segments and lines that the format cannot hold are refused, and no file appears."""
    with pytest.raises(EncodeError, match=words):
        write_elf(tmp_path / "x", endian="little", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_headers_in_both_byte_orders(order: str) -> None:
    """Segments lie at p_paddr in either byte order; a wrong e_ehsize does not matter."""
    data = core([(1, 120, 0x123456, 4, 4)], b"abcd", order)
    assert bytes(opened(data).read(0x123456, 4)) == b"abcd"


def test_memsz_beyond_filesz_is_a_hole() -> None:
    """Bytes that were zero or filtered are not made up."""
    space = opened(core([(1, 120, 0x1000, 4, 0x1000)], b"abcd"))
    with pytest.raises(MemoryFault, match=EXCLUDED) as caught:
        space.read(0x1000, 0x2000)
    assert caught.value.address == 0x1004
    assert space.extents().tolist() == [[0x1000, 0x1004]]


def test_truncation_is_noted() -> None:
    """A segment past the end of the file keeps what is there."""
    space = opened(core([(1, 120, 0x1000, 0x1000, 0x1000)], b"abcd"))
    assert "cut off" in space.info.notes[0]
    with pytest.raises(MemoryFault, match=CUT_OFF):
        space.read(0x1002, 4)


@pytest.mark.parametrize("headers", [[(1, 232, 0, 4, 4), (1, 234, 0, 4, 4), (4, 0, 0, 0, 0)]])
def test_addresses_that_are_not_physical(headers: list[Header]) -> None:
    """Several segments at address 0 are a core of something else; a note says so."""
    space = opened(core(headers, b"abcdefgh"))
    assert any("not physical" in note for note in space.info.notes)


def test_segments_without_physical_address() -> None:
    """The segments of /proc/kcore that have no physical address are left out."""
    space = opened(core([(1, 176, (1 << 64) - 1, 4, 4), (1, 176, 0x1000, 4, 4)], b"abcd"))
    assert space.extents().tolist() == [[0x1000, 0x1004]]
    assert "without a physical address" in space.info.notes[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x7fELF", "cut off"),
        (b"\x7fELF\x01\x01" + bytes(60), "32-bit"),
        (b"\x7fELF\x02\x07" + bytes(60), "byte order"),
        (b"\x7fELF\x02\x01" + bytes(10) + b"\x02" + bytes(60), "a program, not a core"),
        (core([]), "no program headers"),
        (core([(1, 0, 0, 0, 0)]), "holds no memory"),
        (core([(1, 1 << 63, 0x1000, 1 << 63, 1 << 63)]), "holds no memory"),
        (core([], phnum=0xFFFF), "no program headers"),
    ],
)
def test_not_a_core_of_memory(data: bytes, words: str) -> None:
    """Each wrong kind of ELF file has its own message."""
    with pytest.raises(InputError, match=words):
        opened(data)


def test_a_count_that_the_file_cannot_hold() -> None:
    """PN_XNUM with 2**32 - 1 segments costs nothing when the bytes are not there."""
    data = bytearray(core([(1, 184, 0x1000, 4, 4)], b"abcdefgh" + bytes(64), phnum=0xFFFF))
    section = len(data) - 64
    struct.pack_into("<Q", data, 40, section)
    struct.pack_into("<I", data, section + 44, 0xFFFFFFFF)
    space = opened(bytes(data))
    assert "of 4294967295 program headers" in space.info.notes[0]
    assert len(space.read(0x1000, 4)) == 4


@pytest.mark.parametrize(
    "header",
    [
        (1, 1 << 63, 0, 1 << 63, 1 << 63),
        (1, 232, (1 << 64) - 2, 8, 8),
        (1, 232, 0x1000, 1 << 63, 0),
        (1, (1 << 64) - 1, 0x1000, (1 << 64) - 1, (1 << 64) - 1),
        (1, 0, 0x1001, 100, 1 << 63),
        (4, 1 << 63, 0, 1 << 63, 0),
        (4, 0, 0, 1 << 63, 0),
        (0xFFFFFFFF, 0, 0, 0, 0),
    ],
)
def test_hostile_headers(header: Header) -> None:
    """Sums that leave 64 bits and ranges outside the file do no harm to the other segments."""
    space = opened(core([(1, 232, 0x1000, 8, 8), header, header], b"abcdefgh"))
    assert bytes(space.read(0x1000, 8)) == b"abcdefgh"
    table = space.extents()
    assert np.all(table[:, 0] < table[:, 1])
    for base, words in space.first_words(8):
        assert space.contains(base, 8 * len(words))


def test_truncation_at_every_length(tmp_path: Path) -> None:
    """A file cut anywhere opens with a note or is refused with one line."""
    path = tmp_path / "image.elf"
    write_elf(
        path,
        [(0x1000, b"a" * 50), (0x2000, b"b" * 50)],
        endian="little",
        vmcoreinfo={"OSRELEASE": "7.3.4", "PAGESIZE": "4096"},
        align=1,
    )
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        try:
            with open_source(path) as space:  # type: ignore[union-attr]
                assert space.info.notes
        except InputError as error:
            message = str(error)
            assert "\n" not in message


@given(st.data())
def test_any_change_of_a_byte_is_harmless(data: st.DataObject) -> None:
    """A damaged header is refused or read as something; reads still only fault."""
    image = bytearray(
        core(
            [(4, 176, 0, 28, 0), (1, 204, 0x1000, 16, 32)],
            struct.pack("<III", 11, 4, 0) + b"VMCOREINFO\0\0A=B\n" + bytes(range(16)),
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(4, len(image) - 1))] = data.draw(st.integers(0, 255))
    try:
        space = opened(bytes(image))
    except InputError:
        return
    for start, end in space.extents().tolist():
        assert len(space.read(start, end - start)) == end - start
    space.gather(np.array([0x1000, 0x1008], dtype=np.uint64), 4)
    space.known(0, 1 << 64)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("4096", 4096), ("65536", 65536), ("5000", None), ("9" * 5000, None), ("-4096", None)],
)
def test_page_size_of_vmcoreinfo(size: str, expected: int | None) -> None:
    """Only powers of two that can be a page size are taken; else a note."""
    text = f"PAGESIZE={size}\nPAGESIZE=8192\nSYMBOL(a=b)=c\nnonsense\n".encode()
    note = struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text
    other = struct.pack("<III", 5, 3, 1) + b"CORE\0\0\0\0" + b"abc\0"
    body = other + note
    headers = [(4, 176, 0, len(body), 0), (1, 176, 0x1000, 8, 8)]
    info = opened(core(headers, body)).info
    assert info.page_size == expected
    assert bool(info.notes) == (expected is None)
    assert info.vmcoreinfo["SYMBOL(a"] == "b)=c"


def test_core_of_no_machine(tmp_path: Path) -> None:
    """A core may name no machine; what stands beside each other is one segment."""
    path = tmp_path / "core"
    write_elf(path, [(0x2000, b"b" * 16), (0x1FF0, b"a" * 16)], endian="big", machine=None)
    space = open_source(path)
    assert isinstance(space, AddressSpace)
    assert space.info.machine is None
    assert space.extents().tolist() == [[0x1FF0, 0x2010]]
    assert bytes(space.read(0x1FF8, 16)) == b"a" * 8 + b"b" * 8


def test_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk in the middle of the contents is one line, and no file appears."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_write", full)
    with pytest.raises(KhotoolError, match="core: cannot be written: No space left on device"):
        write_elf(tmp_path / "core", [(0, b"x")], endian="little")
    assert list(tmp_path.iterdir()) == []
