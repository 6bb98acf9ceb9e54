"""Dependencies as a tree, as DOT for graphviz, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from khotool.document.dump import head
from khotool.render.lines import Line
from khotool.render.text import plural, visible
from khotool.view.dependencies import Dependencies, Need

MAX_LINES = 2000
"""Lines of a tree; DOT and JSON have everything."""


def graph_document(found: Dependencies) -> dict[str, Any]:
    """``khotool.graph/1``."""
    place = {path: number for number, path in enumerate(found.order, 1)}
    return {
        **head("graph"),
        "nodes": [
            {"path": path, "label": label, "position": place.get(path)}
            for path, label in found.labels.items()
        ],
        "edges": [
            {"from": need.path, "to": need.other, "why": str(need.why)} for need in found.needs
        ],
        "cycles": found.cycles,
    }


def graph_lines(found: Dependencies) -> Iterator[Line]:
    """A tree for each file or object that nothing needs, then the cycles and a total."""
    place = {path: number for number, path in enumerate(found.order, 1)}
    width = len(str(len(place)))
    needs = found.by_path()
    shown: set[str] = set()
    left = MAX_LINES
    for top in found.tops():
        stack: list[tuple[str, str, str, Need | None]] = [(top, "", "", None)]
        while stack:
            if not left:
                yield Line([("... more; --json and --dot have all of it", "dim")])
                return
            left -= 1
            path, lead, below, need = stack.pop()
            again = path in shown and bool(needs[path])
            number = str(place.get(path, "-")).rjust(width)
            line = Line(lead=f"{number}  {lead}", hang=" " * (width + 2) + below + "    ")
            line.add(visible(path), "entry")
            if not path.endswith(found.labels[path]):
                line.add(f"  {visible(found.labels[path])}", "format")
            if need is not None:
                line.add(f"  {need.why}", "dim")
            yield line.add("  (shown above)", "dim") if again else line
            if again:
                continue
            shown.add(path)
            for index, inner in enumerate(reversed(needs[path])):
                last = index == 0
                lead = below + ("└── " if last else "├── ")
                stack.append((inner.other, lead, below + ("    " if last else "│   "), inner))
    yield Line()
    for circle in found.cycles:
        text = " -> ".join(visible(path) for path in (*circle, circle[0]))
        yield Line([("cycle  ", "error"), (text, "")], hang=" " * 7)
    total = f"{plural(len(found.labels), 'node')}, {plural(len(found.needs), 'edge')}"
    yield Line([(f"{total}, {plural(len(found.cycles), 'cycle')}", "name")])


def graph_dot(found: Dependencies) -> str:
    """A directed graph; an arrow leads from what needs to what is needed."""
    place = {path: number for number, path in enumerate(found.order, 1)}
    lines = ["digraph handover {", "  rankdir=LR; node [shape=box];"]
    for path, label in found.labels.items():
        text = f"{path}\n{label}" + (f"\n{place[path]}" if path in place else "")
        lines.append(f"  {_quoted(path)} [label={_quoted(text)}];")
    lines += [
        f"  {_quoted(need.path)} -> {_quoted(need.other)} [label={_quoted(need.why)}];"
        for need in found.needs
    ]
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    lines = (visible(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'
