"""A verdict: what happens at each stage of the next boot, and what user space gets back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """From best to worst."""

    ACCEPT = "accept"
    PARTIAL = "partial"
    IGNORE = "ignore"
    CORRUPT = "corrupt"
    PANIC = "panic"


ORDER = {outcome: number for number, outcome in enumerate(Outcome)}


@dataclass(frozen=True, slots=True)
class Step:
    """One stage.

    Args:
        message: the line that the kernel prints, empty where it prints none.
        why: why it comes to this, where the kernel says nothing.
    """

    stage: str
    outcome: Outcome
    message: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What retrieving one file gives: ``ok``, ``other-data``, or the name of an errno."""

    token: str
    result: str


@dataclass(slots=True)
class SessionResult:
    """One session: opened or not, and its files."""

    name: str
    retrieved: bool
    files: list[FileResult] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """Everything a kernel does with an image."""

    kernel: str
    steps: list[Step] = field(default_factory=list)
    sessions: list[SessionResult] = field(default_factory=list)
    stopped: bool = False

    def add(self, stage: str, outcome: Outcome, message: str = "", why: str = "") -> None:
        """Record a stage; a panic or a root that is given up ends the walk."""
        self.steps.append(Step(stage, outcome, message, why))
        self.stopped = self.stopped or outcome in (Outcome.PANIC, Outcome.IGNORE)

    @property
    def outcome(self) -> Outcome:
        """The worst stage; a root that is given up outweighs all but a panic."""
        found = [step.outcome for step in self.steps]
        if Outcome.IGNORE in found and Outcome.PANIC not in found:
            return Outcome.IGNORE
        return max(found, key=lambda outcome: ORDER[outcome], default=Outcome.ACCEPT)

    def document(self) -> dict[str, Any]:
        """As the JSON contract has it."""
        return {
            "kernel": self.kernel,
            "outcome": str(self.outcome),
            "steps": [
                {"stage": step.stage, "outcome": str(step.outcome), "message": step.message}
                | ({"why": step.why} if step.why else {})
                for step in self.steps
            ],
            "sessions": [
                {
                    "name": session.name,
                    "retrieved": session.retrieved,
                    "files": [{"token": f.token, "result": f.result} for f in session.files],
                }
                for session in self.sessions
            ],
        }
