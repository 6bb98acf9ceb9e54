from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.errors import InputError
from khotool.memory import compression, elf, fdtfile, kdump, lime, source
from khotool.memory.fdtfile import BareFdt
from khotool.memory.lime import open_lime
from khotool.memory.source import open_source
from khotool.memory.space import ADDRESS_LIMIT, AddressSpace, MemoryFault, SourceInfo
from tests.unit.memory.kdump_builder import build_kdump, flatten


def lime_range(start: int, data: bytes, end: int | None = None) -> bytes:
    last = start + len(data) - 1 if end is None else end
    return struct.pack("<IIQQQ", 0x4C694D45, 1, start, last, 0) + data


def space_at(path: Path, **options: int | str) -> AddressSpace:
    space = open_source(path, **options)  # type: ignore[arg-type]
    assert isinstance(space, AddressSpace)
    return space


def test_raw_needs_a_base(tmp_path: Path) -> None:
    """A file that is nothing else is refused, and read as raw memory when told where it lies."""
    path = tmp_path / "memory"
    path.write_bytes(b"memory" * 1000)
    with pytest.raises(InputError, match="--base ADDR"):
        open_source(path)
    space = space_at(path, base=0x40000000)
    assert space.info.container == "raw"
    assert bytes(space.read(0x40000006, 6)) == b"memory"
    assert bytes(space_at(path, container="raw").read(0, 6)) == b"memory"
    with pytest.raises(InputError, match="not a 64-bit"):
        open_source(path, base=1 << 64)


def test_a_large_file_is_mapped(tmp_path: Path) -> None:
    """Files above the read limit are mapped; views outlive close()."""
    path = tmp_path / "memory"
    path.write_bytes(b"x" * (3 << 20))
    space = space_at(path, base=0)
    view = space.read(1 << 20, 10)
    space.close()
    assert bytes(view) == b"x" * 10


def test_recognised_by_content(tmp_path: Path) -> None:
    """The name of a file does not matter."""
    path = tmp_path / "image.elf"
    pages = {1: b"a" * 4096}
    for data in (build_kdump(pages), flatten(build_kdump(pages))):
        path.write_bytes(data)
        space = space_at(path)
        assert space.info.container == "kdump"
        assert bytes(space.read(0x1000, 1)) == b"a"
    path.write_bytes(lime_range(0x1000, b"abcd"))
    assert space_at(path).info.container == "lime"


def test_bare_fdt(tmp_path: Path) -> None:
    """A file that begins with the FDT magic is one, unless it is raw memory at a base."""
    path = tmp_path / "fdt"
    path.write_bytes(fdtfile.MAGIC + bytes(100))
    source = open_source(path)
    assert isinstance(source, BareFdt)
    assert source.info.container == "fdt"
    assert source.data == path.read_bytes()
    assert space_at(path, base=0x1000).info.container == "raw"


def test_base_of_a_dump_is_ignored(tmp_path: Path) -> None:
    """A dump knows its addresses; a note says that --base did nothing."""
    path = tmp_path / "dump"
    path.write_bytes(lime_range(0x1000, b"abcd"))
    space = space_at(path, base=0x5000)
    assert space.extents().tolist() == [[0x1000, 0x1004]]
    assert "ignored" in space.info.notes[0]
    forced = space_at(path, base=0x5000, container="raw")
    assert bytes(forced.read(0x5000, 4)) == b"EMiL"


