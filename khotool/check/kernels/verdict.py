"""A verdict: what happens at each stage of the next boot, and what user space gets back."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from khotool.absent import Reason
from khotool.records import dataclass, field


class Outcome(StrEnum):
    """What becomes of a handover, from best to worst; the worst stage is the outcome of all."""

    ACCEPT = "accept"
    NOT_JUDGED = "not-judged"
    PARTIAL = "partial"
    CORRUPT = "corrupt"
    IGNORE = "ignore"
    PANIC = "panic"


ORDER = {outcome: number for number, outcome in enumerate(Outcome)}


class Unseen(StrEnum):
    """What the image does not show; the words of ``Reason``, and what no image records."""

    NOT_CAPTURED = Reason.NOT_CAPTURED
    UNREADABLE = Reason.UNREADABLE
    TRUNCATED = Reason.TRUNCATED
    UNPARSABLE = Reason.UNPARSABLE
    LIMIT = Reason.LIMIT
    CONSUMED = Reason.CONSUMED
    CONTENTS = "contents-not-captured"
    HANDLER = "handler-not-known"
    ASSUMED = "handler-assumed"
    MACHINE = "other-machine"
    LAYOUT = "other-layout"
    POSTING = "posting-not-known"


@dataclass(frozen=True, slots=True)
class Step:
    """One stage.

    Args:
        console: the lines that this kernel prints, verbatim and in order; the first is
            the decisive one. Empty where it prints none, or where the image does not say which.
        why: why it comes to this, in khotool's words.
        unseen: what would have to be in the image to judge the stage, or to judge it for certain;
            None where nothing is missing.
        path: of the file that the step is about; empty for a stage as a whole.
    """

    stage: str
    outcome: Outcome
    console: tuple[str, ...] = ()
    why: str = ""
    unseen: Unseen | None = None
    path: str = ""

    def document(self) -> dict[str, Any]:
        """As the JSON contract has it."""
        found: dict[str, Any] = {
            "stage": self.stage,
            "outcome": str(self.outcome),
            "message": self.console[0] if self.console else "",
        }
        if len(self.console) > 1:
            found["console"] = list(self.console)
        if self.why:
            found["why"] = self.why
        if self.unseen is not None:
            found["unseen"] = str(self.unseen)
        return found


@dataclass(frozen=True, slots=True)
class FileResult:
    """What retrieving one file gives: ``ok``, ``other-data``, or the name of an errno.

    A file that the image does not show whole is ``not-judged``.
    """

    token: str
    result: str


@dataclass(slots=True)
class SessionResult:
    """One session: opened or not, and its files."""

    name: str
    retrieved: bool
    files: list[FileResult] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Loss:
    """A file, or a session without files, whose state does not come back.

    Args:
        token, handler: empty where the session lists no file.
        result: as that of a file; empty where nothing gets as far as its session.
        stage: where it is lost; outcome: what becomes of the handover there.
        console: the line that the kernel prints there, or empty; why: khotool's words.
    """

    session: str
    token: str
    handler: str
    path: str
    result: str
    stage: str
    outcome: Outcome
    console: str
    why: str

    def document(self) -> dict[str, Any]:
        """As the JSON contract has it."""
        return {
            "session": self.session,
            "token": self.token or None,
            "handler": self.handler or None,
            "path": self.path,
            "result": self.result or None,
            "stage": self.stage,
            "outcome": str(self.outcome),
            "message": self.console,
            "why": self.why,
        }


@dataclass(slots=True)
class Verdict:
    """Everything a kernel does with an image."""

    kernel: str
    steps: list[Step] = field(default_factory=list)
    sessions: list[SessionResult] = field(default_factory=list)
    stopped: bool = False
    losses: tuple[Loss, ...] = ()

    def add(
        self, stage: str, outcome: Outcome, *console: str, why: str = "", path: str = ""
    ) -> None:
        """Record a stage; a panic or a root that is given up ends the walk.

        Args:
            console: lines that the kernel prints.
        """
        self.steps.append(Step(stage, outcome, console, why, path=path))
        self.stopped = self.stopped or outcome in (Outcome.PANIC, Outcome.IGNORE)

    def not_judged(self, stage: str, unseen: Unseen, why: str, path: str = "") -> None:
        """Record a stage that the image does not show."""
        self.steps.append(Step(stage, Outcome.NOT_JUDGED, (), why, unseen, path))

    def accept_unseen(self, stage: str, unseen: Unseen, why: str) -> None:
        """Record a stage that is accepted as far as the image shows it."""
        self.steps.append(Step(stage, Outcome.ACCEPT, (), why, unseen))

    def accepts(self, stage: str) -> bool:
        """True if a stage was accepted."""
        return any(s.stage == stage and s.outcome is Outcome.ACCEPT for s in self.steps)

    @property
    def outcome(self) -> Outcome:
        """The worst stage; not judged where the best that is left is a guess."""
        found = [step.outcome for step in self.steps]
        return max(found, key=ORDER.__getitem__, default=Outcome.NOT_JUDGED)

    @property
    def unseen(self) -> list[Unseen]:
        """What the image does not show, each once, in the order of the stages."""
        found = (step.unseen for step in self.steps)
        return list(dict.fromkeys(unseen for unseen in found if unseen is not None))

    def document(self) -> dict[str, Any]:
        """As the JSON contract has it."""
        return {
            "kernel": self.kernel,
            "outcome": str(self.outcome),
            "unseen": [str(unseen) for unseen in self.unseen],
            "steps": [step.document() for step in self.steps],
            "sessions": [
                {
                    "name": session.name,
                    "retrieved": session.retrieved,
                    "files": [{"token": f.token, "result": f.result} for f in session.files],
                }
                for session in self.sessions
            ],
            "losses": [loss.document() for loss in self.losses],
        }
