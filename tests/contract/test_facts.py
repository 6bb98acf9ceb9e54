"""Facts travel as types: text made for people is read by nobody but what shows it."""

from __future__ import annotations

import ast

from tests.contract.repository import ROOT, modules

SHOWN_BY = ("cli", "render", "tui")
PROSE = ("message", "note")

ALLOWED: dict[str, str] = {
    "khotool/fleet/examine.py:_finding": "a column of a table has the text of a finding",
    "khotool/findings.py:sort_key": "the last of the keys by which findings are ordered",
    "khotool/fixture/recipe.py:_check_rules": "what a recipe did not expect is shown",
    "khotool/structured/mistake.py:__str__": "the text of an error",
}
"""Reads of prose elsewhere, by file and function, each with its reason."""


def reads_of_prose() -> dict[str, list[int]]:
    """Lines that read ``.message`` or ``.note``, by file and function."""
    found: dict[str, list[int]] = {}
    for path in modules():
        room = path.relative_to(ROOT / "khotool").parts[0]
        if room in SHOWN_BY:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        stack: list[tuple[ast.AST, str]] = [(tree, "")]
        while stack:
            node, function = stack.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                function = node.name
            if (
                isinstance(node, ast.Attribute)
                and node.attr in PROSE
                and isinstance(node.ctx, ast.Load)
            ):
                key = f"{path.relative_to(ROOT).as_posix()}:{function}"
                found.setdefault(key, []).append(node.lineno)
            stack.extend((child, function) for child in ast.iter_child_nodes(node))
    return found


def test_nobody_reads_prose() -> None:
    """Outside cli, render and tui nothing reads a message or a note, but for what is listed."""
    assert set(reads_of_prose()) - set(ALLOWED) == set()


def test_exceptions_are_few_and_needed() -> None:
    """At most five reads, and none that is listed for nothing."""
    found = reads_of_prose()

    assert set(ALLOWED) - set(found) == set()
    assert sum(len(lines) for lines in found.values()) <= 5
