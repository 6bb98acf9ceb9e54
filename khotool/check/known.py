"""Findings that are known: of a baseline, or suppressed for a reason and a time."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from khotool.check.catalogue import check_patterns, matches
from khotool.errors import InputError
from khotool.findings import Finding
from khotool.memory.regular import read_regular
from khotool.records import dataclass
from khotool.structured import Table, read_document

Identity = str
BASELINE = "khotool.baseline/2"
MOST_BYTES = 64 << 20
"""Bytes of a baseline or a file of suppressions that are read."""


def identity(finding: Finding) -> Identity:
    """What makes a finding the same in two runs: rule, path and numbers, but no address."""
    data = {
        key: value
        for key, value in finding.data.items()
        if not (isinstance(value, str) and value.startswith("0x"))
    }
    return json.dumps([finding.rule, finding.path, data], sort_keys=True)


def baseline_document(images: Iterable[list[Finding]]) -> dict[str, Any]:
    """Known findings, each with how often one image has it, to be left out from now on."""
    most: Counter[Identity] = Counter()
    for findings in images:
        most |= Counter(map(identity, findings))
    rows = []
    for text, count in sorted(most.items()):
        rule, path, data = json.loads(text)
        rows.append({"rule": rule, "path": path, "data": data, "count": count})
    return {"schema": BASELINE, "known": rows}


def read_baseline(path: str) -> Counter[Identity]:
    """Known findings, and how often an image may have each.

    Raises:
        InputError: no such file, or not what --write-baseline writes.
    """
    again = "write it with --write-baseline FILE"
    known: Counter[Identity] = Counter()
    try:
        document = json.loads(read_regular(path, limit=MOST_BYTES, what="--baseline", advice=again))
        if document["schema"] != BASELINE:
            raise InputError(f"--baseline {path}: not of {BASELINE}; {again} again")
        for row in document["known"]:
            finding = Finding(str(row["rule"]), str(row["path"]), "", None, dict(row["data"]))
            known[identity(finding)] += int(row["count"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"--baseline {path}: not a baseline; {again}") from None
    return known


def new_findings(findings: list[Finding], known: Counter[Identity]) -> list[Finding]:
    """Findings that a baseline does not list, or not as often as this."""
    left = Counter(known)
    new = []
    for finding in findings:
        key = identity(finding)
        if left[key] > 0:
            left[key] -= 1
        else:
            new.append(finding)
    return new


@dataclass(frozen=True, slots=True)
class Suppression:
    """Findings that were accepted, each with a reason.

    Args:
        rule: id, beginning of an id, or slug.
        path: pattern of paths, ``*`` for any text; a bracket matches itself.
        reason: why; until: last day on which it holds.
        most: as many findings of one image; 0 for any number.
    """

    rule: str
    path: str
    reason: str
    until: datetime.date
    most: int = 0

    def covers(self, finding: Finding) -> bool:
        """True if it is about a finding."""
        pattern = self.path.replace("[", "[[]")
        return matches(finding.rule, self.rule) and fnmatchcase(finding.path, pattern)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "rule": self.rule,
            "path": self.path,
            "reason": self.reason,
            "until": self.until.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A finding that is left out, and why."""

    finding: Finding
    by: Suppression


def read_suppressions(path: str) -> list[Suppression]:
    """Read ``[[suppress]]`` tables of a TOML file.

    Raises:
        InputError: no such file.
        StructuredError: mistakes in it, all of them.
        UsageError: a rule that is not known.
    """
    raw = read_regular(path, limit=MOST_BYTES, what="--suppress", advice="check the path")
    document = read_document(raw, path)
    found = [_suppression(table) for table in document.root.tables("suppress")]
    document.finish()
    check_patterns([suppression.rule for suppression in found])
    return found


def _suppression(table: Table) -> Suppression:
    value = table.get("until")
    until = datetime.date.min
    if value is None:
        table.mistake("missing key 'until': the last day on which the suppression holds")
    elif type(value.raw) is datetime.date:
        until = value.raw
    else:
        value.mistake("expected a date such as 2027-01-31")
    reason = table.text("reason")
    if "reason" in table and not reason.strip():
        table.mistake("expected a reason in words")
    return Suppression(
        table.text("rule"), table.text("path", "*"), reason, until, table.integer("count", 0)
    )


def suppress(
    findings: list[Finding], suppressions: list[Suppression], today: datetime.date
) -> tuple[list[Finding], list[Suppressed]]:
    """Findings that are left, and those that a suppression covers on this day."""
    used: Counter[Suppression] = Counter()
    left, covered = [], []
    current = [item for item in suppressions if today <= item.until]
    for finding in findings:
        by = next(
            (s for s in current if s.covers(finding) and not 0 < s.most <= used[s]),
            None,
        )
        if by is None:
            left.append(finding)
        else:
            used[by] += 1
            covered.append(Suppressed(finding, by))
    return left, covered
