"""Lines of kernels and of the agent, turned into facts."""

from __future__ import annotations

import pytest

from khotool.lab.console import Said, Stage, read_lines
from khotool.lab.facts import FileFact, read_facts


@pytest.mark.parametrize(
    ("text", "said", "name"),
    [
        ("Linux version 7.3.4 (root@vm) #1 SMP", Said.BANNER, "7.3.4"),
        ("KHO: found kexec handover data. Will skip init for some devices", Said.FOUND, ""),
        ("KHO: disabling KHO revival: -22", Said.GIVEN_UP, ""),
        ("KHO: setup: handover FDT (0x1000) is invalid: -9", Said.ROOT_REFUSED, ""),
        ("KHO: failed to get preserved memory map", Said.MAP_REFUSED, ""),
        ("Revived memory reservation 'trace' from KHO", Said.REVIVED, "trace"),
        ("KHO reserve-mem 'a b' has wrong size (0x1 != 0x2)", Said.REGION_REFUSED, "a b"),
        ("FDT 'memblock' is incompatible with 'memblock-v1': -11", Said.ENTRY_REFUSED, ""),
        ("luo: Retrieved live update data, liveupdate number: 1", Said.LUO_TAKEN, ""),
        ("luo: LUO state is incompatible with 'luo-v5'", Said.LUO_REFUSED, ""),
        ("luo: Failed to deserialize files for session [a] -EINVAL", Said.FILE_REFUSED, ""),
        ("memfd_luo: Unable to restore folio at physical address: 1000", Said.FILE_REFUSED, ""),
        ("test_kho: KHO restore succeeded", Said.TEST_PASSED, ""),
        ("KHO: exec from: 7.1.13 (count 1)", Said.METADATA, "7.1.13"),
        ("liveupdate test: x-v0: found flb data from the previous boot", Said.FLB_FOUND, "x-v0"),
        ("BUG: Bad page state in process init  pfn:00123", Said.BAD_PAGE, ""),
        ("Oops: Oops: 0000 [#1] SMP", Said.OOPS, ""),
        ("Internal error: Oops: 0000000096000004 [#1]  SMP", Said.OOPS, ""),
        ("Kernel panic - not syncing: Fatal exception", Said.PANIC, ""),
        (
            "Kernel panic - not syncing: The incoming tree failed to initialize properly [-22]",
            Said.REFUSED,
            "",
        ),
        ("Kernel panic - not syncing: No working init found.", Said.NO_INIT, ""),
    ],
)
def test_lines_of_kernels(text: str, said: Said, name: str) -> None:
    plain, timed = read_lines(f"{text}\r\n[    1.234567] {text}\n")

    assert (plain.said, plain.name, plain.text) == (said, name, text)
    assert timed == plain


def test_lines_that_say_nothing_of_the_handover_are_left_out() -> None:
    assert read_lines("Unpacking initramfs...\n@@kho hello 7.3.4 x86_64 4096\nluo\n") == []


def test_stage_of_a_line() -> None:
    (line,) = read_lines("KHO: kexec-metadata version 2 not supported (expected 1)")

    assert line.stage is Stage.METADATA


def test_facts_of_a_boot() -> None:
    digest = "ab" * 32
    facts = read_facts(
        "[ 1.0] @@kho hello 7.3.4 x86_64 4096\r\n"
        "@@kho liveupdate 0\n"
        "@@kho session 766d 0\n"
        f"@@kho file 0x0000000000000001 0 4096 17 7 {digest}\n"
        "@@kho file 0x0000000000000002 5\n"
        "@@kho file 0x0000000000000003 0 4096 0 0 -5\n"
        "@@kho finish 16\n"
        "@@kho session c3bc 2\n"
        "@@kho end 0\n"
    )

    assert (facts.release, facts.machine, facts.page_size, facts.ended) == (
        "7.3.4",
        "x86_64",
        4096,
        True,
    )
    vm, other = facts.sessions
    assert (vm.name, vm.error, vm.finished) == ("vm", 0, 16)
    assert vm.files == [
        FileFact(1, 0, 4096, 17, 7, digest),
        FileFact(2, 5),
        FileFact(3, 0, 4096, 0, 0, read_error=5),
    ]
    assert (other.name, other.error) == ("ü", 2)


def test_facts_of_a_capture() -> None:
    facts = read_facts(
        "@@kho load 38\n@@kho write /sys/a 2\n@@kho session 61 0\n"
        "@@kho file 0x01 0 1 0 0 " + "00" * 32 + "\n@@kho kept 0x01 22\n@@kho seals 1\n"
    )

    assert facts.load == 38
    assert facts.writes == {"/sys/a": 2}
    assert facts.sessions[0].files[0].kept == 22
    assert facts.errors == [("seals", 1)]
    assert not facts.ended


@pytest.mark.parametrize(
    "line", ["@@kho file 0x1 zero", "@@kho session zz 0", "@@kho hello", "@@kho file", "@@kho x y"]
)
def test_garbled_facts_are_told(line: str) -> None:
    assert ("garbled", 0) in read_facts(line).errors
