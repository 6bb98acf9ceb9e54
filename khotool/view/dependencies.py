"""What files, devices and file-lifecycle-bound objects need of each other."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter

from khotool.absent import Absent
from khotool.model.image import Image, Node
from khotool.records import dataclass, field
from khotool.view.luo import Luo

MAX_CYCLES = 20
"""Cycles that are listed; edges of further ones stay in the graph."""
ALL = "all"
"""In place of handlers: every file depends on the object."""


class Why(StrEnum):
    """Why one file or object needs another."""

    HANDLER = "handler"
    """Its definition says that files of the handler use the object."""
    REFERENCE = "reference"
    """One of its values names the other."""
    PART = "part"
    """The other is a record of it."""


@dataclass(frozen=True, slots=True)
class Need:
    """A file or object needs another.

    Args:
        path: of what needs; other: of what is needed.
    """

    path: str
    other: str
    why: Why


@dataclass(slots=True)
class Dependencies:
    """Files, objects and records, and what each needs.

    Args:
        labels: handler, name or key by path; untrusted text.
        needs: distinct, in the order of the image.
        order: paths in an order of restore: what is needed comes first. Without cycles.
        cycles: paths that need each other in a circle, each from its lowest path on.
    """

    labels: dict[str, str] = field(default_factory=dict)
    needs: list[Need] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    cycles: list[list[str]] = field(default_factory=list)

    def by_path(self) -> dict[str, list[Need]]:
        """What each needs."""
        found: dict[str, list[Need]] = {path: [] for path in self.labels}
        for need in self.needs:
            found[need.path].append(need)
        return found

    def tops(self) -> list[str]:
        """What nothing needs, in the order of the image, and where each cycle begins."""
        needed = {need.other for need in self.needs}
        begun = {circle[0] for circle in self.cycles}
        return [path for path in self.labels if path not in needed or path in begun]


def dependencies(image: Image) -> Dependencies:
    """What an image's files and objects need of each other."""
    luo = Luo(image)
    found = Dependencies()
    tops: dict[str, Node] = {}
    for flb in luo.flbs:
        found.labels[flb.path] = _text(flb.name)
        tops[flb.path] = flb.node
    for file in luo.all_files():
        found.labels[file.path] = _text(file.handler)
        tops[file.path] = file.node
    needs = [*_by_definition(luo), *_by_reference(tops)]
    needs += list(_parts(needs, tops))
    for need in dict.fromkeys(needs):
        if need.path == need.other:
            continue
        for path in (need.path, need.other):
            found.labels.setdefault(path, path.rpartition("/")[2])
        found.needs.append(need)
    _sort(found)
    return found


def _text(name: str | Absent) -> str:
    return str(name.reason) if isinstance(name, Absent) else name


def _by_definition(luo: Luo) -> Iterator[Need]:
    """Objects that files need, by the definitions of either."""
    flbs = [(flb.path, _text(flb.name), flb.definitions) for flb in luo.flbs]
    for file in luo.all_files():
        definition = file.definition
        wanted = definition.depends.get("flbs", "").split() if definition is not None else []
        for path, name, definitions in flbs:
            bound = [word for d in definitions for word in d.depends.get("handlers", "").split()]
            if name in wanted or ALL in bound or _text(file.handler) in bound:
                yield Need(file.path, path, Why.HANDLER)


def _by_reference(tops: dict[str, Node]) -> Iterator[Need]:
    """Values that name a record elsewhere; the record itself is what is needed."""
    for top, node in tops.items():
        stack = [(top, node)]
        while stack:
            owner, part = stack.pop()
            if part.reference:
                yield Need(owner, part.reference, Why.REFERENCE)
            # A record in a list is a node of the graph itself if it refers to another.
            stack += [
                (child.path if _names_another(child) else owner, child)
                for child in reversed(part.children)
            ]


def _parts(needs: list[Need], tops: dict[str, Node]) -> Iterator[Need]:
    """Records that need or are needed are parts of the file or object that they are in."""
    for need in needs:
        for path in (need.path, need.other):
            at = path.find("/data/")
            if at > 0 and path[:at] in tops:
                yield Need(path[:at], path, Why.PART)


def _names_another(node: Node) -> bool:
    return node.key is not None and any(child.reference for child in node.children)


def _sort(found: Dependencies) -> None:
    graph = {path: {need.other for need in needs} for path, needs in found.by_path().items()}
    inside: set[str] = set()
    while True:
        try:
            order = list(TopologicalSorter(_sorted(graph)).static_order())
            break
        except CycleError as error:
            # Each names the one before it; the first is repeated at the end.
            circle = [str(path) for path in reversed(error.args[1][1:])]
            if len(found.cycles) >= MAX_CYCLES:
                order = []
                break
            at = circle.index(min(circle))
            circle = circle[at:] + circle[:at]
            found.cycles.append(circle)
            inside.update(circle)
            graph[circle[0]].discard(circle[1 % len(circle)])
    found.order = [path for path in order if path not in inside]


def _sorted(graph: dict[str, set[str]]) -> dict[str, list[str]]:
    """The graph with needs in a fixed order, so that results are deterministic."""
    return {path: sorted(others) for path, others in graph.items()}
