"""Run every rule over an image."""

from __future__ import annotations

from khotool.check.catalogue import severity
from khotool.check.context import Context, Skipped
from khotool.check.rule import checks
from khotool.findings import Finding, Severity
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
    seen: set[tuple[str, str, str]] = set()
    unique = []
    for finding in [*image.findings, *context.findings]:
        key = (finding.rule, finding.path, finding.message)
        if key not in seen:
            seen.add(key)
            unique.append(finding)
    unique.sort(key=lambda f: (ORDER[severity(f.rule)], f.rule, f.path, f.address or 0, f.message))
    return unique, sorted(context.skipped, key=lambda skip: (skip.rule, skip.path))
