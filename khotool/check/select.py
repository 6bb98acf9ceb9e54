"""Which findings count: --select, --ignore, --fail-on, --baseline."""

from __future__ import annotations

import json
from typing import Any

from khotool.check.catalogue import check_patterns, matches, severity
from khotool.errors import InputError
from khotool.findings import Finding, Severity
from khotool.memory.regular import read_regular

MAX_BASELINE = 64 << 20
THRESHOLDS = ("error", "warning", "note", "never")
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


def fingerprint(finding: Finding) -> str:
    """What makes a finding the same in two runs: rule and place, not numbers."""
    return f"{finding.rule} {finding.path}"


def baseline_document(findings: list[Finding]) -> dict[str, Any]:
    """Known findings, to be left out from now on."""
    return {
        "schema": "khotool.baseline/1",
        "known": sorted({fingerprint(finding) for finding in findings}),
    }


def read_baseline(path: str) -> set[str]:
    """Fingerprints of known findings.

    Raises:
        InputError: no such file, or not what --write-baseline writes.
    """
    what, advice = "--baseline", "write it with --write-baseline FILE"
    try:
        document = json.loads(read_regular(path, limit=MAX_BASELINE, what=what, advice=advice))
        known = document["known"]
        return {str(item) for item in known}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{what} {path}: not a baseline; {advice}") from None
