"""What each known kernel would do with an image, as lines."""

from __future__ import annotations

from khotool.abi.releases import Release
from khotool.check.kernels.judge import judge
from khotool.check.kernels.verdict import Outcome, Step, Verdict
from khotool.model.image import Image
from khotool.model.path import quote_key
from khotool.records import dataclass
from khotool.tui.session import Session
from khotool.tui.text import Line, count_text, visible
from khotool.tui.work import Cancelled, Stop

TOKENS = {
    Outcome.ACCEPT: "added",
    Outcome.NOT_JUDGED: "dim",
    Outcome.PARTIAL: "warning",
    Outcome.CORRUPT: "error",
    Outcome.IGNORE: "error",
    Outcome.PANIC: "error",
}
GLYPHS = {
    Outcome.ACCEPT: "✓",
    Outcome.NOT_JUDGED: "?",
    Outcome.PARTIAL: "!",
    Outcome.CORRUPT: "✗",
    Outcome.IGNORE: "✗",
    Outcome.PANIC: "✗",
}


@dataclass(frozen=True, slots=True)
class Ruled:
    """A verdict, and the releases it holds for: ``7.2 to 7.3``."""

    releases: str
    verdict: Verdict


def judge_all(image: Image, stop: Stop) -> list[Ruled]:
    """The verdict of every kernel that an ABI set describes, the newest first.

    Raises:
        Cancelled: ``stop`` said so.
    """
    known = []
    for abi in image.registry.sets.values():
        first = Release.parse(abi.first)
        if first is not None:
            known.append((first, abi))
    found = []
    for _, abi in sorted(known, key=lambda item: item[0], reverse=True):
        if stop():
            raise Cancelled
        last = abi.last or "now"
        releases = abi.first if last == abi.first else f"{abi.first} to {last}"
        found.append(Ruled(releases, judge(image, abi.last or abi.first)))
    return found


def kernel_line(ruled: Ruled) -> Line:
    """One kernel: releases, outcome, and the first stage that is not accepted."""
    outcome = ruled.verdict.outcome
    line: Line = [
        (f" {GLYPHS[outcome]} ", TOKENS[outcome]),
        (f"{ruled.releases:<22} ", "name"),
        (f"{outcome:<11}", TOKENS[outcome]),
    ]
    worst = next((s for s in ruled.verdict.steps if s.outcome is outcome), None)
    if worst is not None and outcome is not Outcome.ACCEPT:
        line.append((f" {worst.stage}", "dim"))
    return line


def verdict_lines(verdict: Verdict) -> list[tuple[Line, str]]:
    """Stages, what the kernel prints, what becomes of each session; each with a path, or none."""
    found: list[tuple[Line, str]] = []
    for step in verdict.steps:
        found += [(line, "") for line in _step_lines(step)]
    if verdict.sessions:
        found += [([], ""), ([("What user space gets back", "title")], "")]
    for session in verdict.sessions:
        lost = sum(1 for file in session.files if file.result not in ("ok", "not-judged"))
        glyph, token = ("✓", "added") if session.retrieved and not lost else ("✗", "error")
        path = f"/LUO/sessions[{quote_key(session.name)}]"
        state = "retrieved" if session.retrieved else "not retrieved"
        line: Line = [(f" {glyph} ", token), (f"{visible(session.name):<24} ", "name")]
        line.append((f"{state}, {count_text(len(session.files), 'file')}", "text"))
        if lost:
            line.append((f", {lost} lost", "error"))
        found.append((line, path))
        for file in session.files:
            good = {"ok": "added", "not-judged": "dim"}.get(file.result, "error")
            piece: Line = [(f"     {visible(file.token):<22} ", "key"), (file.result, good)]
            found.append((piece, f"{path}/files[{file.token}]"))
    return found


def _step_lines(step: Step) -> list[Line]:
    line: Line = [
        (f" {GLYPHS[step.outcome]} ", TOKENS[step.outcome]),
        (f"{step.stage:<16} ", "name"),
        (f"{step.outcome:<11} ", TOKENS[step.outcome]),
        (visible(step.why), "text"),
    ]
    if step.unseen is not None:
        line.append((f"  needs what is {step.unseen}", "dim"))
    return [line, *([("     ", ""), (visible(text), "string")] for text in step.console)]


def command_line(session: Session, release: str) -> str:
    """The command that gives the same verdict."""
    return f"khotool check {session.image.info.path} --kernel {release}"
