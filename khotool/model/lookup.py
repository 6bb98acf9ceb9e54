"""From a path, as ``dump`` prints it, to a node of the model."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice

from khotool.errors import UsageError
from khotool.model.image import Image, Node, NodeKind, Span
from khotool.model.path import Step, parse_path, quote_key, quote_name

SHOWN = 6
"""Names listed in an error."""


def find_node(image: Image, path: str) -> Node:
    """The node at a path; a row of a table is made on the spot.

    An element of a list is found by its key, else by its position in the list.

    Raises:
        UsageError: the path cannot be parsed, or nothing is there; names the nearest part of it
            that exists and what is in there.
    """
    node = image.tree
    steps = parse_path(path)
    at = 0
    while at < len(steps):
        step = steps[at]
        following = steps[at + 1] if at + 1 < len(steps) else None
        found, used = _child(node, step, following)
        if found is None:
            raise UsageError(f"no {path!r} in {image.info.path}; {_near(node, steps[at])}")
        node = found
        at += used
    return node


def _child(node: Node, step: Step, following: Step | None) -> tuple[Node | None, int]:
    """The child that a step, or a name and the key after it, mean, and the steps it took."""
    if step.is_key:
        return _element(node, step.text), 1
    if following is not None and following.is_key:
        # Repeated parts of a list, such as its blocks, carry name and key themselves.
        for child in node.children:
            if child.name == step.text and child.key == following.text:
                return child, 2
    for child in node.children:
        if child.key is None and child.name == step.text:
            return child, 1
    return None, 0


def _element(node: Node, key: str) -> Node | None:
    for child in node.children:
        if child.key == key and not child.name:
            return child
    index = _number(key)
    if node.table is not None:
        return None if index is None else table_row(node, index)
    elements = node.elements()
    if index is not None and index < len(elements):
        return elements[index]
    # A token may be typed in decimal, a number with leading zeros.
    if index is not None:
        for child in elements:
            if child.key is not None and _number(child.key) == index:
                return child
    return None


def _number(text: str) -> int | None:
    digits = text[2:] if text[:2].lower() == "0x" else text
    if not digits.isascii() or not digits.isalnum() or len(digits) > 20:
        return None
    try:
        return int(text, 16 if digits is not text else 10)
    except ValueError:
        return None


def table_row(node: Node, index: int) -> Node | None:
    """One record of a table as a node; None if there is no such record."""
    table = node.table
    if table is None or not 0 <= index < len(table):
        return None
    span = table.span(index)
    row = Node(
        "",
        NodeKind.RECORD,
        parent=node,
        key=str(index),
        span=span,
        format=node.format,
        struct=table.compiled.struct.name,
    )
    values = table.row(index)
    for placed in table.compiled.fields:
        for field in placed.field.parts or (placed.field,):
            child = row.add(Node(field.label, NodeKind.VALUE, field=field, format=node.format))
            child.span = Span(span.address + placed.offset, placed.size)
            child.value = values[field.label]
    if table.position is not None:
        field = table.position
        child = row.add(Node(field.label, NodeKind.VALUE, field=field, format=node.format))
        child.value = values[field.label]
        child.remark = "by its place in the array"
    return row


def _near(node: Node, step: Step) -> str:
    """What is there instead."""
    where = node.path
    names = _names_below(node)
    if node.table is not None and step.is_key:
        return f"{where} has {len(node.table)} records, counted from 0"
    if not names:
        return f"{where} has nothing below it"
    wanted = f"[{quote_key(step.text)}]" if step.is_key else quote_name(step.text)
    keyed = [name for name in names if name.startswith("[") is step.is_key] or names
    near = get_close_matches(wanted, keyed, SHOWN, 0.5)
    shown = near + [name for name in keyed if name not in near]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return f"{where} has {', '.join(shown[:SHOWN])}{more}"


def _names_below(node: Node) -> list[str]:
    """Children as they are written in a path, the first of them."""
    return [
        quote_name(child.name) if child.key is None or child.name else f"[{quote_key(child.key)}]"
        for child in islice(node.children, 2000)
        if child.key is None or not child.name
    ]
