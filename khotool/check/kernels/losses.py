"""Whose state is lost: every session and file that a verdict does not give back."""

from __future__ import annotations

from collections.abc import Iterator

from khotool.check.kernels.verdict import ORDER, Loss, Outcome, Step, Verdict
from khotool.check.rules.sessions import session_nodes
from khotool.model.image import Image, Node

LOST = frozenset({Outcome.PARTIAL, Outcome.CORRUPT, Outcome.IGNORE, Outcome.PANIC})
BEFORE_FILES = ("kho-root", "map", "luo", "sessions")
"""Stages whose failure takes all sessions along."""
UNHANDLED = Step("files", Outcome.PARTIAL, why="no handler takes it")


def losses_of(image: Image, verdict: Verdict) -> tuple[Loss, ...]:
    """Every file that does not come back, and every session without files that does not.

    A file that the image does not show whole is not counted as lost.
    """
    return tuple(_losses(image, verdict))


def _losses(image: Image, verdict: Verdict) -> Iterator[Loss]:
    everything = _fatal(verdict)
    steps = {step.path: step for step in verdict.steps if step.path and step.outcome in LOST}
    results = _results(verdict)
    for session in session_nodes(image.entry("LUO")):
        name = str(session.value_of("name") or "")
        files = session.elements_of("files")
        if everything is not None and not files and name:
            yield _loss(name, None, session.path, "", everything)
        for file in files:
            result = results.get((name, _token(file)), "")
            unhandled = UNHANDLED if result == "ENOENT" else None
            step = everything or steps.get(file.path, unhandled)
            if step is not None:
                yield _loss(name, file, file.path, result, step)


def _results(verdict: Verdict) -> dict[tuple[str, str], str]:
    """What retrieving gives, by the name of the session and the token of the file."""
    sessions = verdict.sessions
    return {(session.name, f.token): f.result for session in sessions for f in session.files}


def _fatal(verdict: Verdict) -> Step | None:
    """The step after which no session comes back; None if sessions are opened."""
    stopping = (Outcome.IGNORE, Outcome.PANIC)
    found = [
        step
        for step in verdict.steps
        if step.outcome in stopping or (step.stage in BEFORE_FILES and step.outcome in LOST)
    ]
    ends = [step for step in found if step.outcome in stopping or step.stage == "luo"]
    refused = bool(verdict.sessions) and not any(s.retrieved for s in verdict.sessions)
    if not ends and refused:
        ends = [step for step in found if step.stage == "sessions"]
    return max(ends, key=lambda step: ORDER[step.outcome], default=None)


def _token(file: Node) -> str:
    token = file.value_of("token")
    return f"{token:#x}" if isinstance(token, int) else ""


def _loss(session: str, file: Node | None, path: str, result: str, step: Step) -> Loss:
    handler = file.value_of("handler") if file is not None else None
    return Loss(
        session,
        _token(file) if file is not None else "",
        handler if isinstance(handler, str) else "",
        path,
        result,
        step.stage,
        step.outcome,
        step.console[0] if step.console else "",
        step.why,
    )
