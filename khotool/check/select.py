"""Which findings count: --select, --ignore, --fail-on."""

from __future__ import annotations

from khotool.check.catalogue import check_patterns, matches, severity
from khotool.findings import Finding, Severity

_LEVEL = {Severity.NOTE: 0, Severity.WARNING: 1, Severity.ERROR: 2}


def chosen(findings: list[Finding], select: list[str], ignore: list[str]) -> list[Finding]:
    """Findings of the rules that are selected and not ignored.

    Raises:
        UsageError: a pattern means no rule.
    """
    check_patterns([*select, *ignore])

    def wanted(finding: Finding) -> bool:
        taken = not select or any(p.upper() == "ALL" or matches(finding.rule, p) for p in select)
        return taken and not any(matches(finding.rule, pattern) for pattern in ignore)

    return [finding for finding in findings if wanted(finding)]


def fails(findings: list[Finding], threshold: str) -> bool:
    """True if a finding is at or above a threshold."""
    if threshold == "never":
        return False
    level = _LEVEL[Severity(threshold)]
    return any(_LEVEL[severity(finding.rule)] >= level for finding in findings)
