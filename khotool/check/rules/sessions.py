"""FLBs and limits of the live update orchestrator."""

from __future__ import annotations

from collections import Counter

from khotool.abi.definition import Definition, Kind
from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.model.image import Node

ALL = "all"
"""Instead of handlers: every file depends on an object."""


@rule("LUO504", "LUO505", "LUO506", "LUO509")
def check_flbs(context: Context) -> None:
    """References and fixed numbers of file-lifecycle-bound objects, and files without theirs."""
    luo = context.image.entry("LUO")
    flbs = luo.get("flbs") if luo is not None else None
    if flbs is None:
        return
    files = file_nodes(luo)
    handlers = Counter(str(file.value_of("handler")) for file in files)
    for flb in flbs.elements():
        name, count, data = (flb.value_of(key) for key in ("name", "count", "data"))
        definition = context.image.registry.handler(Kind.FLB, name or "")
        if definition is None:
            continue
        expected = definition.literals.get(name)
        if expected is not None and data != expected:
            context.report("LUO506", flb, f"data is {data:#x}, but {name} always has {expected:#x}")
        bound = definition.depends.get("handlers")
        if bound is not None and isinstance(count, int):
            _count(context, flb, count, dependents(bound, handlers))
    if isinstance(flbs.value, Absent) or flbs.get("target") is not None:
        context.skip("LUO509", flbs, "the objects are not captured")
        return
    _needs(context, files, {flb.value_of("name") for flb in flbs.elements()})


def dependents(bound: str, handlers: Counter[str]) -> int:
    """Files that depend on an object.

    Args:
        bound: handlers that do, or ``ALL``; handlers: number of files by handler.
    """
    return handlers.total() if bound == ALL else sum(handlers[word] for word in bound.split())


def _count(context: Context, flb: Node, count: int, number: int) -> None:
    """An object's count against the number of files that depend on it."""
    if count < number:
        context.report("LUO504", flb, f"count is {count}, but {number} files depend on it")
    elif count > number:
        context.report("LUO505", flb, f"count is {count}, but only {number} files depend on it")


def _needs(context: Context, files: list[Node], names: set[object]) -> None:
    """Files whose handler needs an object that is not there."""
    for file in files:
        definition = record_format(context, file)
        wanted = definition.depends.get("flbs", "").split() if definition is not None else []
        if wanted and not names.intersection(wanted):
            text = f"{file.value_of('handler')} needs {' or '.join(wanted)}, which does not exist"
            context.report("LUO509", file, text)


@rule("LUO508")
def check_limits(context: Context) -> None:
    """Lists that are as long as their format allows."""
    for node in context.nodes:
        definition = context.image.registry.definitions.get(node.format)
        limit = definition.limits.get(node.name) if definition is not None else None
        if limit is None or isinstance(node.value, Absent) or not node.children:
            continue
        if len(node.elements()) >= limit:
            text = f"{len(node.elements())} of at most {limit} slots are used"
            context.report("LUO508", node, text)


def file_nodes(luo: Node | None) -> list[Node]:
    """Files of all sessions, in stored order."""
    return [file for session in session_nodes(luo) for file in session.elements_of("files")]


def session_nodes(luo: Node | None) -> list[Node]:
    """Sessions in stored order."""
    return luo.elements_of("sessions") if luo is not None else []


def flb_nodes(luo: Node | None) -> list[Node]:
    """File-lifecycle-bound objects in stored order."""
    return luo.elements_of("flbs") if luo is not None else []


def record_format(context: Context, file: Node) -> Definition | None:
    """The definition of the record that a file's handle leads to; None where none is known."""
    data = file.get("data")
    return context.image.registry.definitions.get(data.format) if data is not None else None
