"""DTS text of a parsed blob, for people and for dtc."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from khotool.fdt.blob import Blob, Node, Problem, Property
from khotool.fdt.text import comment
from khotool.fdt.tree import to_pyfdt

Annotate: TypeAlias = Callable[[str, Property], str | None]

# dtc treats these as errors, or changes the tree, by default.
_DTC_NOTES = {
    "duplicate-property": "duplicate; dtc needs -f",
    "duplicate-node": "duplicate; dtc needs -f",
}


def to_dts(blob: Blob, annotate: Annotate | None = None) -> str:
    """DTS text that ``dtc -I dts -O dtb`` compiles to the same tree and the same value bytes.

    What DTS cannot say is a comment next to the item: real names that dtc does not accept,
    properties after child nodes, duplicates (``dtc -f`` keeps them), problems of
    the parse. dtc itself drops a property ``name`` that repeats its node's name, and reports
    some names and values as errors that ``-f`` overrides.

    Args:
        blob: any result of ``parse``.
        annotate: called with the path of a node and one of its properties; the text returned,
            such as ``u64 0x4d2000``, becomes a comment after the property.

    Raises:
        FdtError: nodes nest deeper than 128 levels.
    """
    by_item: dict[int, list[Problem]] = {}
    for problem in blob.problems:
        by_item.setdefault(problem.offset, []).append(problem)
    used: set[int] = set()
    meanings = _meanings(blob, annotate) if annotate is not None else {}

    def note(item: Property | Node) -> list[str]:
        notes = [meanings[id(item)]] if id(item) in meanings else []
        for problem in by_item.get(item.tag_offset, ()):
            used.add(problem.offset)
            notes.append(_DTC_NOTES.get(problem.code, problem.text))
        return notes

    text = to_pyfdt(blob, note).to_dts()
    rest = [problem for problem in blob.problems if problem.offset not in used]
    if not rest:
        return text + "\n"
    first, _, after = text.partition("\n")
    notes = [comment(f"offset {problem.offset:#x}: {problem.text}") for problem in rest]
    return "\n".join((first, *notes, after, ""))


def _meanings(blob: Blob, annotate: Annotate) -> dict[int, str]:
    """The text of ``annotate``, by identity of the property."""
    found: dict[int, str] = {}
    names: list[str] = []
    if blob.root is None:
        return found
    for depth, node in blob.root.walk():
        if depth:
            del names[depth - 1 :]
            names.append(node.name)
        properties = node.properties
        # A path may be long, so it is made only where it is used.
        path = "/" + "/".join(names) if properties else ""
        for item in properties:
            text = annotate(path, item)
            if text is not None:
                found[id(item)] = text
    return found
