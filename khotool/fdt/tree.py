"""The parsed tree as a pyfdt tree, which is what writes DTS text.

pyfdt is untyped and accepts nearly anything, so only trees that ``parse`` has bounded get here
and every value keeps its raw bytes instead of the type pyfdt would guess.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from pyfdt.pyfdt import Fdt, FdtNode, FdtNop, FdtProperty

from khotool.fdt.blob import Blob, FdtError, Node, Nop, Property
from khotool.fdt.text import comment, legal_name, value_text

MAX_DEPTH = 128

Note: TypeAlias = Callable[[Property | Node], list[str]]


def _indent(depth: int) -> str:
    """Leading blanks; deep levels share one width, or a small blob makes a large text."""
    return "    " * min(depth, 16)


class PyFdt(Protocol):
    """What khotool uses of pyfdt's Fdt."""

    def to_dts(self) -> str:
        """DTS text without a newline at its end."""


class Raw(FdtProperty):  # type: ignore[misc]
    """A property that keeps its bytes and its place in the strings block.

    Args:
        source: the parsed property.
        notes: comments for the DTS text.
    """

    def __init__(self, source: Property, notes: list[str]) -> None:
        # pyfdt raises on names that are not printable, so the name is set past its check.
        super().__init__("")
        self.name = source.name
        self.source = source
        self.notes = notes

    def dts_represent(self, depth: int = 0) -> str:
        """One line of DTS."""
        name = legal_name(self.name, f"unnamed-{self.source.name_offset:#x}")
        notes = self.notes
        if self.source.recovered:
            notes = [f"name at {self.source.name_offset:#x} of the strings is unknown", *notes]
        elif name != self.name:
            notes = [f"real name {self.name!r}", *notes]
        value = value_text(self.source.value)
        text = f"{name} = {value};" if value else f"{name};"
        return _indent(depth) + " ".join((text, *map(comment, notes)))


class RawNode(FdtNode):  # type: ignore[misc]
    """A node whose DTS text survives any name and any order of items."""

    def __init__(self, source: Node, is_root: bool, notes: list[str]) -> None:
        super().__init__("")
        # "/" is pyfdt's word for the empty name of a root.
        self.name = "/" if is_root and not source.name else source.name
        self.source = source
        self.is_root = is_root
        self.notes = notes

    def dts_represent(self, depth: int = 0) -> str:
        """Block of DTS; properties come before nodes, as dtc demands."""
        lines: list[str] = []
        stack: list[tuple[int, RawNode | None]] = [(depth, self)]
        while stack:
            level, node = stack.pop()
            if node is None:
                lines.append(_indent(level) + "};")
                continue
            lines.append(_indent(level) + node.opening())
            stack.append((level, None))
            below: list[tuple[int, RawNode | None]] = []
            for item in node.subdata:
                if isinstance(item, RawNode):
                    below.append((level + 1, item))
                else:
                    lines.append(item.dts_represent(level + 1))
            stack.extend(reversed(below))
        return "\n".join(lines)

    def opening(self) -> str:
        """First line of the block, with its comments."""
        real = self.source.name
        name = "/" if self.is_root else legal_name(real, "unnamed-node")
        notes = self.notes
        if not self.is_root and real != name:
            notes = [f"real name {real!r}", *notes]
        return " ".join((f"{name} {{", *map(comment, notes)))


def to_pyfdt(blob: Blob, note: Note | None = None) -> PyFdt:
    """Build the pyfdt tree of a parsed blob; an absent root becomes an empty one.

    Args:
        blob: any result of ``parse``.
        note: called with each property and node; returns the comments for its DTS text.

    Raises:
        FdtError: nodes nest deeper than 128 levels.
    """

    def notes_of(item: Property | Node) -> list[str]:
        return [] if note is None else note(item)

    source = blob.root if blob.root is not None else Node("")
    root = RawNode(source, True, notes_of(source))
    stack = [(1, root)]
    while stack:
        depth, made = stack.pop()
        if depth > MAX_DEPTH:
            raise FdtError(made.source.tag_offset, f"more than {MAX_DEPTH} levels of nodes")
        for item in made.source.items:
            # pyfdt's own append() is quadratic and refuses duplicates.
            if isinstance(item, Property):
                made.subdata.append(Raw(item, notes_of(item)))
            elif isinstance(item, Nop):
                made.subdata.append(FdtNop())
            else:
                node = RawNode(item, False, notes_of(item))
                node.parent = made
                made.subdata.append(node)
                stack.append((depth + 1, node))
    fdt = Fdt(blob.version, blob.last_comp_version, blob.boot_cpuid_phys)
    fdt.add_rootnode(
        root,
        prenops=[FdtNop() for _ in range(blob.nops_before)],
        postnops=[FdtNop() for _ in range(blob.nops_after)],
    )
    fdt.add_reserve_entries(
        [{"address": address, "size": size} for address, size in blob.reservations]
    )
    typed: PyFdt = fdt
    return typed
