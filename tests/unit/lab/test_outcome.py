"""From what was said and seen to one word."""

from __future__ import annotations

import pytest

from khotool.lab.boot import compare
from khotool.lab.console import read_lines
from khotool.lab.facts import read_facts
from khotool.lab.outcome import (
    Contents,
    Expected,
    Judged,
    KernelTest,
    Object,
    Outcome,
    Region,
    judge,
)
from khotool.lab.qemu import End

DIGEST = "ab" * 32
GOOD = f"""\
KHO: found kexec handover data.
Revived memory reservation 'trace' from KHO
luo: Retrieved live update data, liveupdate number: 1
test_kho: KHO restore succeeded
liveupdate test: flb-v0: found flb data from the previous boot
@@kho hello 7.3.4 x86_64 4096
@@kho session 766d 0
@@kho file 0x01 0 4096 0 0 {DIGEST}
@@kho end 0
"""


def judged(console: str, end: End = End.EXIT, **changes: object) -> Judged:
    expected = Expected(
        regions=["trace"],
        sessions=[("vm", [1])],
        files={(0, 0): DIGEST},
        test=KernelTest.PASSED,
        objects=["flb-v0"],
        luo=True,
    )
    for name, value in changes.items():
        setattr(expected, name, value)
    return judge(end, read_lines(console), read_facts(console), expected)


def test_all_came_back() -> None:
    found = judged(GOOD)

    assert (found.outcome, found.why) == (Outcome.ACCEPT, "")
    assert found.regions == {"trace": Region.REVIVED}
    assert found.objects == {"flb-v0": Object.FOUND}
    assert found.test is KernelTest.PASSED
    (file,) = found.sessions[0].files
    assert (file.result, file.contents) == ("ok", Contents.SAME)


@pytest.mark.parametrize(
    ("old", "new", "outcome", "why"),
    [
        ("Revived memory", "No", Outcome.PARTIAL, ""),
        ("luo: Retrieved", "Nothing", Outcome.PARTIAL, ""),
        ("restore succeeded", "restore failed", Outcome.PARTIAL, ""),
        ("@@kho session 766d 0", "@@kho session 766d 2", Outcome.PARTIAL, ""),
        (f"file 0x01 0 4096 0 0 {DIGEST}", "file 0x01 5", Outcome.PARTIAL, ""),
        (DIGEST, "cd" * 32, Outcome.CORRUPT, ""),
        (DIGEST, "-5", Outcome.CORRUPT, ""),
        ("@@kho hello", "BUG: Bad page state in process init\n@@kho hello", Outcome.CORRUPT, ""),
        ("KHO: found kexec handover data.", "", Outcome.IGNORE, "no-handover"),
        ("KHO: found", "KHO: disabling KHO revival\nKHO: found", Outcome.IGNORE, ""),
        ("@@kho end 0", "", Outcome.PANIC, "reset"),
        ("@@kho end 0", "Kernel panic - not syncing: x", Outcome.PANIC, ""),
        ("@@kho end 0", "Kernel panic - not syncing: VFS: x", Outcome.PANIC, "no-init"),
    ],
)
def test_what_went_wrong(old: str, new: str, outcome: Outcome, why: str) -> None:
    assert old in GOOD
    found = judged(GOOD.replace(old, new))

    assert (found.outcome, found.why) == (outcome, why)


def test_a_guest_that_does_not_end_hangs() -> None:
    assert judged(GOOD, End.TIMEOUT).outcome is Outcome.HANG
    assert judged(GOOD + "Oops: 1\n", End.TIMEOUT).outcome is Outcome.PANIC


def test_an_object_that_is_not_found_is_lost() -> None:
    console = GOOD.replace("flb-v0: found", "flb-v1: found")

    assert judged(console).objects == {"flb-v0": Object.LOST}
    assert judged(console).outcome is Outcome.PARTIAL
    assert judged(console, unasked=["flb-v0"]).objects == {"flb-v0": Object.NOT_ASKED}


def test_contents_that_are_not_captured_are_not_judged() -> None:
    found = judged(GOOD, files={}, filled={})

    assert found.outcome is Outcome.ACCEPT
    assert found.sessions[0].files[0].contents is Contents.UNKNOWN


def test_contents_that_were_made_up_show_other_memory() -> None:
    assert judged(GOOD, files={}, filled={(0, 0): DIGEST}).outcome is Outcome.ACCEPT
    assert judged(GOOD, files={}, filled={(0, 0): "00" * 32}).outcome is Outcome.CORRUPT


def test_a_region_that_was_given_away_is_corrupt() -> None:
    assert judged(GOOD, changed_regions=["trace"]).outcome is Outcome.CORRUPT


def test_what_nothing_asks_for_is_lost() -> None:
    assert judged(GOOD, unasked=["ftrace"]).outcome is Outcome.PARTIAL
    assert judged(GOOD, twice=True).outcome is Outcome.PARTIAL


def test_a_test_whose_folios_are_not_captured_cannot_fail() -> None:
    console = GOOD.replace("restore succeeded", "restore failed")

    assert judged(console, test=KernelTest.UNKNOWN).outcome is Outcome.ACCEPT
    assert judged(console, has_test=False).test is KernelTest.NOT_ASKED


def prediction(outcome: str, result: str = "ok", *, retrieved: bool = True) -> dict[str, object]:
    files = [{"token": "0x1", "result": result}]
    return {
        "outcome": outcome,
        "sessions": [{"name": "vm", "retrieved": retrieved, "files": files}],
    }


def test_prediction_is_compared_word_by_word() -> None:
    found = judged(GOOD)

    assert list(compare(prediction("accept"), found)) == []
    assert list(compare(prediction("partial"), found)) == [("outcome", "partial", "accept")]
    assert list(compare(prediction("accept", "EIO"), found)) == [
        ("session vm file 0x1", "EIO", "ok")
    ]
    assert list(compare(prediction("accept", retrieved=False), found)) == [
        ("session vm", "not given back", "ok")
    ]
