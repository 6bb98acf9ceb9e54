"""Other programs open what khotool writes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from khotool.encode.pack import pack_image
from khotool.encode.segments import write_image
from tests.builders import build, capture

MODELS: dict[str, dict[str, Any]] = {
    "x86": {"abi": "7.2", "session": [{"name": "vm", "file": [{"token": 1, "size": 9000}]}]},
    "16k": {"abi": "7.1", "page_size": "16K"},
    "64k": {"abi": "6.16", "page_size": "64K", "kho_test": {"orders": [0]}},
    "big-endian": {"abi": "7.2", "endian": "big"},
}


@pytest.mark.parametrize("name", MODELS)
def test_readelf_reads_it(name: str, tmp_path: Path) -> None:
    """readelf finds a core, its note, and one segment for each run of pages, without a warning."""
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("readelf is not installed")
    path = tmp_path / "image.elf"
    built = build(MODELS[name])
    write_image(path, built)
    done = subprocess.run([readelf, "-hnlW", path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "CORE (Core file)" in done.stdout
    assert "VMCOREINFO" in done.stdout
    assert f"0x{built.root:016x}" in done.stdout


DRGN = """
import sys, drgn
program = drgn.Program()
program.set_core_dump(sys.argv[1])
print(program.read(int(sys.argv[2]), 4, physical=True).hex())
"""


def drgn_reads(path: Path, root: int) -> str:
    if find_spec("drgn") is None:
        pytest.skip("drgn is not installed")
    command = [sys.executable, "-c", DRGN, str(path), str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "big-endian"])
def test_drgn_reads_it(name: str, tmp_path: Path) -> None:
    """drgn opens the core and reads the root at its physical address."""
    path = tmp_path / "image.elf"
    built = build(MODELS[name])
    write_image(path, built)
    assert drgn_reads(path, built.root) == "d00dfeed"


def test_drgn_reads_a_packed_capture(tmp_path: Path) -> None:
    """So it does with what pack leaves of a capture."""
    path = tmp_path / "image.elf"
    built = pack_image(capture("linux-7.3.4"))
    write_image(path, built)
    assert drgn_reads(path, built.root) == "d00dfeed"


def test_the_note_has_what_readers_need() -> None:
    """Release, page size, and the symbol without which drgn opens nothing."""
    for built in (build(MODELS["16k"]), pack_image(capture("linux-7.3.4"), anonymize=True)):
        assert set(built.vmcoreinfo) == {"OSRELEASE", "PAGESIZE", "SYMBOL(swapper_pg_dir)"}
        assert int(built.vmcoreinfo["SYMBOL(swapper_pg_dir)"], 16)
