"""Findings of an image with their severity, through the rule catalogue."""

from __future__ import annotations

from khotool.check.catalogue import severity
from khotool.check.run import check_image
from khotool.findings import Finding, Severity
from khotool.model.image import Image


def findings_of(image: Image) -> list[Finding]:
    """What is wrong with an image, by all rules, worst first."""
    return check_image(image)


def severity_of(rule: str) -> Severity:
    """Severity of a rule."""
    return severity(rule)


def count_by_severity(findings: list[Finding]) -> dict[str, int]:
    """Number of findings of each severity, worst first."""
    counts = {str(level): 0 for level in Severity}
    for finding in findings:
        counts[str(severity(finding.rule))] += 1
    return counts
