"""What is not in the image is not judged, and what a kernel prints is what it prints."""

from __future__ import annotations

import json
import lzma
import re
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from khotool.check.kernels import judge
from khotool.check.kernels.verdict import Outcome, Unseen, Verdict
from khotool.cli.main import main
from khotool.decode.open import open_image, open_memory
from khotool.limits import OpenOptions
from khotool.maps.preserved import PreservedMap
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image
from tests.unit.check.damage import FIXTURES, NOWHERE, Capture, number

CLEAN = FIXTURES / "verdicts" / "clean" / "image.elf.xz"
RESULTS = sorted((FIXTURES / "verdicts").glob("*/result.json"))
ACROSS = json.loads((FIXTURES / "verdicts" / "across-kernels.json").read_bytes())
CONSOLE = tomllib.loads((Path(__file__).parent / "console.toml").read_text(encoding="utf-8"))
NOISE = "has wrong size  ("
"""A serial console doubled a blank; the kernel's own string has one."""


def lines_of(verdict: Verdict) -> list[str]:
    return [line for step in verdict.steps for line in step.console]


# -- words -----------------------------------------------------------------------------------


@cache
def formats(release: str) -> re.Pattern[str]:
    """All that a kernel can print of a handover, as one pattern."""
    words = {"%d": r"-?\d+", "%ld": r"-?\d+", "%lld": r"-?\d+", "%u": r"\d+", "%llu": r"\d+"}
    words |= {"%zu": r"\d+", "%s": ".*", "%.*s": ".*", "%pe": r"-\d+", "%lx": "[0-9a-f]+"}
    words |= {"%llx": "[0-9a-f]+"}
    parts = []
    for family in CONSOLE.values():
        if release in family["releases"]:
            for text in family["lines"]:
                pieces = re.split(r"(%\.\*s|%l{0,2}[dux]|%zu|%pe|%s)", text)
                parts.append("".join(words.get(p, re.escape(p)) for p in pieces))
    return re.compile("|".join(f"(?:{part})" for part in parts))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_every_line_was_printed(path: Path) -> None:
    """Each line of a verdict is on the console of the real kernel."""
    result = json.loads(path.read_bytes())
    console = {line.replace(NOISE, "has wrong size (") for line in result["console"]}
    verdict = judge(open_image(path.parent / "image.elf.xz"), result["kernel"])

    assert set(lines_of(verdict)) <= console


COMPLAINT = re.compile(r"(KHO|luo|memfd_luo|test_kho)(:| reserve)|FDT|failed to|Kernel panic")
FINE = re.compile(
    r"KHO: (found|scratch areas)|Revived|test_kho: KHO restore succeeded|KHO: exec from|"
    r"luo: Retrieved|"
    # What it says of the handover that it prepares itself, and of its debugfs.
    r"failed to prepare memblock FDT for KHO: -22|KHO: node memblock missing or invalid blob-size"
)
"""Lines of a kernel that takes what it is given."""


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_every_complaint_was_predicted(path: Path) -> None:
    """Each complaint of the real kernel is a line of the verdict, or about what is not here."""
    result = json.loads(path.read_bytes())
    console = {line.replace(NOISE, "has wrong size (") for line in result["console"]}
    wanted = {line for line in console if COMPLAINT.match(line) and not FINE.match(line)}
    verdict = judge(open_image(path.parent / "image.elf.xz"), result["kernel"])
    missing = wanted - set(lines_of(verdict))

    if "test_kho: KHO restore failed" in missing:
        step = next(step for step in verdict.steps if step.stage == "kho-test")
        assert step.unseen is Unseen.CONTENTS
        missing.remove("test_kho: KHO restore failed")
    assert missing == set()


@pytest.mark.parametrize("row", ACROSS, ids=lambda row: f"{row['old']}-to-{row['new']}")
def test_lines_of_other_kernels_were_printed(row: dict[str, str]) -> None:
    """So is each line about a handover of another release; addresses differ."""
    image = open_image(FIXTURES / "real" / f"linux-{row['old_release']}" / "image.elf.xz")
    hide = re.compile("0x[0-9a-f]+")
    console = {hide.sub("0x", line) for line in row["console"]}

    found = {hide.sub("0x", line) for line in lines_of(judge(image, row["new_release"]))}

    assert found <= console


@pytest.mark.parametrize("path", sorted((FIXTURES / "bad").glob("*/recipe.toml")))
def test_lines_are_of_that_kernel(path: Path, tmp_path: Path) -> None:
    """No recipe gets a line that the kernel has no format string for."""
    image = tmp_path / "image.elf"
    assert main(["encode", str(path), "-o", str(image)]) == 0
    decoded = open_image(image)
    for release in ("6.17", "6.18", "6.19", "7.1", "7.3"):
        for line in lines_of(judge(decoded, release)):
            assert formats(release).fullmatch(line), line


