"""Changes between two images, as lines and places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from khotool.absent import Absent
from khotool.image.model import Image, Node, NodeKind
from khotool.tui.describe import element_count, value_line
from khotool.tui.place import resolve
from khotool.tui.text import Line, count_text

GLYPHS = {
    "changed": ("~", "warning"), "added": ("+", "added"),
    "removed": ("-", "removed"), "moved": (">", "pointer"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One change.

    Args:
        kind: ``added``, ``removed``, ``changed`` or ``moved``.
        path: in both images, or in the one that has it.
        old, new: what stands on each side; empty where there is nothing.
    """

    kind: str
    path: str
    old: Line
    new: Line


def compare_images(
    first: Image, second: Image, *, addresses: bool = False, stop: Callable[[], bool] | None = None
) -> list[ChangeLine]:
    """Changes by path, in the order of the first image, then what only the second has.

    Args:
        addresses: whether physical addresses count.
    """
    old, new = _paths(first, stop), _paths(second, stop)
    found: list[ChangeLine] = []
    for path, node in old.items():
        if stop is not None and stop():
            break
        other = new.get(path)
        if other is None:
            if _parent(path) not in old or _parent(path) in new:
                found.append(ChangeLine("removed", path, _shown(node), []))
            continue
        if not _same(node, other, addresses):
            found.append(ChangeLine("changed", path, _shown(node), _shown(other)))
    for path, node in new.items():
        if path not in old and (_parent(path) in old or _parent(path) not in new):
            found.append(ChangeLine("added", path, [], _shown(node)))
    return found


def _paths(image: Image, stop: Callable[[], bool] | None) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for number, node in enumerate(image.tree.walk()):
        if stop is not None and number % 1024 == 0 and stop():
            break
        if node.parent is not None and node.name != "chunks":
            found.setdefault(node.path, node)
    return found


def _parent(path: str) -> str:
    cut = max(path.rfind("/"), path.rfind("["))
    return path[:cut] if cut > 0 else ""


def _is_address(node: Node) -> bool:
    role = node.field.role if node.field is not None else ""
    return role in ("address", "pfn") or node.target is not None


def _same(old: Node, new: Node, addresses: bool) -> bool:
    if old.kind is NodeKind.TABLE or new.kind is NodeKind.TABLE:
        return _same_table(old, new, addresses)
    if _is_address(old) and not addresses:
        return bool(old.value) == bool(new.value)
    return bool(old.value == new.value)


def _same_table(old: Node, new: Node, addresses: bool) -> bool:
    if old.table is None or new.table is None:
        return old.table is new.table
    if len(old.table) != len(new.table):
        return False
    if old.table.compiled.struct != new.table.compiled.struct:
        return False
    for placed in old.table.compiled.fields:
        for field in placed.field.parts or (placed.field,):
            skip = not addresses and field.role in ("address", "pfn")
            if skip or placed.nested is not None or placed.field.fill:
                continue
            kind = placed.field.type
            if kind is not None and kind.kind != "int":
                continue
            if (old.table.column(field.label) != new.table.column(field.label)).any():
                return False
    return True


def _shown(node: Node) -> Line:
    value: Any = node.value
    if isinstance(value, Absent) or (value is not None and not node.children):
        return value_line(node.field, value)
    if node.table is not None:
        return [(count_text(len(node.table), "row"), "dim")]
    if node.kind is NodeKind.LIST:
        return [(count_text(element_count(node), "element"), "dim")]
    return value_line(node.field, value) or [(node.struct or node.kind, "dim")]


def side_bytes(image: Image, path: str, size: int = 64) -> list[Line]:
    """The bytes of a path as rows of sixteen."""
    place = resolve(image.tree, path)
    span = place.node.span if place is not None and place.row < 0 else None
    if span is None:
        return [[("not here" if place is None else "no bytes of its own", "dim")]]
    lines: list[Line] = []
    for start in range(span.address, span.address + min(span.size, size), 16):
        stop = min(start + 16, span.end)
        line: Line = [(f"{start:#x} ", "dim")]
        for address, view, _ in image.space.known(start, stop - start):
            data = bytes(view) if view is not None else b""
            text = " ".join(f"{byte:02x}" for byte in data) or "··"
            line.append((f" {text}", "other" if any(data) else "zero"))
            if address >= stop:
                break
        lines.append(line)
    return lines
