"""Writers of flattened device trees: byte for byte from a parse, or laid out as kernels do.

Kernels build handover trees with libfdt in two ways, and the bytes show which: the sequential
writer puts the reservation map at 48 and grows the strings block downwards; a tree that is
then edited and packed has the map at 40 and later strings after the first ones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from khotool.fdt.blob import (
    FDT_BEGIN_NODE,
    FDT_END,
    FDT_END_NODE,
    FDT_NOP,
    FDT_PROP,
    HEADER_SIZE,
    HEADER_WORDS,
    MAGIC,
    Blob,
    FdtError,
    Item,
    Node,
    Nop,
    Property,
)

MAX_NAME = 256

_WORD = struct.Struct(">I")
_PROP = struct.Struct(">III")
_HEADER = struct.Struct(">10I")
_RESERVATION = struct.Struct(">QQ")
_TERMINATOR = bytes(_RESERVATION.size)


def emit(blob: Blob, gaps: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """Write a parsed blob back, every block where its header says.

    ``emit(blob, gaps(blob)) == blob.data`` for an unchanged complete blob.

    Args:
        blob: a complete blob, possibly with values changed; offsets of items are not used.
        gaps: (offset, bytes) pairs laid over the result; offsets are bytes from the blob start.

    Raises:
        FdtError: the blob is incomplete, or a block does not fit into ``totalsize``.
    """
    if not blob.complete or blob.root is None or blob.totalsize != len(blob.data):
        raise FdtError(blob.struct_end, "an incomplete tree cannot be written back")
    out = bytearray(blob.totalsize)
    reservations = b"".join(_RESERVATION.pack(*pair) for pair in blob.reservations) + _TERMINATOR
    nop = _WORD.pack(FDT_NOP)
    structure = b"".join(
        (
            nop * blob.nops_before,
            struct_bytes(blob.root),
            nop * blob.nops_after,
            _WORD.pack(FDT_END),
        )
    )
    header = _HEADER.pack(MAGIC, *(getattr(blob, word) for word in HEADER_WORDS[1:]))
    blocks = [
        (0, header[: blob.header_size]),
        (blob.off_mem_rsvmap, reservations),
        (blob.off_dt_struct, structure),
        (blob.off_dt_strings, blob.strings),
    ]
    for offset, content in (*blocks, *gaps):
        if offset < 0 or offset + len(content) > len(out):
            raise FdtError(
                offset, f"{len(content)} bytes do not fit into totalsize {blob.totalsize}"
            )
        out[offset : offset + len(content)] = content
    return bytes(out)


def gaps(blob: Blob) -> list[tuple[int, bytes]]:
    """Bytes of a complete blob that its model does not hold, as (offset, bytes) pairs.

    These are non-zero padding, leftovers between and after the blocks, and whatever blocks that
    overlap would overwrite. A blob written by a kernel has none.

    Raises:
        FdtError: the blob is incomplete.
    """
    made = np.frombuffer(emit(blob), np.uint8)
    given = np.frombuffer(blob.data, np.uint8)
    changed = np.flatnonzero(made != given)
    if not len(changed):
        return []
    breaks = np.flatnonzero(np.diff(changed) > 1)
    starts = changed[np.concatenate(([0], breaks + 1))].tolist()
    ends = changed[np.concatenate((breaks, [len(changed) - 1]))].tolist()
    return [(start, blob.data[start : end + 1]) for start, end in zip(starts, ends, strict=True)]


def struct_bytes(root: Node) -> bytes:
    """Structure block of ``root`` without FDT_END, names of properties by ``name_offset``.

    Raises:
        FdtError: a node name is not latin-1 or holds a NUL.
    """
    parts: list[bytes] = []
    stack: list[Item | None] = [root]
    while stack:
        item = stack.pop()
        if item is None:
            parts.append(_WORD.pack(FDT_END_NODE))
        elif isinstance(item, Property):
            parts.append(_PROP.pack(FDT_PROP, len(item.value), item.name_offset))
            parts.append(_padded(item.value))
        elif isinstance(item, Nop):
            parts.append(_WORD.pack(FDT_NOP))
        else:
            parts.append(_WORD.pack(FDT_BEGIN_NODE))
            parts.append(_padded(_name_bytes(item.name) + b"\0"))
            stack.append(None)
            stack.extend(reversed(item.items))
    return b"".join(parts)


def build_sequential(root: Node) -> bytes:
    """Lay a tree out as libfdt's ``fdt_create`` .. ``fdt_finish`` do.

    Args:
        root: items in stream order, which is call order; all offsets in it are ignored.

    Raises:
        FdtError: a property name is longer than 256 bytes, or a name is not latin-1 or holds
            a NUL.
    """
    tree, strings = _sequential(root)
    return _assemble(tree, strings, off_mem_rsvmap=48)


def build_read_write(initial: Node, added: list[Node]) -> bytes:
    """Lay a tree out as kernels from 6.19 on build the KHO root.

    ``initial`` is written sequentially; then each added node costs ``fdt_open_into``,
    ``fdt_add_subnode`` at the root, one ``fdt_setprop`` per property and ``fdt_pack``. libfdt
    inserts new nodes right after the properties of the parent and new properties in front of
    the others, so the stream order of what was added is the reverse of its call order.
    Padding is zero, which libfdt guarantees only for values that are multiples of 4 bytes long,
    as all of the kernel's are.
    A tree without additions is never opened, so it stays sequential.

    Args:
        initial: the root with what the sequential phase wrote, items in stream order.
        added: the subtrees in call order, oldest first, items of each in call order too.

    Raises:
        FdtError: a name cannot be written, is already there, or an added node holds a NOP.
    """
    if not added:
        return build_sequential(initial)
    tree, strings = _sequential(initial)
    # After fdt_finish offsets count from the start; later strings only follow.
    strings = _Strings(strings.block(), appending=True)
    taken = {child.name for child in tree.children}
    for node in added:
        if node.name in taken:
            raise FdtError(0, f"-FDT_ERR_EXISTS: node {node.name!r} is already there")
        taken.add(node.name)
    new = [_added(node, strings) for node in added]
    new.reverse()
    at = next((i for i, item in enumerate(tree.items) if isinstance(item, Node)), None)
    at = len(tree.items) if at is None else at
    tree.items[at:at] = new
    return _assemble(tree, strings, off_mem_rsvmap=40)


def build_open(root: Node, size: int) -> bytes:
    """Lay a tree out as ``fdt_create_empty_tree`` and calls that edit it do, without packing.

    Args:
        root: items in call order.
        size: bytes of the buffer, which ``totalsize`` says; grown to the next power of two that
            takes the tree.

    Raises:
        FdtError: a name cannot be written.
    """
    strings = _Strings(appending=True)
    tree = _added(root, strings)
    made = _assemble(tree, strings, off_mem_rsvmap=48)
    while size < len(made):
        size *= 2
    return made[:4] + _WORD.pack(size) + made[8:].ljust(size - 8, b"\0")


class _Strings:
    """The strings block while it grows, with libfdt's reuse of tails of earlier strings.

    libfdt takes the first match from the low end. Growing downwards that is the newest string,
    growing upwards the oldest. All tails are kept in a table, so that a lookup does not search
    the block; their total is bounded by the 256-byte limit on property names.
    """

    def __init__(self, first: bytes = b"", *, appending: bool) -> None:
        self.appending = appending
        self.parts: list[bytes] = []
        self.size = 0
        self.tails: dict[bytes, int] = {}
        for name in first.split(b"\0")[:-1]:
            self._add(name)

    def offset(self, name: str) -> int:
        """Bytes from the start of the block, or, growing downwards, from its end (negative)."""
        raw = _name_bytes(name)
        if len(raw) > MAX_NAME:
            raise FdtError(0, f"property name {name[:40]!r} has more than {MAX_NAME} bytes")
        found = self.tails.get(raw)
        return self._add(raw) if found is None else found

    def _add(self, raw: bytes) -> int:
        start = self.size if self.appending else -self.size - len(raw) - 1
        for skip in range(len(raw) + 1):
            if self.appending:
                self.tails.setdefault(raw[skip:], start + skip)
            else:
                self.tails[raw[skip:]] = start + skip
        self.parts.append(raw + b"\0")
        self.size += len(raw) + 1
        return start

    def block(self) -> bytes:
        return b"".join(self.parts if self.appending else reversed(self.parts))


def _copied(root: Node, strings: _Strings) -> tuple[list[Node], list[Property]]:
    """Copy of a tree, its names entered in stream order: its nodes, the root first, and properties.

    Offsets of names are as ``strings`` gives them.
    """
    top = Node(root.name)
    nodes, properties = [top], []
    # One list of what is still to copy, so that names are met in stream order.
    stack: list[tuple[Item, Node]] = [(item, top) for item in reversed(root.items)]
    while stack:
        item, parent = stack.pop()
        copy: Item = Nop()
        if isinstance(item, Property):
            copy = Property(item.name, item.value, strings.offset(item.name))
            properties.append(copy)
        elif isinstance(item, Node):
            copy = Node(item.name)
            nodes.append(copy)
            stack.extend((below, copy) for below in reversed(item.items))
        parent.items.append(copy)
    return nodes, properties


def _sequential(root: Node) -> tuple[Node, _Strings]:
    """Copy of the tree with the name offsets of the sequential writer, and its strings."""
    strings = _Strings(appending=False)
    nodes, properties = _copied(root, strings)
    # fdt_finish turns offsets from the end into offsets from the start.
    for copy in properties:
        copy.name_offset += strings.size
    return nodes[0], strings


def _added(root: Node, strings: _Strings) -> Node:
    """Copy of an added subtree in stream order, names entered in call order."""
    nodes, _ = _copied(root, strings)
    for node in nodes:
        properties, children = node.properties, node.children
        if len(properties) + len(children) < len(node.items):
            raise FdtError(0, "fdt_setprop and fdt_add_subnode write no FDT_NOP")
        for names in ([p.name for p in properties], [c.name for c in children]):
            if len(set(names)) < len(names):
                raise FdtError(0, f"node {node.name[:40]!r} uses a name twice")
        node.items = [*reversed(properties), *reversed(children)]
    return nodes[0]


def _assemble(root: Node, strings: _Strings, off_mem_rsvmap: int) -> bytes:
    structure = struct_bytes(root) + _WORD.pack(FDT_END)
    block = strings.block()
    off_dt_struct = off_mem_rsvmap + len(_TERMINATOR)
    off_dt_strings = off_dt_struct + len(structure)
    totalsize = off_dt_strings + len(block)
    offsets = (off_dt_struct, off_dt_strings, off_mem_rsvmap)
    header = _HEADER.pack(MAGIC, totalsize, *offsets, 17, 16, 0, len(block), len(structure))
    padding = bytes(off_mem_rsvmap - HEADER_SIZE)
    return b"".join((header, padding, _TERMINATOR, structure, block))


def _name_bytes(name: str) -> bytes:
    try:
        raw = name.encode("latin-1")
    except UnicodeEncodeError:
        raise FdtError(0, f"name {name[:40]!r} is not latin-1") from None
    if b"\0" in raw:
        raise FdtError(0, f"name {name[:40]!r} holds a NUL")
    return raw


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
