"""Which values of a model are content, and which only locate content."""

from __future__ import annotations

from typing import Any

from khotool.abi.definition import Shape
from khotool.absent import Absent, Reason
from khotool.diff.changes import Change, ChangeKind
from khotool.model.image import Image, Node, NodeKind
from khotool.view.notation import json_scalar, number_text

ADDRESS_ROLES = frozenset({"address", "pfn"})
ENTRY_PLACE = frozenset({"address", "size"})
UNKNOWN = frozenset(
    {Reason.NOT_CAPTURED, Reason.UNREADABLE, Reason.TRUNCATED, Reason.CONSUMED, Reason.LIMIT}
)
"""Reasons that are about the capture, not about the value."""
PARTIAL = frozenset({"debugfs", "fdt"})
"""Containers that hold some blobs and none of the memory that they point to."""
SHOWN = 60
KEY_FIELDS = ("name", "token")
"""Fields that identify elements of lists."""


def content_of(node: Node, image: Image) -> list[Node]:
    """Children without what a different writer of the same content may lay out differently."""
    if node.table is not None:
        return []
    if node.kind is NodeKind.LIST:
        return [child for child in node.children if not child.name]
    found = [child for child in node.children if child.key is None or not child.name]
    if node.kind is NodeKind.ENTRY:
        own = image.tree.format
        return [c for c in found if c.name not in ENTRY_PLACE or c.format != own]
    return found


def is_address(node: Node) -> bool:
    """True if the value is a physical address, or a handle that leads to memory."""
    role = node.field.role if node.field is not None else ""
    return role in ADDRESS_ROLES or (role == "handle" and node.target is not None)


def pointer_of(node: Node) -> Node | None:
    """The address of a node's target: its own value, or one in a descriptor."""
    if isinstance(node.value, int):
        return node
    if node.table is None:
        return None
    return next((c for c in node.children if is_address(c) and isinstance(c.value, int)), None)


def is_version(node: Node) -> bool:
    """True for the string by which a format is recognised."""
    return node.key is None and (node.name == "compatible" or node.name.endswith("_compatible"))


def is_group(node: Node) -> bool:
    """True if there is something below the node, or could be."""
    return bool(node.children) or node.table is not None or node.kind in GROUPS


GROUPS = frozenset({NodeKind.LIST, NodeKind.TABLE, NodeKind.ENTRY, NodeKind.FDT_NODE})


def is_unknown(value: object) -> bool:
    """True for an absent value that the memory itself may have."""
    return isinstance(value, Absent) and value.reason in UNKNOWN


def unfollowed(node: Node, image: Image) -> bool:
    """True for a pointer that leads out of a capture that holds only some blobs."""
    return (
        image.info.container in PARTIAL
        and isinstance(node.value, int)
        and bool(node.value)
        and not node.children
        and node.table is None
    )


def unread_handle(node: Node, image: Image) -> bool:
    """True for a handle of an unknown handler, whose target was not read."""
    reference = node.field.points_to if node.field is not None else None
    if reference is None or reference.shape is not Shape.HANDLER or not node.value:
        return False
    name = handler_of(node)
    return isinstance(name, str) and not image.registry.handlers(reference.kind, name)


def json_of(node: Node, *, addresses: bool = False) -> Any:
    """The value of a leaf; of a group a few of its values."""
    if not is_group(node):
        return json_scalar(node.value, node.field)
    if node.table is not None:
        return {"rows": len(node.table)}
    elements = len(node.elements())
    if node.kind is NodeKind.LIST:
        return {"elements": elements}
    brief: dict[str, Any] = {}
    for child in node.children[:64]:
        if child.key is not None or child.kind is NodeKind.LIST or child.table is not None:
            continue
        if is_group(child):
            brief[child.name] = json_of(child)
        elif addresses or not is_address(child):
            brief[child.name] = json_scalar(child.value, child.field)
    return brief


def changed(a: Node, b: Node) -> Change:
    """Two values of one path."""
    old, new = (json_scalar(node.value, node.field) for node in (a, b))
    return Change(ChangeKind.CHANGED, a.path, old, new, (scalar_text(a), scalar_text(b)))


def one_sided(kind: ChangeKind, node: Node, *, addresses: bool = False) -> Change:
    """A node that one image has: the second if it was added, else the first."""
    value, text = json_of(node, addresses=addresses), text_of(node)
    if kind is ChangeKind.REMOVED:
        return Change(kind, node.path, value, None, (text, ""))
    return Change(kind, node.path, None, value, ("", text))


def text_of(node: Node) -> str:
    """The value for a person; untrusted text."""
    if is_group(node):
        pairs = [f"{label} {_short(value)}" for label, value in _flat(json_of(node))]
        return ", ".join(pairs[:6])
    return scalar_text(node)


def scalar_text(node: Node) -> str:
    """The value of a leaf for a person."""
    value = node.value
    if isinstance(value, Absent):
        return str(value.reason)
    if isinstance(value, int):
        return number_text(value, node.field)
    return _short(json_scalar(value, node.field))


def _flat(value: Any) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    stack = [("", value)]
    while stack:
        name, item = stack.pop()
        if isinstance(item, dict):
            stack += [(label, below) for label, below in reversed(item.items())]
        else:
            pairs.append((name, item))
    return pairs


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def length_of(node: Node | None) -> int:
    """Elements of a list or rows of a table."""
    if node is None:
        return 0
    return len(node.table) if node.table is not None else len(node.elements())


def plain_key(node: Node) -> str | None:
    """The key without the number that sets it apart from an earlier one."""
    if node.key is None or "~" not in node.key:
        return node.key
    value = next((node.value_of(name) for name in KEY_FIELDS if node.get(name)), node.key)
    return f"{value:#x}" if isinstance(value, int) else str(value)


def handler_of(node: Node) -> object:
    """The value that names the handler of a handle."""
    reference = node.field.points_to if node.field is not None else None
    if reference is None or not reference.by or node.parent is None:
        return None
    return node.parent.value_of(reference.by)


def is_implied(node: Node) -> bool:
    """True if a format without this field means the same."""
    counts = node.field is not None and bool(node.field.counts)
    return counts or is_version(node) or is_address(node) or not node.value


def count_of(node: Node) -> Node | None:
    """The field with the number of rows of a table."""
    for child in node.parent.children if node.parent is not None else ():
        if child.field is not None and child.field.counts == node.name:
            return child
    return None
