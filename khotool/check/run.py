"""Run every rule over an image."""

from __future__ import annotations

from khotool.check.catalogue import severity
from khotool.check.context import Context, Skipped
from khotool.check.rule import checks
from khotool.findings import Finding, Severity, natural
from khotool.model.image import Image

ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def check_image(image: Image) -> list[Finding]:
    """Findings of decoding and of all rules, worst first, each once."""
    return check_with_skips(image)[0]


def check_with_skips(image: Image) -> tuple[list[Finding], list[Skipped]]:
    """Findings, and the rules that could not be applied somewhere."""
    context = Context(image)
    for check in checks():
        check.run(context)
    context.finish()
    unique = {finding.sort_key: finding for finding in [*context.findings, *image.findings]}
    findings = sorted(unique.values(), key=lambda f: (ORDER[severity(f.rule)], *f.sort_key))
    return findings, sorted(context.skipped, key=lambda skip: (skip.rule, natural(skip.path)))
