"""Findings and verdicts as text, JSON, SARIF, JUnit and GitHub annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from khotool.check.catalogue import rules, severity
from khotool.check.context import Skipped
from khotool.findings import Finding, Severity
from khotool.render.lines import Line
from khotool.render.text import plural, visible
from khotool.version import version

LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
SARIF_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
STYLE = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "label"}
OUTCOME_STYLE = dict.fromkeys(("not-judged", "partial", "ignore"), "warning") | {"accept": "good"}
UNSEEN = {
    "consumed": "the handover was used up by a boot",
    "contents-not-captured": "the payload was not captured",
    "limit": "not all of it was read",
    "not-captured": "not all of it was captured",
    "truncated": "the file is cut off",
    "unparsable": "not all of it could be read",
    "unreadable": "not all of it could be read",
}
"""Why there is no verdict, by the words of the JSON."""


@dataclass(slots=True)
class Checked:
    """One checked image.

    Args:
        verdict: as the JSON contract has it, with --kernel.
        known: findings that a baseline left out.
    """

    path: str
    findings: list[Finding]
    skipped: list[Skipped] = field(default_factory=list)
    verdict: dict[str, Any] | None = None
    known: int = 0


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
    """Findings, what was skipped, verdict."""
    document: dict[str, Any] = {
        "image": checked.path,
        "findings": [finding_json(finding) for finding in checked.findings],
        "skipped": [{"rule": s.rule, "path": s.path, "why": s.why} for s in checked.skipped],
    }
    if checked.verdict is not None:
        document["verdict"] = checked.verdict
    return document


def text_lines(checked: Checked, *, concise: bool, verbose: bool) -> Iterator[Line]:
    """A report for people: each finding with its rule, place and what to do."""
    for finding in checked.findings:
        level = severity(finding.rule)
        rule = rules()[finding.rule]
        place = f" at {finding.address:#x}" if finding.address is not None else ""
        line = Line(hang="    ").add(f"{visible(finding.path)}: ", "name")
        line.add(f"{finding.rule} {rule.slug} ", STYLE[level]).add(f"{level}", STYLE[level])
        if concise:
            yield line.add(f": {visible(finding.message)}")
            continue
        yield line
        yield Line(lead="    ", hang="    ").add(f"{visible(finding.message)}{place}")
        yield Line(lead="    ", hang="    ").add("why ", "label").add(rule.why, "dim")
        yield Line(lead="    ", hang="    ").add("do  ", "label").add(rule.do)
    if checked.verdict is not None:
        yield from verdict_lines(checked.verdict)
    if verbose:
        for skip in checked.skipped:
            text = f"{skip.rule} was not applied to {visible(skip.path)}: {visible(skip.why)}"
            yield Line(hang="    ").add(text, "dim")
    yield summary_line(checked)


def verdict_lines(verdict: dict[str, Any]) -> Iterator[Line]:
    """Stage by stage, then what user space gets."""
    outcome = verdict["outcome"]
    line = Line().add(f"kernel {verdict['kernel']}: ", "name")
    line.add(outcome, OUTCOME_STYLE.get(outcome, "error"))
    if outcome == "not-judged":
        reasons = dict.fromkeys(UNSEEN[reason] for reason in verdict["unseen"])
        line.add(f": {', '.join(reasons)}")
    yield line
    for step in verdict["steps"]:
        style = OUTCOME_STYLE.get(step["outcome"], "error")
        row = Line(lead="    ", hang=" " * 32).add(f"{step['stage']:<15} ")
        row.add(f"{step['outcome']:<10} ", style)
        yield row.add(visible(step["message"] or step.get("why", "")))
    for session in verdict["sessions"]:
        lost = [f for f in session["files"] if f["result"] != "ok"]
        number = len(session["files"])
        if not session["retrieved"]:
            text = "is not given back"
        elif lost:
            shown = ", ".join(f"{f['token']}: {f['result']}" for f in lost[:8])
            text = f"{number - len(lost)} of {number} files given back; {shown}"
        else:
            text = f"{plural(number, 'file')} given back"
        yield Line(lead="    ", hang="        ").add(f"session {visible(session['name'])}: {text}")


def summary_line(checked: Checked) -> Line:
    """How many of each severity."""
    counts = dict.fromkeys(Severity, 0)
    for finding in checked.findings:
        counts[severity(finding.rule)] += 1
    known = f", {checked.known} in the baseline" if checked.known else ""
    text = ", ".join(plural(count, str(level)) for level, count in counts.items())
    return Line().add(f"{visible(checked.path)}: ", "name").add(f"{text}{known}")


def github_lines(checked: Checked) -> Iterator[str]:
    """Annotations of GitHub Actions, one a line."""
    for finding in checked.findings:
        text = f"{finding.path}: {finding.message}".replace("%", "%25")
        text = visible(text).replace("\n", "%0A")
        title = f"{finding.rule} {rules()[finding.rule].slug}"
        name = visible(checked.path).replace(",", "%2C").replace(":", "%3A")
        yield f"::{LEVEL[severity(finding.rule)]} file={name},title={title}::{text}"


def sarif_document(images: Sequence[Checked]) -> dict[str, Any]:
    """SARIF 2.1.0, for code scanning."""
    used = sorted({finding.rule for checked in images for finding in checked.findings})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "khotool",
                        "version": version(),
                        "rules": [
                            {
                                "id": identifier,
                                "name": rules()[identifier].slug,
                                "shortDescription": {"text": rules()[identifier].what},
                                "help": {"text": rules()[identifier].do},
                                "defaultConfiguration": {
                                    "level": SARIF_LEVEL[severity(identifier)]
                                },
                            }
                            for identifier in used
                        ],
                    }
                },
                "results": [
                    {
                        "ruleId": finding.rule,
                        "level": SARIF_LEVEL[severity(finding.rule)],
                        "message": {"text": visible(f"{finding.path}: {finding.message}")},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": visible(checked.path)}
                                },
                                "logicalLocations": [{"fullyQualifiedName": visible(finding.path)}],
                            }
                        ],
                    }
                    for checked in images
                    for finding in checked.findings
                ],
            }
        ],
    }


def junit_text(images: Sequence[Checked], failing: Severity | None) -> str:
    """JUnit XML: an image is a suite, a rule that fired a failed case."""
    order = {Severity.NOTE: 0, Severity.WARNING: 1, Severity.ERROR: 2}
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for checked in images:
        fired: dict[str, list[Finding]] = {}
        for finding in checked.findings:
            fired.setdefault(finding.rule, []).append(finding)
        bad = {
            rule: found
            for rule, found in fired.items()
            if failing is not None and order[severity(rule)] >= order[failing]
        }
        name = quoteattr(visible(checked.path))
        lines.append(f'<testsuite name={name} tests="{len(rules())}" failures="{len(bad)}">')
        for rule in rules().values():
            case = f'<testcase classname={name} name="{rule.id} {rule.slug}"'
            if rule.id not in bad:
                lines.append(f"{case}/>")
                continue
            text = "\n".join(visible(f"{f.path}: {f.message}") for f in bad[rule.id])
            failure = f"<failure message={quoteattr(rule.what)}>{escape(text)}</failure>"
            lines.append(f"{case}>{failure}</testcase>")
        lines.append("</testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"
