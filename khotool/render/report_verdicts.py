"""Verdicts in the HTML report: the matrix of kernels, each kernel's stages, and what is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from khotool.render.html import html_table, text
from khotool.render.verdict import (
    file_text,
    headline,
    kernel_text,
    loss_sentences,
    matrix_rows,
)

TONES = dict.fromkeys(("ignore", "partial", "not-judged", "unknown"), "warn")
TONES |= {"accept": "good", "proceed": "good"}
PLAIN = ("direction", "lost")
"""Rows of the matrix that are not outcomes."""


def tone(outcome: str) -> str:
    """Class of an outcome, by how bad it is."""
    return TONES.get(outcome, "bad")


def verdict_sections(verdicts: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A section for the matrix, if there are several kernels, and one for each kernel."""
    if len(verdicts) > 1:
        yield from _matrix(verdicts)
    for verdict in verdicts:
        yield from _kernel(verdict)


def _matrix(verdicts: Sequence[dict[str, Any]]) -> Iterator[str]:
    heads, *rows = matrix_rows(verdicts)
    yield "<section><h2>Kernels</h2>"
    columns = [("Stage", False), *((name, False) for name in heads[1:])]
    yield from html_table(
        columns,
        (
            [text(row[0]), *(text(c) if row[0] in PLAIN else _outcome(c) for c in row[1:])]
            for row in rows
        ),
    )
    yield "</section>"


def _outcome(outcome: str) -> str:
    if outcome == "-":
        return '<span class="quiet">-</span>'
    return f'<span class="{tone(outcome)}">{text(outcome)}</span>'


def _kernel(verdict: dict[str, Any]) -> Iterator[str]:
    yield f"<section><h2>What kernel {text(kernel_text(verdict))} does with it</h2>"
    yield f'<p class="{tone(verdict["outcome"])}">{text(headline(verdict))}</p>'
    if "policy" in verdict:
        yield f"<p>By the policy: {_outcome(verdict['policy']['decision'])}</p>"
    if "file" in verdict:
        yield f'<p class="quiet">{text(file_text(verdict))}</p>'
    columns = (("Stage", False), ("Outcome", False), ("What it prints, or why", False))
    yield from html_table(columns, ([*_step(step)] for step in verdict["steps"]))
    losses = loss_sentences(verdict["losses"])
    if losses:
        yield f"<p>Lost:</p><ul>{''.join(f'<li>{text(loss)}</li>' for loss in losses)}</ul>"
    yield "</section>"


def _step(step: dict[str, Any]) -> Iterator[str]:
    yield text(step["stage"])
    yield _outcome(step["outcome"])
    line, why = text(step["message"]), text(step.get("why", ""))
    yield " ".join(filter(None, (f"<code>{line}</code>" if line else "", why)))
