"""What a walk writes: nodes, regions, claims, findings and choices, within a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.findings import Finding
from khotool.limits import Budget, Limits
from khotool.model.image import Choice
from khotool.model.node import UNPLACED, Node, NodeKind, NodeState
from khotool.pages.claims import ClaimsBuilder, Column
from khotool.records import dataclass, field

if TYPE_CHECKING:
    from khotool.abi.compile import CompiledStruct
    from khotool.abi.definition import Definition, Shape
    from khotool.model.region import Region


FEW = 16
"""Claims that are made one by one rather than as arrays."""


@dataclass(frozen=True, slots=True)
class Report:
    """A finding, and the node that it is about.

    Args:
        code: of the problem, where the finding is one of several of its rule.
        place: physical address, one of a blob without a place included.
    """

    finding: Finding
    node: Node
    code: str = ""
    place: int | None = None


@dataclass(slots=True)
class Recorder:
    """Takes what is decoded; hands out nothing but its own results.

    Args:
        deferred: nodes whose values name something that may be read only later, by shape.
        watch: called with every node that is charged, and the nodes so far.
    """

    limits: Limits = field(default_factory=Limits)
    tree: Node = field(default_factory=lambda: Node("", NodeKind.IMAGE))
    claims: ClaimsBuilder = field(default_factory=ClaimsBuilder)
    regions: list[Region] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    used: dict[str, Definition] = field(default_factory=dict)
    choices: dict[tuple[str, str], Choice] = field(default_factory=dict)
    deferred: dict[Shape, list[Node]] = field(default_factory=dict)
    entry_names: set[str] = field(default_factory=set)
    watch: Callable[[Node, int], None] | None = None
    budget: Budget = field(init=False)
    _shared: dict[tuple[str, int], Node] = field(default_factory=dict)
    _excused: set[tuple[str, int]] = field(default_factory=set)
    _keys: dict[int, dict[str, int]] = field(default_factory=dict)
    _structs: set[tuple[CompiledStruct, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.budget = Budget(self.limits)

    # -- findings ------------------------------------------------------------------------

    def report(
        self,
        rule: str,
        node: Node,
        message: str,
        address: int | None = None,
        *,
        code: str = "",
        **data: int | str,
    ) -> None:
        """Record a finding at a node.

        Args:
            address: physical address in bytes of what is wrong.
            code: of the problem, for machines.
            data: its numbers.
        """
        shown = None if address is not None and address >= UNPLACED else address
        if code:
            data = {"problem": code, **data}
        finding = Finding(rule, node.path, message, shown, data)
        self.reports.append(Report(finding, node, code, address))

    def excuse(self, code: str, address: int) -> None:
        """Take back findings of a code at an address: a format says that it is right there."""
        self._excused.add((code, address))

    @property
    def findings(self) -> list[Finding]:
        """Findings that no format excuses, in the order in which they were met."""
        return [report.finding for report in self.kept()]

    def kept(self) -> list[Report]:
        """Reports that no format excuses."""
        if not self._excused:
            return self.reports
        return [r for r in self.reports if (r.code, r.place) not in self._excused]

    # -- choices and definitions ---------------------------------------------------------

    def use(self, definition: Definition) -> None:
        """Note that a definition decoded something."""
        self.used.setdefault(definition.id, definition)

    def is_first(self, compiled: CompiledStruct, definition: Definition) -> bool:
        """True once for each struct, as a definition names it."""
        known = len(self._structs)
        self._structs.add((compiled, definition.id))
        return len(self._structs) > known

    def choose(self, node: Node, choice: Choice | None) -> None:
        """Keep a choice among formats, and say so where it is not certain; once for a string."""
        if choice is not None:
            self._choose(node, choice, (choice.definition, choice.layout))

    def choose_layout(self, node: Node, choice: Choice) -> None:
        """Keep a choice among the layouts of one definition; once for the definition."""
        self._choose(node, choice, (choice.definition, ""))

    def _choose(self, node: Node, choice: Choice, key: tuple[str, str]) -> None:
        if key in self.choices:
            return
        self.choices[key] = choice
        if not choice.certain:
            text = f"{choice.definition} read as {choice.layout}: {choice.why}"
            self.report("ABI903", node, text)

    def note_parts(self, node: Node, choice: Choice | None) -> None:
        """Keep that something is read by the first part of its string; None for a whole one."""
        if choice is None:
            return
        self.choices.setdefault((choice.definition, choice.layout), choice)
        if node.state is None:
            node.state = NodeState.BY_FIRST_PART
        node.remark = node.remark or f"read by the first part of {choice.definition!r:.80}"

    def layout_of(self, definition: Definition) -> Choice | None:
        """The layout chosen for a definition, if one was."""
        return self.choices.get((definition.id, ""))

    # -- claims and the budget -----------------------------------------------------------

    def claim(self, path: str, address: int, size: int, *, expected_outside: bool = False) -> None:
        """Claim ``size`` bytes at a physical address for the owner ``path``."""
        if size > 0 and address < UNPLACED:
            owner = self.claims.owner(path, expected_outside)
            self.claims.add(owner, address, address + size)

    def claim_many(
        self, path: str, starts: Any, size: Any, *, expected_outside: bool = False
    ) -> None:
        """Claim many pieces: physical addresses uint64 (n,), bytes of each."""
        owner = self.claims.owner(path, expected_outside)
        if len(starts) <= FEW and isinstance(size, int):
            for start in starts.tolist():
                if start + size < 1 << 64:
                    self.claims.add(owner, start, start + size)
            return
        ends = starts + np.asarray(size, np.uint64)
        self.claims.add_many(owner, starts, np.maximum(ends, starts))

    def claim_column(self, path: str, column: Column) -> None:
        """Claim the pages that a column of records names."""
        self.claims.add_column(self.claims.owner(path), column)

    def spend(self, node: Node, count: int = 1, size: int = 0) -> bool:
        """Charge the budget; False, and one finding, once it is used up."""
        if self.watch is not None:
            self.watch(node, self.budget.nodes)
        before = self.budget.nodes <= self.limits.nodes and self.budget.bytes <= self.limits.bytes
        if self.budget.spend(count, size):
            return True
        if before:
            self.report(
                "LIM001",
                node,
                f"stopped at {self.limits.nodes} nodes or {self.limits.bytes} bytes; "
                "raise with --limit nodes=N,bytes=N",
            )
        return False

    @property
    def nodes_left(self) -> int:
        """Nodes that the budget still allows."""
        return self.limits.nodes - self.budget.nodes

    @property
    def bytes_left(self) -> int:
        """Bytes that the budget still allows."""
        return self.limits.bytes - self.budget.bytes

    def defer(self, shape: Shape, node: Node) -> None:
        """Leave a node for ``resolve`` of its shape; once, however many of its columns ask."""
        nodes = self.deferred.setdefault(shape, [])
        if not nodes or nodes[-1] is not node:
            nodes.append(node)

    def first_of(self, struct: str, node: Node) -> Node:
        """The first pointer to the record of a struct that ``node`` leads to."""
        return self._shared.setdefault((struct, int(node.value)), node)

    # -- nodes ---------------------------------------------------------------------------

    def unique_key(self, holder: Node, key: str) -> str:
        """A key for a list element; the second element with the same key is ``key~2``."""
        taken = self._keys.setdefault(id(holder), {})
        count = taken[key] = taken.get(key, 0) + 1
        result = key
        while count > 1 and (result == key or result in taken):
            result = f"{key}~{count}"
            count += 1
        taken.setdefault(result, 1)
        taken[key] = max(taken[key], count - 1)
        return result

    def name_entry(self, node: Node) -> None:
        """Note the name of an entry; a name that is there twice is a finding."""
        if node.name in self.entry_names:
            self.report("KHO208", node, "two entries have this name")
        self.entry_names.add(node.name)
