"""The model as a tree of lines: a record's plain values on its own line, the rest below it."""

from __future__ import annotations

from collections.abc import Iterator

from khotool.absent import Absent
from khotool.model.image import UNPLACED, Image, Node, NodeKind
from khotool.model.lookup import table_row
from khotool.model.path import quote_key, quote_name
from khotool.records import dataclass
from khotool.render.lines import Line, Segment
from khotool.render.table import table_segments
from khotool.render.text import plural, visible
from khotool.render.value import absent_segments, value_segments


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """What of the tree is shown.

    Args:
        depth: levels below the top; None for all.
        rows: rows of a table that are listed; 0 for its summary alone.
        verbose: also block headers, chunks and descriptors, which hold no state of their own.
    """

    depth: int | None = None
    rows: int = 0
    verbose: bool = False


def tree_lines(image: Image, top: Node, options: TreeOptions) -> Iterator[Line]:
    """Lines of ``top`` and all below it, parents first."""
    yield Line(_head(image, top, options, top=True), hang="    ")
    stack: list[tuple[Node | str, str, bool, int]] = [
        (child, "", last, 1) for child, last in reversed(_children(image, top, top, options, 0))
    ]
    while stack:
        node, indent, last, level = stack.pop()
        lead = indent + ("└── " if last else "├── ")
        below = indent + ("    " if last else "│   ")
        if isinstance(node, str):
            yield Line([(node, "note")], lead, below)
            continue
        children = _children(image, node, top, options, level)
        bar = "│   " if children else "    "
        yield Line(_head(image, node, options), lead, below + bar)
        stack.extend((child, below, end, level + 1) for child, end in reversed(children))


def _head(image: Image, node: Node, options: TreeOptions, *, top: bool = False) -> list[Segment]:
    """Name, what it is, where it leads, and the plain values of its fields."""
    line: list[Segment] = [_label(node, top)]
    known = _format(node)
    if known:
        line.append((f"  {visible(known)}", "format"))
    if node.kind in (NodeKind.IMAGE, NodeKind.ENTRY):
        line += _place(node)
    value = [] if node.kind is NodeKind.LIST and node.value == 0 else value_segments(node)
    if value:
        line += [(" ", ""), *value]
    gone = _gone(node)
    if gone is not None:
        line += [("  ", ""), *absent_segments(gone)]
    elif node.kind is NodeKind.LIST or _empty_list(node):
        line.append((f"  {_count(node)}", "number"))
    if node.table is not None:
        line += [("  ", ""), *table_segments(image, node)]
    if not _folded(node, options):
        for field in _inline(image, node):
            line.append((f"  {visible(field.name)} ", "label"))
            line += value_segments(field)
            if field.note:
                line.append((f" ({visible(field.note)})", "note"))
    if node.note:
        line.append((f"  ({visible(node.note)})", "note"))
    return line


def _label(node: Node, top: bool) -> Segment:
    if top:
        return (visible(node.path), "entry")
    if node.key is not None:
        return (f"{quote_name(node.name) if node.name else ''}[{quote_key(node.key)}]", "name")
    return (quote_name(node.name), "entry" if node.kind is NodeKind.ENTRY else "label")


def _format(node: Node) -> str:
    """The format where it changes from that of the parent."""
    if not node.format or node.is_leaf or node.kind is NodeKind.TABLE:
        return ""
    above = node.parent.format if node.parent is not None else ""
    if node.kind not in (NodeKind.ENTRY, NodeKind.IMAGE) and node.format == above:
        return ""
    if node.key is None and _named_beside(node):
        return ""
    return f"{node.format}, {node.layout}" if node.layout else node.format


def _named_beside(node: Node) -> bool:
    """True if the handler beside a handle names the format; elements of lists have none beside."""
    fields = node.parent.children if node.parent is not None else []
    return any(field.value == node.format for field in fields)


def _place(node: Node) -> list[Segment]:
    span = node.span if node.kind is NodeKind.IMAGE else node.target
    if span is None:
        address = node.value_of("address")
        return [(" at ", "dim"), (f"{address:#x}", "address")] if isinstance(address, int) else []
    size = (f", {span.size} bytes", "dim") if span.size else ("", "")
    if span.address >= UNPLACED:
        return [(f"  {span.size} bytes", "dim")]
    return [(" at ", "dim"), (f"{span.address:#x}", "address"), size]


