"""Which handlers have to come back: a site's policy, and the verdict by it."""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from khotool.check.kernels.verdict import Loss, Outcome, Verdict
from khotool.memory.regular import read_regular
from khotool.records import dataclass
from khotool.structured import read_document

FATAL = frozenset({Outcome.PANIC, Outcome.CORRUPT})
"""Outcomes that no policy allows: the host, or memory in use, is at risk."""

MOST_BYTES = 1 << 20
"""Bytes of a policy that are read."""


class Decision(StrEnum):
    """What a policy makes of a verdict."""

    PROCEED = "proceed"
    STOP = "stop"
    UNKNOWN = "unknown"


class Importance(StrEnum):
    """Whether a handler's state has to come back."""

    MANDATORY = "mandatory"
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True)
class Policy:
    """Handlers by importance.

    Args:
        mandatory, optional: patterns of handler strings, ``*`` for any text; of several that
            match, the longest counts, and of two of one length the mandatory one.
        otherwise: the importance of a handler that is in neither list.
    """

    mandatory: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    otherwise: Importance = Importance.MANDATORY

    def importance(self, handler: str) -> Importance:
        """Of one handler; a session without files counts as a handler of no name."""
        mandatory, optional = (
            max((len(pattern) for pattern in patterns if fnmatchcase(handler, pattern)), default=-1)
            for patterns in (self.mandatory, self.optional)
        )
        if mandatory == optional == -1:
            return self.otherwise
        return Importance.OPTIONAL if optional > mandatory else Importance.MANDATORY

    def judge(self, verdict: Verdict) -> dict[str, Any]:
        """The verdict by the policy, as the JSON contract has it."""
        lost = [x for x in verdict.losses if self.importance(x.handler) is Importance.MANDATORY]
        return {
            "decision": str(self._decide(verdict, lost)),
            "mandatory_lost": len(lost),
            "optional_lost": len(verdict.losses) - len(lost),
        }

    def _decide(self, verdict: Verdict, lost: list[Loss]) -> Decision:
        if verdict.outcome in FATAL or lost:
            return Decision.STOP
        if any(step.outcome is Outcome.NOT_JUDGED for step in verdict.steps):
            return Decision.UNKNOWN
        return Decision.PROCEED


def read_policy(path: str) -> Policy:
    """Read a policy: ``mandatory`` and ``optional``, lists of handlers, and ``otherwise``.

    Raises:
        InputError: no such file.
        StructuredError: mistakes in it, all of them.
    """
    raw = read_regular(path, limit=MOST_BYTES, what="--policy", advice="check the path")
    document = read_document(raw, path)
    table = document.root
    found = Policy(
        table.texts("mandatory"),
        table.texts("optional"),
        Importance(table.choice("otherwise", tuple(Importance), Importance.MANDATORY)),
    )
    document.finish()
    return found
