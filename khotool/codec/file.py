"""Another file of the same session, named by its token."""

from __future__ import annotations

from collections.abc import Mapping

from khotool.abi.definition import Kind, Shape
from khotool.codec.base import NumberCodec, Pointer, reference_of, register
from khotool.codec.contexts import Walk
from khotool.model.node import Node


@register(Shape.FILE)
class FileCodec(NumberCodec):
    """Another file of the same session, by its token; it may be read only later."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """Left until everything has been read."""
        walk.recorder.defer(self.shape, node)

    def resolve(self, walk: Walk, nodes: list[Node]) -> None:
        """Every token is that of a file of the same session."""
        sessions: dict[int, dict[int, Node]] = {}
        for node in nodes:
            own = file_of(node)
            if own is None or own.parent is None:
                continue
            files = sessions.get(id(own.parent))
            if files is None:
                files = sessions[id(own.parent)] = files_by_token(own.parent)
            _resolve(walk, node, files)


def files_by_token(files: Node) -> dict[int, Node]:
    """Files of a list by token; of several with one token, the first."""
    found: dict[int, Node] = {}
    for file in files.elements():
        token = token_of(file)
        if token is not None:
            found.setdefault(token, file)
    return found


def _resolve(walk: Walk, node: Node, files: Mapping[int, Node]) -> None:
    kind = reference_of(node.field).kind
    found = files.get(int(node.value))
    if found is None:
        walk.recorder.report("LUO510", node, f"no file of this session has token {node.value:#x}")
        return
    node.reference = found.path
    handler = handler_of(found)
    if kind and not handler.startswith(kind):
        text = f"token {node.value:#x} is {found.path}, a file of {handler!r}"
        walk.recorder.report("LUO511", node, f"{text}; expected {kind!r}")


def file_of(node: Node) -> Node | None:
    """The record of the file that a node hangs from."""
    current: Node | None = node
    while current is not None:
        if current.key is not None and not current.name and _handle(current) is not None:
            return current
        current = current.parent
    return None


def _handle(file: Node) -> Node | None:
    """The value of a record that leads to what a file's handler wrote."""
    for child in file.children:
        reference = child.field.points_to if child.field is not None else None
        if reference is not None and reference.shape is Shape.HANDLER:
            return child if reference.kind == Kind.FILE else None
    return None


def token_of(file: Node) -> int | None:
    """The token of a file."""
    for child in file.children:
        if child.field is not None and child.field.role == "token" and isinstance(child.value, int):
            return child.value
    return None


def handler_of(file: Node) -> str:
    """The string of a file's handler."""
    handle = _handle(file)
    reference = handle.field.points_to if handle is not None and handle.field is not None else None
    value = file.value_of(reference.by) if reference is not None else None
    return value if isinstance(value, str) else ""
