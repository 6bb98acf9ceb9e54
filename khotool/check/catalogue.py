"""The rules: their texts and severities, from ``catalogue.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from khotool.errors import UsageError
from khotool.findings import Finding, Severity
from khotool.records import dataclass
from khotool.structured.mistake import suggestion

FAMILIES = {
    "FDT": "device tree containers",
    "KHO": "root and entries",
    "MEM": "addresses and preservation",
    "REC": "records in general",
    "LUO": "sessions, files and FLBs",
    "HND": "what handlers carry",
    "ABI": "versions",
    "LIM": "limits of this reader",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Args:
        id: stable id, such as ``MEM302``.
        slug: stable name, such as ``referenced-not-preserved``.
        what, why, example, do: a sentence each, without capital and full stop.
    """

    id: str
    slug: str
    severity: Severity
    what: str
    why: str
    example: str
    do: str


@cache
def rules() -> dict[str, Rule]:
    """All rules by id, in order of their ids."""
    text = files("khotool.check").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {
        identifier: Rule(identifier, **data | {"severity": Severity(data["severity"])})
        for identifier, data in sorted(tomllib.loads(text).items())
    }


def find_rule(name: str) -> Rule:
    """A rule by id or slug, in any case.

    Raises:
        UsageError: there is none; names the nearest.
    """
    known = rules()
    by_name = {rule.id.lower(): rule for rule in known.values()}
    by_name |= {rule.slug: rule for rule in known.values()}
    found = by_name.get(name.lower())
    if found is None:
        raise UsageError(f"unknown rule {name!r}{_hint(name)}")
    return found


def severity(identifier: str) -> Severity:
    """Severity of a rule."""
    return rules()[identifier].severity


def count_by_severity(findings: list[Finding]) -> dict[str, int]:
    """Number of findings of each severity, worst first."""
    counts = {str(level): 0 for level in Severity}
    for finding in findings:
        counts[str(severity(finding.rule))] += 1
    return counts


def matches(identifier: str, pattern: str) -> bool:
    """True if a pattern of --select or --ignore means a rule: id, beginning of an id, or slug."""
    rule = rules()[identifier]
    return identifier.startswith(pattern.upper()) or rule.slug == pattern.lower()


def check_patterns(patterns: list[str]) -> None:
    """Refuse patterns that mean no rule.

    Raises:
        UsageError: names the pattern.
    """
    for pattern in patterns:
        if pattern.upper() != "ALL" and not any(matches(rule, pattern) for rule in rules()):
            raise UsageError(f"unknown rule {pattern!r}{_hint(pattern)}")


def _hint(name: str) -> str:
    """The rules that a name may mean, else where rules are listed."""
    begun = [rule for rule in rules() if name and rule.startswith(name.upper())]
    if begun:
        return f"; there is {', '.join(begun)}"
    known = [word for rule in rules().values() for word in (rule.id, rule.slug)]
    near = suggestion(name.upper(), known, near=True) or suggestion(name.lower(), known, near=True)
    return near or "; 'khotool rules' lists them"
