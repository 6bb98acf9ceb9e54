"""Findings with their severity and the texts of their rules."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from khotool.findings import Finding, Severity
from khotool.image.model import Image, Node
from khotool.tui.place import Place, nearest

ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
_MILD = ("ABI", "KHO205", "KHO206", "KHO208", "REC405", "REC406", "LIM")


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


def _catalogue() -> Any:
    name = "khotool.check.catalogue"
    return import_module(name) if find_spec(name) is not None else None


def severity_of(rule: str) -> Severity:
    """How bad a rule's findings are."""
    entry = _entry(rule)
    found = getattr(entry, "severity", None)
    if found is not None:
        return Severity(found)
    return Severity.WARNING if rule.startswith(_MILD) else Severity.ERROR


def _entry(rule: str) -> Any:
    catalogue = _catalogue()
    for name in ("RULES", "CATALOGUE", "CATALOG"):
        table = getattr(catalogue, name, None)
        if isinstance(table, dict):
            return table.get(rule)
    return None


def rule_text(rule: str) -> RuleText:
    """Title and explanation of a rule; the id alone where there is no catalogue."""
    entry = _entry(rule)
    if entry is None:
        return RuleText(rule)
    title = getattr(entry, "title", "") or getattr(entry, "slug", "") or rule
    parts = []
    for name, heading in (
        ("what", "What"), ("meaning", "What"), ("summary", "What"), ("why", "Why"),
        ("consequence", "Then"), ("do", "Do"), ("fix", "Do"), ("action", "Do"), ("doc", "About"),
    ):  # fmt: skip
        text = getattr(entry, name, "")
        if isinstance(text, str) and text:
            parts.append((heading, " ".join(text.split())))
    return RuleText(str(title), tuple(parts))


def rate(findings: list[Finding]) -> list[Rated]:
    """Findings by severity, worst first; in the order found within one severity."""
    known: dict[str, Severity] = {}
    rated = []
    for finding in findings:
        if finding.rule not in known:
            known[finding.rule] = severity_of(finding.rule)
        rated.append(Rated(finding, known[finding.rule]))
    return sorted(rated, key=lambda item: ORDER[item.severity])


def check(image: Image) -> list[Finding]:
    """All findings of an image: those of decoding, and of the rules where there are any."""
    if find_spec("khotool.check.run") is None:
        return list(image.findings)
    found: Any = import_module("khotool.check.run").check_image(image)
    findings = getattr(found, "findings", found)
    return list(findings)


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
