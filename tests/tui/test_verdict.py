"""Verdicts of all kernels, the list of sessions, and the payload of what is under the cursor."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.check.kernels.verdict import Outcome
from khotool.extract.select import payload_plan
from khotool.tui.place import resolve
from khotool.tui.session import Session
from khotool.tui.session_list import SORTS, arranged, matching, session_rows
from khotool.tui.verdicts import judge_all, verdict_lines
from tests.tui.conftest import CAPTURE, OLDER, opened
from tests.tui.driver import WIDE, Driver, drive

FILE = "/LUO/sessions[vm-alpha]/files[0x1]"


def test_every_kernel_is_judged() -> None:
    """The kernel that wrote an image takes it; others say at which stage they do not."""
    found = {one.releases: one.verdict for one in judge_all(opened(OLDER), lambda: False)}
    assert found["7.1"].outcome is Outcome.ACCEPT
    assert found["7.0"].outcome is not Outcome.ACCEPT
    assert len(found) == len(set(found)) >= 6


def test_lines_lead_to_the_model() -> None:
    """Each line about a session or file has the path of that session or file."""
    image = opened(CAPTURE)
    verdict = next(v.verdict for v in judge_all(image, lambda: False) if v.verdict.sessions)
    paths = [path for _, path in verdict_lines(verdict) if path]
    assert FILE in paths
    assert [path for path in paths if resolve(image.tree, path) is None] == []


@pytest.mark.parametrize("size", [WIDE, (60, 20)], ids=str)
def test_verdict_screen(size: tuple[int, int]) -> None:
    """Kernels with their outcome, stages of the one under the cursor, and from there to Explore."""

    async def story(d: Driver) -> None:
        await d.press("6")
        assert await d.shows("accept", "#kernels")
        assert await d.shows("kho-root", "#stages")
        await d.press("down")
        assert await d.shows("KHO: setup", "#stages")
        await d.press("up", "enter")
        assert d.focus() == "stages"
        await d.press("end", "enter")
        assert d.app.current_mode == "explore"
        assert d.path().startswith("/LUO/sessions[")

    drive(story, size=size)


def test_session_rows(session: Session) -> None:
    """Files, bytes, pages and findings of each session."""
    rows = session_rows(session)
    assert [row.name for row in rows][:3] == ["vm-alpha", "vm-beta", "empty"]
    assert (rows[0].files, rows[0].pages, rows[2].bytes) == (4, 591, 0)
    assert [row.name for row in rows if row.pages == 6] == ["ünïcode/näme"]
    by_files = next(n for n, (name, _) in enumerate(SORTS) if name == "files")
    assert [row.files for row in arranged(rows, by_files)] == [4, 2, 1, 0]
    assert [row.name for row in matching(rows, "VM-")] == ["vm-alpha", "vm-beta"]


def test_session_list() -> None:
    """Sorted by a key, filtered while typing, shown in Explore."""

    async def story(d: Driver) -> None:
        await d.press("7", "s")
        assert "by name" in d.text()
        assert d.text("#sessions").splitlines()[0].split()[:2] == ["session", "files"]
        assert "empty" in d.text("#sessions").splitlines()[1]
        await d.press("f")
        await d.type("beta")
        await d.press("enter")
        assert d.text("#sessions").splitlines()[1].split()[0] == "vm-beta"
        assert "empty" not in d.text("#sessions")
        await d.press("enter")
        assert d.path() == "/LUO/sessions[vm-beta]"

    drive(story)


def test_modes_by_click() -> None:
    """A click on the name of a mode in the title shows it."""

    async def story(d: Driver) -> None:
        at = d.text("#title").index("3 Pages")
        await d.pilot.click("#title", offset=(at + 2, 0))
        await d.settle()
        assert d.app.current_mode == "pages"

    drive(story)


def test_payload_is_extracted(tmp_path: Path) -> None:
    """``X p`` writes the contents of the file under the cursor, as extract does."""
    out = tmp_path / "guest.ram"

    async def story(d: Driver) -> str:
        await d.goto(FILE)
        await d.press("X", "p")
        await d.fill(str(out))
        await d.press("enter")
        return " ".join(note.message for note in d.app._notifications)

    said = drive(story)
    place = resolve(opened().tree, FILE)
    assert place is not None
    plan = payload_plan(opened(), place.node)
    if len(plan.missing(opened().space.extents())):
        assert "not captured" in said
        assert not out.exists()
    else:
        assert out.stat().st_size == plan.size
