"""Findings and verdicts as JUnit XML: an image is a suite, a rule and a kernel are test cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from khotool.check.catalogue import Rule, rules, severity
from khotool.findings import Finding, Severity
from khotool.render.findings import Checked
from khotool.render.text import visible
from khotool.render.verdict import headline, loss_sentences, step_text

ORDER = {Severity.NOTE: 0, Severity.WARNING: 1, Severity.ERROR: 2}


def junit_text(images: Sequence[Checked], failing: Severity | None) -> str:
    """The document.

    Args:
        failing: lowest severity that fails a case; None if nothing fails, verdicts included.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for checked in images:
        lines += _suite(checked, failing)
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _suite(checked: Checked, failing: Severity | None) -> Iterator[str]:
    name = attribute(checked.path)
    if checked.error:
        cases = [_case(name, "open", "error", "the image could not be read", checked.error)]
    else:
        fired: dict[str, list[Finding]] = {}
        for finding in checked.findings:
            fired.setdefault(finding.rule, []).append(finding)
        skipped: dict[str, list[str]] = {}
        for skip in checked.skipped:
            skipped.setdefault(skip.rule, []).append(f"{skip.path}: {skip.why}")
        cases = [
            _rule_case(name, rule, fired.get(rule.id, []), skipped.get(rule.id, []), failing)
            for rule in rules().values()
        ]
        cases += _verdict_cases(name, checked, fails=failing is not None)
    kinds = [kind for kind, _ in cases]
    counts = " ".join(
        f'{label}="{kinds.count(kind)}"'
        for label, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    )
    yield f'<testsuite name={name} tests="{len(cases)}" {counts}>'
    yield from (text for _, text in cases)
    yield "</testsuite>"


def _rule_case(
    name: str, rule: Rule, found: list[Finding], skipped: list[str], failing: Severity | None
) -> tuple[str, str]:
    title = f"{rule.id} {rule.slug}"
    if found and failing is not None and ORDER[severity(rule.id)] >= ORDER[failing]:
        return _case(name, title, "failure", rule.what, [f"{f.path}: {f.message}" for f in found])
    if found:
        return _case(name, title, "", "", [f"{f.path}: {f.message}" for f in found])
    if skipped:
        return _case(name, title, "skipped", skipped[0], ())
    return _case(name, title, "", "", ())


def _verdict_cases(name: str, checked: Checked, *, fails: bool) -> Iterator[tuple[str, str]]:
    """The verdict of each kernel, and each of its stages."""
    for verdict in checked.verdicts:
        kernel = f"kernel {verdict['kernel']}"
        outcome = verdict["outcome"]
        kind = "" if outcome == "accept" else "failure" if fails else ""
        text = [headline(verdict), *loss_sentences(verdict["losses"])]
        yield _case(name, kernel, kind, f"{kernel}: {outcome}", text if outcome != "accept" else ())
        for number, step in enumerate(verdict["steps"], 1):
            what = step["outcome"]
            kind = {"accept": "", "not-judged": "skipped"}.get(what, "failure" if fails else "")
            words = [step_text(step)] if step_text(step) else []
            title = f"{kernel} {number} {step['stage']}"
            yield _case(name, title, kind, f"{what}: {step_text(step)}", words)


def _case(name: str, title: str, kind: str, message: str, text: Sequence[str]) -> tuple[str, str]:
    """Kind, and the case as XML; an empty kind passed, and shows its text as output."""
    head = f"<testcase classname={name} name={attribute(title)}"
    body = escape("\n".join(map(visible, text)))
    if kind == "skipped":
        return kind, f"{head}><skipped message={attribute(message)}/></testcase>"
    if kind:
        return kind, f"{head}><{kind} message={attribute(message)}>{body}</{kind}></testcase>"
    return kind, f"{head}><system-out>{body}</system-out></testcase>" if body else f"{head}/>"


def attribute(text: str) -> str:
    """Text as a quoted attribute."""
    return quoteattr(visible(text))