def _gone(node: Node) -> Absent | None:
    """Why the target of a pointer is missing."""
    target = node.get("target")
    value = target.value if target is not None and target.field is None else None
    return value if isinstance(value, Absent) else None


def _empty_list(node: Node) -> bool:
    reference = node.field.points_to if node.field is not None else None
    return (
        reference is not None
        and node.value == 0
        and node.field is not None
        and node.field.null == "empty"
        and bool(reference.of)
    )


def _count(node: Node) -> str:
    elements = len(node.elements())
    blocks = sum(1 for child in node.children if child.name == "blocks")
    text = plural(elements, "element") if elements else "empty"
    return f"{text} in {plural(blocks, 'block')}" if blocks else text


def _folded(node: Node, options: TreeOptions) -> bool:
    """True for a descriptor whose fields only say where an array is."""
    return node.kind is NodeKind.TABLE and not options.verbose


def _inline(image: Image, node: Node) -> list[Node]:
    """Fields that are shown on the line of their record."""
    return [
        child
        for child in node.children
        if child.is_leaf and _shown(image, node, child) and not _own_line(child)
    ]


def _own_line(node: Node) -> bool:
    value = node.value
    return (
        isinstance(value, (Absent, bytes, list))
        or (isinstance(value, str) and len(value) > 64)
        or (node.parent is not None and node.parent.kind is NodeKind.IMAGE)
    )


def _shown(image: Image, parent: Node, child: Node) -> bool:
    """False for a value that the parent's own line shows."""
    if child.field is None:
        if child.name == "target" and isinstance(child.value, Absent):
            return False
        # Names of nodes of a device tree, which are the key; anything else is data.
        return not (child.name == "name" and child.value == parent.key)
    if parent.kind is NodeKind.ENTRY and child.format == image.tree.format:
        return parent.target is None and child.field.points_to is None
    if child.name == "compatible" and child.value == (child.format or parent.format):
        return False
    if parent.key is not None and isinstance(child.value, (str, int)):
        text = child.value if isinstance(child.value, str) else f"{child.value:#x}"
        return text != parent.key
    return True


def _children(
    image: Image, node: Node, top: Node, options: TreeOptions, level: int
) -> list[tuple[Node | str, bool]]:
    """Nodes with a line of their own, and which is the last; texts count what is left out."""
    found: list[Node | str] = [
        child for child in node.children if _has_line(image, node, child, options)
    ]
    if node.table is not None and (options.rows or node is top):
        found += _rows(node, options.rows or 16)
    if options.depth is not None and level >= options.depth and found:
        nodes = sum(1 for child in found if not isinstance(child, str))
        found = [f"... {nodes} below; --depth {level + 1} shows them"]
    return [(child, child is found[-1]) for child in found]


def _has_line(image: Image, node: Node, child: Node, options: TreeOptions) -> bool:
    """Whether a child gets a line, instead of a place on its parent's or none."""
    if not child.is_leaf:
        return options.verbose or not _housekeeping(node, child)
    if _folded(node, options) and child.field is not None:
        return False
    if _unused(child) and not options.verbose:
        return False
    return _own_line(child) and _shown(image, node, child)


def _unused(node: Node) -> bool:
    """True for reserved bytes or numbers that are 0, as they should be."""
    value = node.value
    return (
        node.field is not None
        and node.field.reserved
        and isinstance(value, (bytes, list))
        and not any(value)
    )


def _rows(node: Node, most: int) -> list[Node | str]:
    """The first records of a table, and how many follow."""
    assert node.table is not None
    count = min(most, len(node.table))
    rows: list[Node | str] = []
    for index in range(count):
        row = table_row(node, index)
        if row is not None:
            rows.append(row)
    left = len(node.table) - count
    return [*rows, f"... {left} more; --rows N shows more"] if left else rows


def _housekeeping(parent: Node, child: Node) -> bool:
    """True for parts that only link or count: blocks, chunks, headers of arrays."""
    if child.key is not None and child.name:
        return True
    return parent.kind is NodeKind.LIST and child.key is None and child.kind is NodeKind.RECORD
