"""Run every rule over an image."""

from __future__ import annotations

from khotool.check.catalogue import severity
from khotool.check.context import Check, Context, Skipped
from khotool.check.rules import (
    devices,
    folios,
    lists,
    memory,
    mounts,
    payload,
    records,
    sessions,
    versions,
)
from khotool.findings import Finding, Severity
from khotool.model.image import Image, Phase

CHECKS: tuple[Check, ...] = (
    versions.check_headers,
    versions.check_set,
    versions.check_entries,
    versions.check_empty_map,
    records.check_fields,
    lists.check_list_ends,
    memory.check_blocks,
    memory.check_ownership,
    memory.check_scratch,
    sessions.check_flbs,
    sessions.check_limits,
    folios.check_tables,
    folios.check_empty_files,
    payload.check_regions,
    payload.check_kho_test,
    devices.check_devices,
    devices.check_domains,
    devices.check_poison,
    mounts.check_names,
    mounts.check_huge_pages,
)
ALWAYS: tuple[Check, ...] = (versions.check_headers, records.check_fields)
"""Rules that hold for what is left of a handover after a boot."""
ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def check_image(image: Image) -> list[Finding]:
    """Findings of decoding and of all rules, worst first, each once."""
    return check_with_skips(image)[0]


def check_with_skips(image: Image) -> tuple[list[Finding], list[Skipped]]:
    """Findings, and the rules that could not be applied somewhere."""
    context = Context(image)
    for check in ALWAYS if image.phase is Phase.CONSUMED else CHECKS:
        check(context)
    context.finish()
    seen: set[tuple[str, str, str]] = set()
    unique = []
    for finding in [*image.findings, *context.findings]:
        key = (finding.rule, finding.path, finding.message)
        if key not in seen:
            seen.add(key)
            unique.append(finding)
    unique.sort(key=lambda f: (ORDER[severity(f.rule)], f.rule, f.path, f.address or 0, f.message))
    return unique, context.skipped
