"""Boots and tests as people and programs read them."""

from __future__ import annotations

from typing import Any

from khotool.lab.boot import Booted
from khotool.lab.conformance import Result, State, harmed
from khotool.lab.console import read_lines
from khotool.lab.facts import read_facts
from khotool.lab.kernelfile import Form, KernelFile, Machine
from khotool.lab.outcome import Expected, judge
from khotool.lab.qemu import End, Run
from khotool.render.boot import Done, NotBooted, document, text_lines
from khotool.render.ktap import ktap_lines
from tests.unit.lab.test_outcome import DIGEST, GOOD


def booted(console: str, predicted: str | None = "accept", image: str = "a.elf") -> Booted:
    lines, facts = read_lines(console), read_facts(console)
    expected = Expected(["trace"], sessions=[("vm", [1])], files={(0, 0): DIGEST}, luo=True)
    judged = judge(End.EXIT, lines, facts, expected)
    prediction: dict[str, Any] | None = None
    differences = []
    if predicted is not None:
        prediction = {"outcome": predicted, "sessions": []}
        if predicted != judged.outcome:
            differences = [("outcome", predicted, str(judged.outcome))]
    kernel = KernelFile("bzImage", Form.BZIMAGE, Machine.X86_64, b"")
    run = Run(End.EXIT, console, 1.5, 0)
    return Booted(
        *(image, kernel, judged, facts, run, "7.3.4", prediction, differences),
        command_line="console=ttyS0",
        memory=1 << 28,
        changed=[],
    )


def text(*done: Done, verbose: bool = False) -> list[str]:
    return [
        line.lead + "".join(part for part, _ in line.segments)
        for line in text_lines(done, verbose=verbose)
    ]


def test_document_is_the_contract() -> None:
    made = document([booted(GOOD), NotBooted("b.elf", "bzImage", "no")])

    assert made["schema"] == "khotool.boot/1"
    first, second = made["boots"]
    assert first["kernel"] == {"file": "bzImage", "release": "7.3.4"}
    assert (first["outcome"], first["predicted"], first["agree"]) == ("accept", "accept", True)
    assert first["regions"] == {"trace": "revived"}
    assert first["sessions"] == [
        {
            "name": "vm",
            "result": "ok",
            "files": [
                {
                    "token": "0x1",
                    "result": "ok",
                    "size": 4096,
                    "pos": 0,
                    "seals": 0,
                    "sha256": DIGEST,
                    "contents": "same",
                }
            ],
        }
    ]
    assert second == {"image": "b.elf", "kernel": {"file": "bzImage"}, "error": "no"}


def test_one_boot_in_full() -> None:
    shown = text(booted(GOOD))

    assert shown[0] == "a.elf on bzImage (7.3.4, x86_64): accept, as predicted  1.5 s"
    assert "    kho-root        KHO: found kexec handover data." in shown
    assert any(line.split() == ["0x1", "4096", "bytes", "same", DIGEST[:16]] for line in shown)


def test_several_boots_as_a_matrix() -> None:
    lost = booted(GOOD.replace("Revived", "Lost"), "accept", "b.elf")
    shown = text(booted(GOOD), lost, booted(GOOD, None, "c.elf"))

    assert not any(line.startswith("a.elf on") for line in shown)
    assert any(line.startswith("b.elf on") and "predicted accept" in line for line in shown)
    rows = {line.split()[0]: line.split()[1:] for line in shown[-4:-1]}
    assert rows == {"a.elf": ["accept"], "b.elf": ["partial", "!accept"], "c.elf": ["accept"]}
    assert shown[-1] == "3 boots: 2 accepted, 1 not as predicted"


def test_nothing_of_a_console_acts_on_a_terminal() -> None:
    console = GOOD.replace("'trace'", "'\x1b[31mtrace'").replace("7.3.4", "7.3\x1b4")
    shown = text(booted(console, image="\x1b.elf"), NotBooted("\x1b", "\x1b", "\x1b"))

    assert "\x1b" not in "".join(shown)


def test_harm_is_what_no_kernel_should_take() -> None:
    refused = "Kernel panic - not syncing: The incoming tree failed to initialize properly [-22]\n"

    assert not harmed(booted(GOOD))
    assert not harmed(booted(GOOD.replace("Revived", "Lost")))
    assert not harmed(booted(refused))
    assert harmed(booted("Oops: 0000\n" + refused))
    assert harmed(booted("Kernel panic - not syncing: Fatal exception\n"))
    assert harmed(booted(GOOD.replace(DIGEST, "00" * 32)))


def test_ktap() -> None:
    results = [
        Result("self", "a", State.PASS),
        Result("self", "b", State.FAIL, "not so", ["why\x1b"]),
        Result("mutants", "c", State.KNOWN, "panic"),
        Result("mutants", "d", State.SKIP, "no room"),
        Result("selftests", "e", State.SKIP, "none"),
    ]

    assert list(ktap_lines(results, ["kernel 7.3"])) == [
        "KTAP version 1",
        "# kernel 7.3",
        "  KTAP version 1",
        "  # Subtest: self",
        "  ok 1 a",
        "  # why\\x1b",
        "  not ok 2 b # not so",
        "  1..2",
        "not ok 1 self",
        "  KTAP version 1",
        "  # Subtest: mutants",
        "  ok 1 c # XFAIL panic",
        "  ok 2 d # SKIP no room",
        "  1..2",
        "ok 2 mutants",
        "  KTAP version 1",
        "  # Subtest: selftests",
        "  ok 1 e # SKIP none",
        "  1..1",
        "ok 3 selftests # SKIP",
        "1..3",
    ]
