"""Findings and verdicts as SARIF 2.1.0, for code scanning."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from khotool.check.catalogue import rules, severity
from khotool.check.known import identity
from khotool.findings import Finding, Severity
from khotool.render.findings import Checked
from khotool.render.text import visible
from khotool.render.verdict import deciding_step, headline, loss_sentences, step_text
from khotool.version import version

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
VERDICT = "VERDICT"
"""Rule of a verdict that is not accept; no rule of the catalogue."""
VERDICT_LEVEL = {"not-judged": "warning"}
VERDICT_RULE = {
    "id": VERDICT,
    "name": "kernel-verdict",
    "shortDescription": {"text": "a kernel does not take over all of the handover"},
    "help": {"text": "see the stage that the message names; khotool check --kernel shows all"},
    "defaultConfiguration": {"level": "error"},
}


def sarif_document(images: Sequence[Checked], home: str = "") -> dict[str, Any]:
    """One run over all images.

    Args:
        home: where the project is, a URI; empty for none.
    """
    used = sorted({finding.rule for checked in images for finding in checked.findings})
    driver: dict[str, Any] = {"name": "khotool", "version": version()}
    if home:
        driver["informationUri"] = home
    driver["rules"] = [*map(_rule, used), VERDICT_RULE]
    place = {identifier: number for number, identifier in enumerate([*used, VERDICT])}
    failed = [checked for checked in images if checked.error]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [
                    {
                        "executionSuccessful": not failed,
                        "toolExecutionNotifications": [_failure(checked) for checked in failed],
                    }
                ],
                "results": [
                    {**result, "ruleIndex": place[result["ruleId"]]}
                    for checked in images
                    for result in _results(checked)
                ],
            }
        ],
    }


def _rule(identifier: str) -> dict[str, Any]:
    rule = rules()[identifier]
    return {
        "id": identifier,
        "name": rule.slug,
        "shortDescription": {"text": rule.what},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.do},
        "defaultConfiguration": {"level": LEVEL[rule.severity]},
    }


def _failure(checked: Checked) -> dict[str, Any]:
    return {
        "level": "error",
        "message": {"text": visible("; ".join(checked.error))},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri(checked.path)}}}],
    }


def _results(checked: Checked) -> Iterator[dict[str, Any]]:
    again: Counter[str] = Counter()
    for finding in checked.findings:
        key = identity(finding)
        again[key] += 1
        yield _finding(checked.path, finding, fingerprint(key, again[key]), [])
    for item in checked.suppressed:
        note = {"kind": "external", "justification": visible(item.by.reason)}
        key = identity(item.finding)
        again[key] += 1
        yield _finding(checked.path, item.finding, fingerprint(key, again[key]), [note])
    for verdict in checked.verdicts:
        step = deciding_step(verdict)
        if step is None:
            continue
        losses = "".join(f"\nlost: {text}" for text in loss_sentences(verdict["losses"]))
        text = f"kernel {verdict['kernel']}: {headline(verdict)}; {step['stage']}: "
        outcome = verdict["outcome"]
        key = f"{VERDICT} {verdict['kernel']} {outcome} {step['stage']}"
        yield {
            "ruleId": VERDICT,
            "level": VERDICT_LEVEL.get(outcome, "error"),
            "message": {
                "text": "\n".join(map(visible, f"{text}{step_text(step)}{losses}".split("\n")))
            },
            "locations": [_location(checked.path, f"/{step['stage']}", None)],
            "partialFingerprints": {"khotool/2": fingerprint(key, 1)},
        }


def _finding(
    path: str, finding: Finding, print_: str, suppressions: list[dict[str, str]]
) -> dict[str, Any]:
    return {
        "ruleId": finding.rule,
        "level": LEVEL[severity(finding.rule)],
        "message": {"text": visible(f"{finding.path}: {finding.message}")},
        "locations": [_location(path, finding.path, finding.address)],
        "partialFingerprints": {"khotool/2": print_},
        **({"suppressions": suppressions} if suppressions else {}),
    }


def _location(path: str, logical: str, address: int | None) -> dict[str, Any]:
    physical: dict[str, Any] = {
        "artifactLocation": {"uri": uri(path)},
        # An image has no lines; a viewer that needs one shows the first.
        "region": {"startLine": 1},
    }
    # The schema has addresses as integers that JSON readers keep whole.
    if address is not None and address < 1 << 53:
        physical["address"] = {"absoluteAddress": address, "kind": "data"}
    name = visible(logical)
    return {"physicalLocation": physical, "logicalLocations": [{"fullyQualifiedName": name}]}


def fingerprint(key: str, number: int) -> str:
    """Stable over addresses: of what makes a finding the same, and which of its equals it is."""
    text = f"{key} {number}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]


def uri(path: str) -> str:
    """A path as a URI reference, percent-encoded."""
    text = quote(path.encode("utf-8", "surrogateescape"), safe="/")
    if text.startswith("/"):
        return f"file://{text}"
    return text