WORDS = [
    ("7.3.4", lambda c: [(c.root, bytes(4))], "KHO: setup: handover FDT ({root}) is invalid: -9"),
    (
        "7.3.4",
        lambda c: [(c.root + 20, number(1 << 24, 4))],
        "KHO: setup: handover FDT ({root}) is invalid: -10",
    ),
    (
        "7.3.4",
        lambda c: [c.field("/LUO/size", 24)],
        "luo: LUO state is too small (24 < 32)",
    ),
    (
        "7.3.4",
        lambda c: [c.field("/LUO/liveupdate_number", -1)],
        "luo: Retrieved live update data, liveupdate number: -1",
    ),
    (
        "7.3.4",
        lambda c: [(c.text("/memblock", b"memblock-v1"), b"X")],
        "FDT 'memblock' is incompatible with 'memblock-v1': 1",
    ),
    (
        "7.3.4",
        lambda c: [(c.value("/memblock/address") + 20, bytes([0, 0, 0, 1]))],
        "FDT 'memblock' is incompatible with 'memblock-v1': -11",
    ),
    (
        "7.3.4",
        lambda c: [(c.text("/", b"preserved-memory-map"), b"P")],
        "KHO: failed to get preserved memory map",
    ),
    (
        "6.19.11",
        lambda c: [(c.text("/", b"preserved-memory-map"), b"P")],
        "KHO: failed to get preserved memory bitmaps",
    ),
    ("6.19.11", lambda c: [c.field("/memory_map", 0)], "KHO: disabling KHO revival: -2"),
    (
        "6.18.15",
        lambda c: [c.field("/memory_map", 0)],
        "KHO: failed to restore folio for KHO fdt",
    ),
    (
        "7.1.13",
        lambda c: [(c.text("/LUO", b"luo-v1"), b"X")],
        "luo: FDT 'LUO' is incompatible with 'luo-v1' [1]",
    ),
    (
        "7.1.13",
        lambda c: [(c.text("/LUO", b"luo-session-v2"), b"X")],
        "luo: Session node incompatible [luo-session-v2]",
    ),
    (
        "7.1.13",
        lambda c: [(c.text("/LUO", b"luo-flb-v1"), b"X")],
        "luo: FLB node is incompatible with 'luo-flb-v1' [1]",
    ),
    (
        "7.1.13",
        lambda c: [(c.text("/LUO", b"liveupdate-number"), b"X")],
        "luo: Unable to get live update number 'liveupdate-number' [-1]",
    ),
]
"""Damage, and a line that a real kernel of that release prints about it."""


@pytest.mark.parametrize(("release", "damage", "line"), WORDS, ids=[row[2] for row in WORDS])
def test_words_of_the_kernel(release: str, damage: object, line: str) -> None:
    """The line that tells is the kernel's own, to the last number."""
    capture = Capture(f"real/linux-{release}")
    image = capture.changed(*damage(capture))  # type: ignore[operator]

    assert line.format(root=hex(capture.root)) in lines_of(judge(image, release))


def test_a_region_of_other_alignment() -> None:
    """Memory aligned beyond its size was asked for so; the region is refused, not misplaced."""
    capture = Capture("real/linux-7.3.4")
    start = capture.value("/memblock/regions[oops]/start") + 0x1000
    image = capture.changed(capture.field("/memblock/regions[oops]/start", start))
    step = next(s for s in judge(image, "7.3").steps if s.stage == "memblock")

    assert step.outcome is Outcome.PARTIAL
    assert step.console[0].startswith("KHO reserve-mem 'oops' has wrong alignment (0x")
    assert step.console[0].endswith(f", {start:#x})")


# -- gaps ------------------------------------------------------------------------------------


def without(path: Path, *addresses: int) -> Image:
    """An image whose file never held some of the pages."""
    space = open_image(path).space
    segments = []
    for start, end in space.extents().tolist():
        for page in range(start, end, 4096):
            if page not in addresses:
                size = min(4096, end - page)
                segments.append((page, bytes(space.read(page, size))))
    made = OverlaySpace(None, segments)
    made.info = space.info
    return open_memory(made, open_image(path).registry, OpenOptions())


GAPS = {
    "the map": ("/memory_map", "map"),
    "sessions": ("/LUO/sessions", "luo"),
    "the live update state": ("/LUO/address", "luo"),
    "files of a session": ("/LUO/sessions[vm-alpha]/files", "sessions"),
    "the record of a file": ("/LUO/sessions[vm-alpha]/files[0x2]/data", "files"),
    "a list of folios": ("/LUO/sessions[vm-alpha]/files[0x2]/data/folios/first", "files"),
    "objects": ("/LUO/flbs", "flbs"),
    "the regions": ("/memblock/address", "memblock"),
    "the test": ("/kho_test/address", "kho-test"),
}


