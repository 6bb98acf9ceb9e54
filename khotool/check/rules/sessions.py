"""FLBs and limits of the live update orchestrator."""

from __future__ import annotations

from khotool.abi.definition import Kind
from khotool.absent import Absent
from khotool.check.context import Context
from khotool.image.model import Node


def check_flbs(context: Context) -> None:
    """References and fixed numbers of file-lifecycle-bound objects."""
    luo = context.image.entry("LUO")
    flbs = luo.get("flbs") if luo is not None else None
    sessions = luo.get("sessions") if luo is not None else None
    if flbs is None:
        return
    files = sum(
        len(files.elements())
        for session in (sessions.elements() if sessions is not None else [])
        if (files := session.get("files")) is not None
    )
    for flb in flbs.elements():
        name, count, data = (flb.value_of(key) for key in ("name", "count", "data"))
        definition = context.image.registry.handler(Kind.FLB, name or "")
        if definition is None:
            continue
        expected = definition.literals.get(name)
        if expected is not None and data != expected:
            text = f"data is {data:#x}, {name} always has {expected:#x}"
            context.report("LUO506", flb, text)
        if definition.depends.get("handlers") != "all" or not isinstance(count, int):
            continue
        if count < files:
            context.report("LUO504", flb, f"count is {count}, {files} files depend on it")
        elif count > files:
            context.report("LUO505", flb, f"count is {count}, only {files} files depend on it")


def check_limits(context: Context) -> None:
    """Lists that are as long as their format allows."""
    for node in context.image.tree.walk():
        definition = context.image.registry.definitions.get(node.format)
        limit = definition.limits.get(node.name) if definition is not None else None
        if limit is None or isinstance(node.value, Absent) or not node.children:
            continue
        if len(node.elements()) >= limit:
            text = f"{len(node.elements())} of at most {limit} are used"
            context.report("LUO508", node, text)


def session_nodes(luo: Node | None) -> list[Node]:
    """Sessions in stored order."""
    sessions = luo.get("sessions") if luo is not None else None
    return sessions.elements() if sessions is not None else []
