"""What the files of a session say together: huge pages in all, names on a mount."""

from __future__ import annotations

from collections import Counter

from khotool.abi.definition import Shape
from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.check.rules.sessions import file_nodes, flb_nodes, record_format
from khotool.model.image import Node
from khotool.model.node import leads_to


@rule("HND614")
def check_names(context: Context) -> None:
    """Files of one mount that have one name."""
    seen: dict[tuple[str, str], Node] = {}
    for file in file_nodes(context.image.entry("LUO")):
        data = file.get("data")
        if data is None:
            continue
        files = (child for child in data.children if leads_to(child.field, Shape.FILE))
        mounts = [child.reference for child in files if child.reference]
        for child in data.children if mounts else ():
            if child.field is None or not child.field.component or not child.value:
                continue
            first = seen.setdefault((mounts[0], child.value), file)
            if first is not file:
                text = f"{child.value!r} on {mounts[0]} is also the name of {first.path}"
                context.report("HND614", child, text)


@rule("HND612")
def check_huge_pages(context: Context) -> None:
    """Huge pages that early boot reserves, against those of the files that need them."""
    luo = context.image.entry("LUO")
    for flb in flb_nodes(luo):
        data, name = flb.get("data"), flb.value_of("name")
        sizes = [
            node
            for child in (data.children if data is not None else [])
            for node in child.elements()
            if _is_size(node)
        ]
        if not sizes or not isinstance(name, str):
            continue
        pages = _pages_by_order(context, luo, name)
        for node in sizes:
            order, listed = node.value_of("order"), node.value_of("nr_pages")
            there = pages.pop(order, 0)
            if listed != there:
                text = f"lists {listed} pages of order {order}; the files have {there}"
                context.report("HND612", node, text)
        for order, there in pages.items():
            text = f"does not list order {order}, of which the files have {there} pages"
            context.report("HND612", flb, text)


def _is_size(node: Node) -> bool:
    return node.get("order") is not None and node.get("nr_pages") is not None


def _pages_by_order(context: Context, luo: Node | None, flb: str) -> Counter[int]:
    """Folios of the files that need an object, by their order."""
    pages: Counter[int] = Counter()
    for file in file_nodes(luo):
        data, definition = file.get("data"), record_format(context, file)
        if data is None or definition is None:
            continue
        order, number = data.value_of("order"), data.value_of("nr_folios")
        needs = definition.depends.get("flbs", "").split()
        if flb in needs and isinstance(order, int) and isinstance(number, int):
            pages[order] += number
    return pages