@pytest.mark.parametrize(("path", "stage"), GAPS.values(), ids=GAPS)
def test_missing_pages_are_not_judged(path: str, stage: str) -> None:
    """A page that was not captured is no fault of the handover, and no line of a kernel."""
    page = Capture("verdicts/clean").value(path) & ~0xFFF
    verdict = judge(without(CLEAN, page), "7.3")
    found = [s for s in verdict.steps if s.stage == stage and s.outcome is Outcome.NOT_JUDGED]

    assert verdict.outcome is Outcome.NOT_JUDGED
    assert Unseen.NOT_CAPTURED in verdict.unseen
    assert found
    assert all(not step.console and step.why for step in found)


def test_missing_pages_of_the_map_are_not_judged() -> None:
    """At every level of the tree; what is below such a page does not make its pointer wrong."""
    found = open_image(CLEAN).map
    assert isinstance(found, PreservedMap)
    last = {page.level: page for page in (found.pages[row] for row in range(len(found.pages)))}
    for level, page in last.items():
        verdict = judge(without(CLEAN, page.address), "7.3")
        assert verdict.outcome is Outcome.NOT_JUDGED, level
        assert next(s for s in verdict.steps if s.stage == "map").outcome is Outcome.NOT_JUDGED


def test_a_wrong_pointer_in_the_map_is_judged() -> None:
    """A node of the map that nothing points to any more is still there."""
    capture = Capture("verdicts/clean")
    found = open_image(CLEAN).map
    assert isinstance(found, PreservedMap)
    page = next(p for p in (found.pages[row] for row in range(len(found.pages))) if p.level == 2)
    assert page.parent is not None
    words = np.frombuffer(open_image(CLEAN).space.read(page.parent, 4096), np.uint64)
    (slot,) = np.flatnonzero(words == page.address)
    image = capture.changed((page.parent + int(slot) * 8, (0x5000000).to_bytes(8, "little")))
    verdict = judge(image, "7.3")
    outcomes = {step.stage: step.outcome for step in verdict.steps}

    assert verdict.outcome is Outcome.CORRUPT
    assert outcomes["memblock"] is Outcome.CORRUPT
    assert outcomes["files"] is Outcome.PARTIAL


def test_a_pointer_to_memory_nobody_keeps_is_judged() -> None:
    """The map says that the page is not preserved: that it is not captured excuses nothing."""
    capture = Capture("verdicts/clean")
    image = capture.changed(capture.field("/LUO/sessions", NOWHERE))

    assert judge(image, "7.3").outcome is Outcome.PANIC


def test_a_cut_file_is_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a file says so, in the outcome, and the exit code is that of no acceptance."""
    data = lzma.decompress(CLEAN.read_bytes())
    cut = tmp_path / "cut.elf"
    cut.write_bytes(data[: len(data) * 3 // 4])

    code = main(["check", str(cut), "--kernel", "7.3", "--json"])
    verdict = json.loads(capsys.readouterr().out)["verdict"]

    assert code == 1
    assert verdict["outcome"] == "not-judged"
    assert "truncated" in verdict["unseen"]
    assert all(not step["message"] for step in verdict["steps"] if step["outcome"] == "not-judged")


def test_contents_that_are_not_captured_are_partial_evidence() -> None:
    """The kernel's own test sums up folios; without them it is accepted as far as it shows."""
    verdict = judge(open_image(CLEAN), "7.3")
    step = next(step for step in verdict.steps if step.stage == "kho-test")

    assert (verdict.outcome, verdict.unseen) == (Outcome.ACCEPT, [Unseen.CONTENTS])
    assert (step.outcome, step.unseen, step.console) == (Outcome.ACCEPT, Unseen.CONTENTS, ())


# -- entries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ftrace", "guestmemfs", "fdbox", "test_kho"])
def test_entries_of_other_kernels_are_not_accepted(name: str) -> None:
    """A kernel asks for the entries of its own set; others stay reserved for its whole life."""
    capture = Capture("verdicts/clean")
    text = name.encode() + b"\0"
    text += bytes(-len(text) % 4)
    # A name that is shorter than the old one is followed by tags that say nothing.
    text += b"\0\0\0\4" * ((12 - len(text)) // 4)
    verdict = judge(capture.changed((capture.text("/", b"memblock\0"), text)), "7.3")

    assert verdict.outcome is Outcome.PARTIAL
    assert [s.why for s in verdict.steps if s.stage == "entries"] == [
        f"nothing in this kernel asks for /{name}"
    ]
