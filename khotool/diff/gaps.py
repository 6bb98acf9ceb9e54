"""Which parts of a model are missing because they were not read, and so are not differences."""

from __future__ import annotations

from khotool.absent import Absent, Reason
from khotool.diff.changes import NotCompared, Side, Why
from khotool.diff.fields import PARTIAL, is_unknown
from khotool.model.image import Image, Node, NodeKind, Phase
from khotool.model.path import paths_above

NOT_READ = "MEM301"
"""Finding at a pointer whose target, or a part of it, is not captured."""
STOPPED = "LIM001"
"""Finding where decoding stopped at a limit."""


def not_compared(
    path: str, old: Reason | None, new: Reason | None, *, contents: bool = False, size: int = 0
) -> NotCompared:
    """A part that is missing in the first image, the second, or both, for a reason each."""
    side = Side.BOTH if old and new else Side.FIRST if old else Side.SECOND
    return NotCompared(path, Why(old or new or Reason.UNPARSABLE), side, contents, size)


class Gaps:
    """What one image could not read.

    Args:
        limited: decoding stopped at a limit, so that anything may be missing.
        partial: the capture holds some blobs only, or the booted kernel reused memory; then a
            missing target is expected.
    """

    def __init__(self, image: Image) -> None:
        self.limited = any(finding.rule == STOPPED for finding in image.findings)
        self.partial = image.info.container in PARTIAL or image.phase is Phase.CONSUMED
        self._rules: dict[str, set[str]] = {}
        for finding in image.findings:
            self._rules.setdefault(finding.path, set()).add(finding.rule)
        self._paths = {finding.path for finding in image.findings if finding.rule == NOT_READ}

    def reason(self, node: Node) -> Reason | None:
        """Why the target of a node is missing or incomplete in the model; None if it is whole."""
        for child in node.children:
            if child.name == "target" and is_marker(child):
                reason: Reason = child.value.reason
                return reason
        return Reason.NOT_CAPTURED if self._paths and node.path in self._paths else None

    def rules(self, node: Node) -> set[str]:
        """Ids of what decoding found wrong at a node."""
        return self._rules.get(node.path, set()) if self._rules else set()


def is_marker(node: Node) -> bool:
    """True for the child in place of a missing target of a pointer."""
    return (
        node.name == "target"
        and node.kind is NodeKind.VALUE
        and node.field is None
        and node.span is None
        and isinstance(node.value, Absent)
        and is_unknown(node.value)
    )


class Hidden:
    """Owners whose pages are not comparable: some of their memory was not read."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = set(paths)
        self._above = {above for path in paths for above in paths_above(path)}

    def __contains__(self, owner: str | None) -> bool:
        if not self._paths:
            return False
        if owner is None or "/" in self._paths or owner in self._above:
            return True
        return owner in self._paths or any(above in self._paths for above in paths_above(owner))
