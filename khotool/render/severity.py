"""Findings of an image with their severity, through the rule catalogue."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from khotool.findings import Finding, Severity
from khotool.image.model import Image

ERRORS = ("FDT", "KHO2", "MEM", "REC")


def findings_of(image: Image) -> list[Finding]:
    """What is wrong with an image: all rules where they are there, else what decoding met."""
    if find_spec("khotool.check.run") is None:
        return image.findings
    found: list[Finding] = import_module("khotool.check.run").check_image(image)
    return found


def severity_of(rule: str) -> Severity:
    """Severity of a rule."""
    if find_spec("khotool.check.catalogue") is not None:
        known: Severity = import_module("khotool.check.catalogue").severity(rule)
        return known
    if rule.startswith(ERRORS):
        return Severity.ERROR
    return Severity.WARNING if rule.startswith("ABI9") else Severity.NOTE


def count_by_severity(findings: list[Finding]) -> dict[str, int]:
    """Number of findings of each severity, worst first."""
    counts = {str(severity): 0 for severity in Severity}
    for finding in findings:
        counts[str(severity_of(finding.rule))] += 1
    return counts
