"""Results of ``khotool check`` as text and JSON; each other format is a module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from khotool.check.catalogue import rules, severity
from khotool.check.context import Skipped
from khotool.check.known import Suppressed
from khotool.findings import Finding, Severity
from khotool.records import dataclass, field
from khotool.render.lines import Line
from khotool.render.text import plural, visible
from khotool.render.verdict import verdicts_lines

STYLE = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "label"}
SHOWN = 8
"""Findings of one rule that text shows; -v shows all."""


@dataclass(slots=True)
class Checked:
    """One checked image, or the reason why it could not be checked.

    Args:
        verdicts: as the JSON contract has them, one for each --kernel.
        known: findings that a baseline left out.
        suppressed: findings that a suppression left out.
        error: lines that say why the image could not be read; none if it was.
        exit_code: of the error.
    """

    path: str
    findings: list[Finding] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    known: int = 0
    suppressed: list[Suppressed] = field(default_factory=list)
    error: tuple[str, ...] = ()
    exit_code: int = 0


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding as the contract has it."""
    return {
        "rule": finding.rule,
        "slug": rules()[finding.rule].slug,
        "severity": str(severity(finding.rule)),
        "path": finding.path,
        "address": hex(finding.address) if finding.address is not None else None,
        "message": finding.message,
        "data": dict(finding.data),
    }


def checked_json(checked: Checked) -> dict[str, Any]:
    """Findings, what was skipped or left out, verdicts."""
    if checked.error:
        return {"image": checked.path, "error": "\n".join(checked.error)}
    document: dict[str, Any] = {
        "image": checked.path,
        "findings": [finding_json(finding) for finding in checked.findings],
        "skipped": [{"rule": s.rule, "path": s.path, "why": s.why} for s in checked.skipped],
    }
    if checked.known:
        document["known"] = checked.known
    if checked.suppressed:
        document["suppressed"] = [
            {**finding_json(item.finding), "suppression": item.by.document()}
            for item in checked.suppressed
        ]
    if len(checked.verdicts) == 1:
        document["verdict"] = checked.verdicts[0]
    elif checked.verdicts:
        document["verdicts"] = checked.verdicts
    return document


def totals_json(images: Sequence[Checked]) -> dict[str, Any]:
    """Counts over all images."""
    outcomes: dict[str, Counter[str]] = {}
    for checked in images:
        for verdict in checked.verdicts:
            outcomes.setdefault(verdict["kernel"], Counter())[verdict["outcome"]] += 1
    counts = Counter(str(severity(f.rule)) for checked in images for f in checked.findings)
    return {
        "images": len(images),
        "not_read": sum(bool(checked.error) for checked in images),
        "findings": {str(level): counts[str(level)] for level in Severity},
        "verdicts": {kernel: dict(sorted(found.items())) for kernel, found in outcomes.items()},
    }


def text_lines(checked: Checked, *, verbose: bool) -> Iterator[Line]:
    """A report for people: each finding with its rule, place and what to do."""
    if checked.error:
        for text in checked.error:
            yield Line(hang="    ").add("not read: ", "error").add(visible(text))
        return
    for _, same in groupby(checked.findings, key=lambda finding: finding.rule):
        yield from _group_lines(list(same), verbose=verbose)
    yield from verdicts_lines(checked.verdicts, verbose=verbose)
    if verbose:
        for skip in checked.skipped:
            text = f"{skip.rule} was not applied to {visible(skip.path)}: {visible(skip.why)}"
            yield Line(hang="    ").add(text, "dim")
        for item in checked.suppressed:
            text = f"{item.finding.rule} {visible(item.finding.path)} is suppressed until"
            yield Line(hang="    ").add(f"{text} {item.by.until}: {visible(item.by.reason)}", "dim")
    yield summary_line(checked)


def _group_lines(findings: list[Finding], *, verbose: bool) -> Iterator[Line]:
    """Findings of one rule: why and what to do once, after all places."""
    rule = rules()[findings[0].rule]
    level = severity(rule.id)
    shown = findings if verbose else findings[:SHOWN]
    for finding in shown:
        place = f" at {finding.address:#x}" if finding.address is not None else ""
        line = Line(hang="    ").add(f"{visible(finding.path)}: ", "name")
        yield line.add(f"{rule.id} {rule.slug} {level}", STYLE[level])
        yield Line(lead="    ", hang="    ").add(f"{visible(finding.message)}{place}")
    if len(shown) < len(findings):
        left = f"{len(findings) - len(shown)} more of {rule.id}; -v shows all"
        yield Line(lead="    ", hang="    ").add(left, "dim")
    yield Line(lead="    ", hang="    ").add("why ", "label").add(rule.why, "dim")
    yield Line(lead="    ", hang="    ").add("do  ", "label").add(rule.do)


def summary_line(checked: Checked) -> Line:
    """How many of each severity."""
    counts = dict.fromkeys(Severity, 0)
    for finding in checked.findings:
        counts[severity(finding.rule)] += 1
    known = f", {checked.known} in the baseline" if checked.known else ""
    known += f", {len(checked.suppressed)} suppressed" if checked.suppressed else ""
    text = ", ".join(plural(count, str(level)) for level, count in counts.items())
    return Line().add(f"{visible(checked.path)}: ", "name").add(f"{text}{known}")


def totals_line(images: Sequence[Checked]) -> Line:
    """One line over all images of a batch."""
    totals = totals_json(images)
    parts = [plural(count, level) for level, count in totals["findings"].items()]
    if totals["not_read"]:
        parts.append(f"{totals['not_read']} not read")
    for kernel, found in totals["verdicts"].items():
        shown = ", ".join(f"{count} {outcome}" for outcome, count in found.items())
        parts.append(f"kernel {kernel}: {shown}")
    text = f"{plural(len(images), 'image')}: "
    return Line(hang="    ").add(text, "name").add("; ".join(parts))
