"""What a rule sees, and where it says what it found."""

from __future__ import annotations

from khotool.findings import Finding
from khotool.memory.space import MemoryFault
from khotool.model.image import UNPLACED, Image, Node, Table
from khotool.records import dataclass, field

MAX_PER_RULE = 200
"""Findings of one rule that are kept; more are counted in a last one."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A rule that could not be applied somewhere, and why."""

    rule: str
    path: str
    why: str


@dataclass(slots=True)
class Context:
    """One check of one image.

    Args:
        allowed: rules that the running function has declared; None where none is running.
    """

    image: Image
    findings: list[Finding] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    allowed: set[str] | None = None
    _nodes: list[Node] = field(default_factory=list)
    _tables: list[tuple[Node, Table]] | None = None

    @property
    def nodes(self) -> list[Node]:
        """All nodes of the image, parents first."""
        if not self._nodes:
            self._nodes = list(self.image.tree.walk())
        return self._nodes

    @property
    def tables(self) -> list[tuple[Node, Table]]:
        """Every table with rows."""
        if self._tables is None:
            found = ((node, node.table) for node in self.nodes)
            self._tables = [(node, table) for node, table in found if table]
        return self._tables

    def report(
        self,
        rule: str,
        where: Node | str,
        message: str,
        address: int | None = None,
        **data: int | str,
    ) -> None:
        """Record a finding at a node or path."""
        assert self.allowed is None or rule in self.allowed, f"{rule} is not declared here"
        count = self.counts[rule] = self.counts.get(rule, 0) + 1
        if count > MAX_PER_RULE:
            return
        if address is not None and address >= UNPLACED:
            address = None
        path = where if isinstance(where, str) else where.path
        self.findings.append(Finding(rule, path, message, address, data))

    def room(self, rule: str) -> int:
        """How many further findings of a rule are listed."""
        return max(MAX_PER_RULE - self.counts.get(rule, 0), 0)

    def leave_out(self, rule: str, count: int) -> None:
        """Count findings for which there is no room, without making them."""
        if count:
            self.counts[rule] = self.counts.get(rule, 0) + count

    def skip(self, rule: str, where: Node | str, why: str) -> None:
        """Say that a rule could not be applied."""
        self.skipped.append(Skipped(rule, where if isinstance(where, str) else where.path, why))

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes of the image; None if they were not captured."""
        try:
            return bytes(self.image.space.read(address, size))
        except (MemoryFault, OverflowError):
            return None

    def finish(self) -> None:
        """Count what was left out."""
        for rule, count in self.counts.items():
            if count > MAX_PER_RULE:
                message = f"{count - MAX_PER_RULE} more findings of this rule"
                more: dict[str, int | str] = {"more": count - MAX_PER_RULE}
                self.findings.append(Finding(rule, "/", message, None, more))
