"""The catalogue of rules, and one rule, as text and JSON."""

from __future__ import annotations

from collections.abc import Iterator

from khotool.check.catalogue import FAMILIES, Rule, rules
from khotool.render.lines import Line


def rule_json(rule: Rule) -> dict[str, str]:
    """One rule."""
    return {
        "id": rule.id,
        "slug": rule.slug,
        "severity": str(rule.severity),
        "what": rule.what,
        "why": rule.why,
        "example": rule.example,
        "do": rule.do,
    }


def rules_lines() -> Iterator[Line]:
    """All rules by family."""
    for family, title in FAMILIES.items():
        yield Line().add(f"{family}  {title}", "name")
        for rule in rules().values():
            if rule.id.startswith(family):
                line = Line(lead="  ", hang=" " * 46).add(f"{rule.id}  ", "label")
                line.add(f"{rule.severity:<8} ", "dim").add(f"{rule.slug:<27} ")
                yield line.add(rule.what, "dim")


def rule_lines(rule: Rule) -> Iterator[Line]:
    """One rule in full."""
    yield Line().add(f"{rule.id} {rule.slug}", "name").add(f"  {rule.severity}", "dim")
    rows = (("what", rule.what), ("why", rule.why), ("example", rule.example), ("do", rule.do))
    for label, text in rows:
        yield Line(hang=" " * 9).add(f"{label:<9}", "label").add(text)
