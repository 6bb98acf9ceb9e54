"""What follows the last counted record of a list: nothing, in a good image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from khotool.abi.definition import Shape
from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.model.image import Image, Node, NodeKind, Phase, Span
from khotool.model.region import TableRegion
from khotool.pages.runs import intersect


@rule(also=("REC405",))
def check_list_ends(context: Context) -> None:
    """Records after the end of arrays, blocks and tables."""
    arrays = [region for region in context.image.regions if isinstance(region, TableRegion)]
    # Where something may follow an array of the same record directly.
    starts = {region.pieces.item(0) for region in arrays if len(region.pieces)}
    for node in context.nodes:
        if node.target is None:
            continue
        reference = node.field.points_to if node.field is not None else None
        # A word ends a stream, and what follows that is not written.
        stream = reference is not None and reference.shape is Shape.STREAM
        if node.kind is NodeKind.LIST and not stream:
            _array(context, node)
        if reference is not None and reference.behind:
            starts.add(node.target.address)
    for region in arrays:
        _table(context, region, starts)


def after_list_ends(image: Image) -> list[Span]:
    """What ``check_list_ends`` reports, up to the end of its page: for a copy that keeps it."""
    if image.phase is Phase.CONSUMED:
        return []
    context = Context(image)
    check_list_ends(context)
    page = image.geometry.page_size
    places = [finding.address for finding in context.findings if finding.address is not None]
    return [Span(address, -address % page) for address in places]


def _array(context: Context, node: Node) -> None:
    elements = node.elements()
    blocks = [child for child in node.children if child.name == "blocks"]
    header = node.get("header")
    page = context.image.geometry.page_size
    assert node.target is not None
    if blocks:
        last: dict[int, int] = {}
        for element in elements:
            if element.span is not None:
                at = element.span.address // page
                last[at] = max(last.get(at, 0), element.span.end)
        for block in blocks:
            if block.span is not None:
                at = block.span.address // page
                end = block.span.address + page
                _tail(context, node, last.get(at, block.span.end), end)
        return
    ends = [element.span.end for element in elements if element.span is not None]
    if header is not None and header.span is not None:
        ends.append(header.span.end)
    if ends:
        _tail(context, node, max(ends), node.target.end)


def _tail(context: Context, node: Node, start: int, end: int) -> None:
    if end <= start:
        return
    for low, raw in _captured(context, start, end):
        if raw != bytes(len(raw)):
            at = low + len(raw) - len(raw.lstrip(b"\0"))
            context.report("REC405", node, "non-zero bytes follow the last counted record", at)
            return


def _captured(context: Context, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Address and bytes of what was captured: the rest of a large array often was not."""
    raw = context.read(start, end - start)
    if raw is not None:
        yield start, raw
        return
    wanted = np.array([(start, end)], np.uint64)
    for low, high in intersect(wanted, context.image.space.extents()).tolist():
        yield low, context.read(low, high - low) or b""


def _table(context: Context, region: TableRegion, starts: set[int]) -> None:
    node = region.node
    if node is None or node.table is None:
        return
    page = context.image.geometry.page_size
    used = len(region.records) * region.compiled.size
    pieces = region.pieces.tolist()
    if not pieces or not used:
        return
    for address, size in pieces:
        if used <= size:
            end = -(-(address + used) // page) * page
            if address + used in starts:
                return
            _tail(context, node, address + used, end)
            return
        used -= size
