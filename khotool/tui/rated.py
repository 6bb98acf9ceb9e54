"""Findings with their severity and the texts of their rules."""

from __future__ import annotations

from khotool.check.catalogue import rules
from khotool.findings import Finding, Severity
from khotool.model.image import Node
from khotool.records import dataclass
from khotool.tui.place import Place, nearest

ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
BADGES = {
    Severity.ERROR: ("✗", "error"),
    Severity.WARNING: ("!", "warning"),
    Severity.NOTE: ("·", "note"),
}
"""Glyph and token of the worst finding of a line."""


@dataclass(frozen=True, slots=True)
class Rated:
    """A finding and how bad it is."""

    finding: Finding
    severity: Severity


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a rule says: headings and sentences."""

    title: str
    parts: tuple[tuple[str, str], ...] = ()


def rule_text(rule: str) -> RuleText:
    """Name and explanation of a rule; the id alone where the catalogue lacks it."""
    found = rules().get(rule)
    if found is None:
        return RuleText(rule)
    parts = (
        ("What", found.what),
        ("Why", found.why),
        ("Such as", found.example),
        ("Do", found.do),
    )
    return RuleText(found.slug, tuple((head, text) for head, text in parts if text))


def rate(findings: list[Finding]) -> list[Rated]:
    """Findings by severity, worst first; in the order found within one severity.

    A rule that is not in the catalogue is an error.
    """
    known = {rule.id: rule.severity for rule in rules().values()}
    rated = [Rated(finding, known.get(finding.rule, Severity.ERROR)) for finding in findings]
    return sorted(rated, key=lambda item: ORDER[item.severity])


class Badges:
    """Which nodes have findings, and which have findings below them."""

    def __init__(self, tree: Node, rated: list[Rated]) -> None:
        """Place findings on the nodes they are about."""
        self.at: dict[Place, list[Rated]] = {}
        self._below: dict[Node, Severity] = {}
        places: dict[str, Place] = {}
        for item in rated:
            path = item.finding.path
            place = places.get(path)
            if place is None:
                place = places[path] = nearest(tree, path)
            self.at.setdefault(place, []).append(item)
            node: Node | None = place.node
            while node is not None:
                worst = self._below.get(node)
                if worst is not None and ORDER[worst] <= ORDER[item.severity]:
                    break
                self._below[node] = item.severity
                node = node.parent

    def of(self, place: Place) -> list[Rated]:
        """Findings of exactly this place."""
        return self.at.get(place, [])

    def worst(self, place: Place, *, below: bool) -> Severity | None:
        """The worst finding of a place; with ``below``, of all that hangs from it, too."""
        if below and place.row < 0:
            return self._below.get(place.node)
        found = self.at.get(place)
        return found[0].severity if found else None
