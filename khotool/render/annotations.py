"""Findings and verdicts a line each: for editors, for GitHub Actions, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from khotool.check.catalogue import rules, severity
from khotool.findings import Severity
from khotool.render.findings import Checked, totals_line
from khotool.render.markdown import cell, table
from khotool.render.text import plural, visible
from khotool.render.verdict import (
    deciding_step,
    headline,
    kernel_text,
    loss_sentences,
    matrix_rows,
    step_text,
)

LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
MOST_ROWS = 100
"""Findings of one image that Markdown shows."""


def concise_lines(checked: Checked) -> Iterator[str]:
    """``image:path: RULE message``, one line each, never wrapped; verdicts in the place of a rule.

    Colons in the name of the image are ``%3A``, so that the first one ends it.
    """
    name = visible(checked.path).replace("%", "%25").replace(":", "%3A")
    for text in checked.error:
        yield f"{name}:/: ERROR {visible(text)}"
    for finding in checked.findings:
        yield f"{name}:{visible(finding.path)}: {finding.rule} {visible(finding.message)}"
    for verdict in checked.verdicts:
        step = deciding_step(verdict)
        text = f"{name}:/: VERDICT kernel {visible(verdict['kernel'])}: {headline(verdict)}"
        yield f"{text}; {step['stage']}: {visible(step_text(step))}" if step is not None else text


# -- GitHub Actions --------------------------------------------------------------------------


def github_lines(checked: Checked) -> Iterator[str]:
    """Workflow commands of GitHub Actions, one a line."""
    name = checked.path
    for text in checked.error:
        yield command("error", name, "not read", text)
    for finding in checked.findings:
        title = f"{finding.rule} {rules()[finding.rule].slug}"
        level = LEVEL[severity(finding.rule)]
        yield command(level, name, title, f"{finding.path}: {finding.message}")
    for verdict in checked.verdicts:
        step = deciding_step(verdict)
        words = [f"{headline(verdict)}"]
        if step is not None:
            words[0] += f"; {step['stage']}: {step_text(step)}"
        words += [f"lost: {text}" for text in loss_sentences(verdict["losses"])]
        level = {"accept": "notice", "not-judged": "warning"}.get(verdict["outcome"], "error")
        yield command(level, name, f"kernel {verdict['kernel']}", "\n".join(words))


def command(level: str, name: str, title: str, text: str) -> str:
    """One workflow command; what would end a property or the line is percent-encoded."""
    body = "%0A".join(visible(line).replace("%", "%25") for line in text.split("\n"))
    return f"::{level} file={_property(name)},title={_property(title)}::{body}"


def _property(text: str) -> str:
    found = visible(text).replace("%", "%25")
    return found.replace(":", "%3A").replace(",", "%2C")


# -- Markdown --------------------------------------------------------------------------------


def markdown_lines(images: Sequence[Checked]) -> Iterator[str]:
    """A page for a merge request or a job's summary."""
    yield "# khotool check"
    yield ""
    if len(images) > 1:
        yield cell("".join(text for text, _ in totals_line(images).segments))
        yield ""
    for checked in images:
        yield from _image_lines(checked)


def _image_lines(checked: Checked) -> Iterator[str]:
    yield f"## {cell(checked.path)}"
    yield ""
    if checked.error:
        yield from (f"**Not read:** {cell(text)}" for text in checked.error)
        yield ""
        return
    if checked.verdicts:
        yield from _verdict_lines(checked)
    if not checked.findings:
        yield "No findings."
    else:
        rows = [
            [str(severity(f.rule)), f"{f.rule} {rules()[f.rule].slug}", f.path, f.message]
            for f in checked.findings[:MOST_ROWS]
        ]
        yield from table(["severity", "rule", "path", "finding"], rows)
        left = len(checked.findings) - len(rows)
        if left > 0:
            yield ""
            yield f"{plural(left, 'more finding')}."
    yield ""


def _verdict_lines(checked: Checked) -> Iterator[str]:
    matrix = matrix_rows(checked.verdicts)
    yield from table(["stage", *matrix[0][1:]], matrix[1:])
    yield ""
    for verdict in checked.verdicts:
        step = deciding_step(verdict)
        if step is not None:
            text = f"{kernel_text(verdict)}: {headline(verdict)}; {step['stage']}: "
            yield f"- {cell(text + step_text(step))}"
        yield from (f"- lost: {cell(text)}" for text in loss_sentences(verdict["losses"]))
    yield ""