def test_places_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has one line that begins with the path."""
    empty, fifo, directory = tmp_path / "empty", tmp_path / "fifo", tmp_path / "dir"
    empty.touch()
    os.mkfifo(fifo)
    directory.mkdir()
    cases = {
        tmp_path / "missing": "no such file",
        empty: "empty",
        fifo: "not a regular file",
        Path("/dev/null"): "not a regular file",
        directory: "no copy of /sys/kernel/debug/kho",
        tmp_path / "nul\0": "cannot be read",
    }
    for path, words in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            open_source(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no container 'floppy'"):
        open_source(empty, container="floppy")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match="permissions"):
        open_source(empty)


MAGICS = [
    b"",
    elf.MAGIC,
    elf.MAGIC + b"\x02\x01\x01" + bytes(9) + b"\x04\x00",
    *kdump.MAGICS,
    kdump.SIGNATURE + b"\x06\0\0\0",
    lime.MAGIC,
    lime.MAGIC + b"\x01\0\0\0",
    fdtfile.MAGIC,
    *compression.MAGICS.values(),
]


@settings(max_examples=200)
@given(st.sampled_from(MAGICS), st.binary(max_size=700), st.booleans())
def test_random_bytes(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, data: bytes, tar: bool
) -> None:
    """Any bytes open as something or are refused with one line."""
    path = tmp_path_factory.getbasetemp() / "random"
    content = magic + data
    if tar:
        content = content[:257].ljust(257, b"\0") + b"ustar\x0000" + content[257:]
    path.write_bytes(content)
    try:
        source = open_source(path)
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        return
    if isinstance(source, AddressSpace):
        source.close()


def test_lime_ranges() -> None:
    """e_addr is inclusive; ranges follow each other."""
    data = lime_range(0x1000, b"abcd") + lime_range(0x10000, b"efgh")
    space = open_lime(SourceInfo("x", "lime"), memoryview(data))
    assert space.extents().tolist() == [[0x1000, 0x1004], [0x10000, 0x10004]]
    assert bytes(space.read(0x10000, 4)) == b"efgh"
    assert space.info.notes == []


@pytest.mark.parametrize(
    "tail",
    [
        b"EMiL",
        b"garbage" * 10,
        lime_range(0x5000, b"abc", end=0x5FFF),
        lime_range(0x5000, b"abc", end=ADDRESS_LIMIT - 1),
        lime_range(0x5000, b"abc", end=0x4000),
    ],
)
def test_damaged_lime_keeps_the_ranges_before(tail: bytes) -> None:
    """A damaged or cut header ends the file with a note."""
    data = lime_range(0x1000, b"abcd") + tail
    space = open_lime(SourceInfo("x", "lime"), memoryview(data))
    assert bytes(space.read(0x1000, 4)) == b"abcd"
    assert len(space.info.notes) == 1
    with pytest.raises(MemoryFault):
        space.read(0x5000, 8)


@pytest.mark.parametrize(
    "data", [b"EMiL", b"EMiL\x02" + bytes(40), lime_range(5, b"", end=4), lime_range(5, b"", end=9)]
)
def test_lime_without_memory(data: bytes) -> None:
    """No range at all is an error."""
    with pytest.raises(InputError):
        open_lime(SourceInfo("x", "lime"), memoryview(data))


def test_memory_of_the_running_kernel_is_not_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc/kcore, /dev/mem and ELF files of impossible size are refused, and the command named."""
    kcore = tmp_path / "kcore"
    kcore.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(100))
    link = tmp_path / "link"
    link.symlink_to(kcore)
    monkeypatch.setattr(source, "KCORE", os.path.realpath(kcore))
    for path in (kcore, link):
        with pytest.raises(InputError, match="khotool live"):
            open_source(path)
    monkeypatch.setattr(source, "KCORE", "/nowhere")
    monkeypatch.setattr(source, "_LARGEST", 64)
    with pytest.raises(InputError, match="khotool live"):
        open_source(kcore)
    monkeypatch.setattr(source, "_DEV_MEM", os.stat(os.devnull).st_rdev)
    with pytest.raises(InputError, match="khotool live"):
        open_source(os.devnull)


def test_a_long_fdt_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file that is much longer than any device tree, the start is read, with a note."""
    monkeypatch.setattr(fdtfile, "SIZE_LIMIT", 64)
    path = tmp_path / "fdt"
    path.write_bytes(fdtfile.MAGIC + bytes(100))
    source = open_source(path)
    assert isinstance(source, BareFdt)
    assert source.data == path.read_bytes()[:64]
    assert source.info.notes == ["only the first 64 of 104 bytes are read as an FDT"]
