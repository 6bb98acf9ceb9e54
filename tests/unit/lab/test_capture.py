"""From a manifest to what the agent does, and why a capture failed."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest

from khotool.errors import KhotoolError
from khotool.lab import bridge
from khotool.lab.capture import DEFAULT, Wish, refuse
from khotool.lab.console import read_lines
from khotool.lab.facts import read_facts
from khotool.lab.kernelfile import KernelFile, recognise
from khotool.lab.preserving import Wanted, preserving
from khotool.lab.qemu import End, Run
from tests.unit.lab.test_kernelfile import bzimage


def kernel() -> KernelFile:
    found = recognise("bzImage", bzimage(gzip.compress(b"\x7fELF")))
    assert found is not None
    return found


def wanted(document: dict[str, Any]) -> Wanted:
    handover = bridge.handover_of(document, "7.3.4", "m.toml", Path())
    return preserving(document, handover, kernel())


def contents(found: Wanted) -> dict[str, bytes]:
    """What the agent would write, by the words of the command that made the file."""
    files: dict[str, bytearray] = {}
    name = ""
    for line in found.scenario.lines:
        word, *rest = line.split()
        if word == "file":
            name = rest[0]
            files[name] = bytearray(int(rest[1]))
        elif word == "put":
            to, start, size = (int(number) for number in rest)
            files[name][to : to + size] = found.scenario.blob[start : start + size]
    return {name: bytes(data) for name, data in files.items()}


def test_default_scenario_is_written_as_encode_writes_it() -> None:
    found = wanted(dict(DEFAULT) | {"abi": "7.3"})
    image = bridge.decode(bridge.build(dict(DEFAULT) | {"abi": "7.3"}))
    expected = {
        f"{file.token:#x}": bridge.digest(image, file.node)
        for session in bridge.contents_of(image).sessions[:1]
        for file in session.files
        if file.size
    }
    session = found.scenario.lines.index("session 646576696365")
    found.scenario.lines = found.scenario.lines[:session]

    written = {
        name: hashlib.sha256(data).hexdigest() for name, data in contents(found).items() if data
    }
    assert written == expected


def test_commands_and_words() -> None:
    found = wanted(
        {
            "abi": "7.3",
            "scratch": [{"start": "64M", "size": "32M"}],
            "reserve_mem": [{"name": "trace", "size": "2M", "align": "1M"}],
            "session": [
                {
                    "name": "ü",
                    "file": [
                        {"token": 5, "size": 4096, "pos": 3, "seals": 1, "contents": "zero"},
                        {"token": 6, "size": "2M", "folio": "huge"},
                    ],
                }
            ],
        }
    )

    assert found.words == [
        "reserve_mem=2097152:1048576:trace",
        "initcall_blacklist=kho_test_init",
        "kho_scratch=33554432,16777216,16777216",
    ]
    thp = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
    assert found.scenario.lines == [
        "write /sys/kernel/debug/kho/out/finalize 1",
        "load",
        "session c3bc",
        f"write {thp} never",
        "file 0x5 4096 3 1",
        "put 0 0 4096",
        "keep",
        f"write {thp} always",
        "file 0x6 2097152 0 0",
        "keep",
        "kexec",
    ]


def test_equal_pages_are_in_the_initrd_once() -> None:
    files = [{"token": 1, "size": "8M", "contents": {"fill": "x"}}]
    found = wanted({"abi": "7.3", "session": [{"name": "vm", "file": files}]})

    assert len(found.scenario.blob) == 4096
    assert contents(found) == {"0x1": b"x" * (8 << 20)}


def test_what_a_kernel_chooses_is_told() -> None:
    found = wanted({"abi": "7.3", "liveupdate_number": 4, "flb": [{"name": "a", "data": 1}]})

    assert found.lost == [("liveupdate_number", "kernel-chooses"), ("flb", "kernel-chooses")]


def test_manifest_of_another_page_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text('abi = "7.3"\npage_size = 16384\n')

    with pytest.raises(KhotoolError, match="pages of 4096"):
        bridge.read_manifest(str(path), "7.3.4", 4096)


@pytest.mark.parametrize(
    ("console", "end", "message"),
    [
        ("", End.EXIT, "CONFIG_SERIAL_8250_CONSOLE=y"),
        ("@@kho load 38\n@@kho end 0\n", End.EXIT, "CONFIG_KEXEC_FILE=y"),
        ("@@kho load 129\n", End.EXIT, "CONFIG_KEXEC_SIG_FORCE"),
        ("@@kho load 22\n", End.EXIT, "EINVAL"),
        ("Kernel panic - not syncing: VFS: Unable\n", End.EXIT, "CONFIG_BLK_DEV_INITRD=y"),
        ("Kernel panic - not syncing: Oh\n", End.EXIT, "not syncing: Oh"),
        ("KHO: Failed to reserve lowmem scratch buffer\n", End.EXIT, "raise --memory"),
        ("Linux version 7.3.4 (x\n", End.TIMEOUT, "raise --timeout"),
        ("INIT: failed\nreboot: Restarting system\n", End.EXIT, "restarted or went off"),
        ("@@kho load 0\n@@kho reboot 22\n@@kho end 0\n", End.EXIT, "stop kernel: EINVAL"),
    ],
)
def test_why_there_is_no_capture(console: str, end: End, message: str) -> None:
    run = Run(end, console, 1.0)
    with pytest.raises(KhotoolError, match=message):
        refuse(kernel(), Wish(), run, read_lines(console), read_facts(console))
