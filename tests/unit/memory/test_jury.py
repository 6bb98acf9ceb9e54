"""readelf as a jury: the same segments at the same places, and the same note."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from khotool.encode.pack import pack_image
from khotool.encode.segments import write_image
from khotool.memory.elf import open_elf
from khotool.memory.space import AddressSpace, SourceInfo
from khotool.memory.writer import write_elf
from khotool.pages.runs import merge_columns
from tests.builders import CAPTURES, REAL, build, capture

READELF = shutil.which("readelf")
if READELF is None:
    pytest.skip("readelf is not installed", allow_module_level=True)

LOAD = re.compile(
    r"^  LOAD +0x(?P<offset>\w+) 0x\w+ 0x(?P<paddr>\w+) 0x(?P<filesz>\w+) 0x(?P<memsz>\w+)", re.M
)
NOTE = re.compile(r"VMCOREINFO\b.*?description data: (?P<data>(?:[0-9a-f]{2} ?)+)", re.S)
MACHINES = {"Advanced Micro Devices X86-64": "x86_64", "AArch64": "aarch64"}
MODELS: dict[str, dict[str, Any]] = {
    "4k": {"abi": "7.2", "session": [{"name": "a", "file": [{"token": 1, "size": 90_000}]}]},
    "16k": {"abi": "7.1", "page_size": "16K", "machine": "aarch64"},
    "64k": {"abi": "6.16", "page_size": "64K", "kho_test": {"orders": [0, 3]}},
    "big-endian": {"abi": "7.2", "endian": "big"},
}


def captured() -> dict[str, Path]:
    """ELF files of kernels: captures, and some of those that were damaged in memory."""
    verdicts = sorted(REAL.parent.glob("verdicts/*/image.elf.xz"))[::7]
    return {path.parent.name: path for path in (*REAL.glob("*/image.elf.xz"), *verdicts)}


def readelf(path: Path) -> str:
    """Headers, segments and notes as readelf prints them."""
    command = [str(READELF), "-hlnW", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout


def agrees(path: Path) -> None:
    """Compare everything that both read of a file."""
    said, data = readelf(path), path.read_bytes()
    space = open_elf(SourceInfo(str(path), "elf"), memoryview(data))
    loads = [{k: int(v, 16) for k, v in m.groupdict().items()} for m in LOAD.finditer(said)]
    starts = np.array([load["paddr"] for load in loads], np.uint64)
    sizes = np.array([load["memsz"] for load in loads], np.uint64)
    low, high = merge_columns(starts[sizes > 0], (starts + sizes)[sizes > 0])
    assert space.extents().tolist() == np.column_stack((low, high)).tolist()
    for load in loads:
        there = data[load["offset"] : load["offset"] + load["filesz"]]
        assert bytes(space.read(load["paddr"], load["memsz"])) == there.ljust(load["memsz"], b"\0")
    declared(said, space)


def declared(said: str, space: AddressSpace) -> None:
    """Byte order, machine and the lines of the note."""
    assert ("little endian" in said) == (space.info.endian == "little")
    machine = re.search(r"Machine: +(.*)", said)
    assert machine is not None
    assert MACHINES[machine[1]] == space.info.machine
    note = NOTE.search(said)
    text = bytes.fromhex(note["data"]).rstrip(b"\0").decode() if note else ""
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert lines == space.info.vmcoreinfo


@pytest.mark.parametrize("name", sorted(captured()))
def test_captured_files(name: str, tmp_path: Path) -> None:
    """What kernels left, before khotool touched it."""
    path = tmp_path / "image.elf"
    path.write_bytes(lzma.decompress(captured()[name].read_bytes()))
    agrees(path)


@pytest.mark.parametrize("name", MODELS)
def test_encoded_files(name: str, tmp_path: Path) -> None:
    """What khotool encodes, in every page size and byte order."""
    write_image(tmp_path / "image.elf", build(MODELS[name]))
    agrees(tmp_path / "image.elf")


@pytest.mark.parametrize("payload", [False, True])
@pytest.mark.parametrize("name", CAPTURES)
def test_packed_files(name: str, payload: bool, tmp_path: Path) -> None:
    """What pack leaves of captures."""
    write_image(tmp_path / "image.elf", pack_image(capture(name), payload=payload))
    agrees(tmp_path / "image.elf")


def test_many_segments(tmp_path: Path) -> None:
    """More segments than the header counts: their number stands in a section header."""
    path = tmp_path / "image.elf"
    write_elf(
        path,
        [(0x2000 * number, b"x" * 16) for number in range(66_000)],
        endian="little",
        vmcoreinfo={"OSRELEASE": "7.3.4"},
        align=16,
    )
    agrees(path)
