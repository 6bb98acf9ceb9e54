"""How a capture is opened, and budgets that keep any input bounded.

A limit that is reached is a finding, never a hang.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from khotool.records import dataclass, field, replace

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much is done, and how much there is in all."""

#: What a walk may visit and copy of any image, however small, and for each byte that it holds.
LEAST_NODES, LEAST_BYTES = 100_000, 64 << 20
BYTES_A_NODE, COPIES = 8, 4
#: Rows of tables that a full dump may give as one value and a count, and what one takes.
SHORT_ROWS, BYTES_A_ROW = 1 << 24, 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of one walk over an image.

    Args:
        nodes: records, FDT nodes and map pages visited.
        depth: levels of nesting in trees and references.
        chain: links followed in one linked list (the kernel stops at 10000 blocks).
        bytes: bytes of metadata copied or viewed.
        scan: bytes searched for boot data that no pointer names.
        seconds: of the processor that a command may take; 0 for any number.
        memory: bytes of data that the process may have; 0 for any number.
        written: bytes of each file that a command writes; 0 for any number.
    """

    nodes: int = 4_000_000
    depth: int = 64
    chain: int = 1_000_000
    bytes: int = 8 << 30
    scan: int = 1 << 30
    seconds: int = 0
    memory: int = 0
    written: int = 0

    @property
    def short_rows(self) -> int:
        """Rows of tables that a full dump may give as one value and a count."""
        return SHORT_ROWS if self.bytes == Limits().bytes else self.bytes // BYTES_A_ROW

    def within(self, captured: int) -> Limits:
        """Limits for an image of so many bytes.

        Records that are reached from many places can be visited many times; a default gives way
        to a small multiple of what is there, and what the user asked for stays.
        """
        default = Limits()
        nodes, size = self.nodes, self.bytes
        if nodes == default.nodes:
            nodes = min(nodes, LEAST_NODES + captured // BYTES_A_NODE)
        if size == default.bytes:
            # Tables of terabytes of memory are larger than the default, and each byte counts once.
            size = min(max(size, captured), LEAST_BYTES + captured * COPIES)
        return replace(self, nodes=nodes, bytes=size)


@dataclass(slots=True)
class OpenOptions:
    """How to open a capture: what it does not record itself, and bounds of the work.

    Args:
        root: physical address of the KHO root, or the name of a tree in a debugfs copy.
        page_size: bytes.
        base: physical address of the first byte of a raw memory file.
        scratch: areas as (physical address, bytes).
        debugfs: copy of /sys/kernel/debug/kho of the same moment.
        abi: layout by definition id; None for the definition alone.
        formats: folders of further definitions.
    """

    root: int | str | None = None
    page_size: int | None = None
    byteorder: Literal["little", "big"] | None = None
    base: int | None = None
    scratch: list[tuple[int, int]] = field(default_factory=list)
    debugfs: str | None = None
    abi: dict[str, str | None] = field(default_factory=dict)
    formats: list[str] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Budget:
    """What is left of the limits during one walk."""

    limits: Limits = field(default_factory=Limits)
    nodes: int = 0
    bytes: int = 0

    def spend(self, nodes: int = 0, size: int = 0) -> bool:
        """Count ``nodes`` and ``size`` bytes; False once a limit is passed."""
        self.nodes += nodes
        self.bytes += size
        return self.nodes <= self.limits.nodes and self.bytes <= self.limits.bytes
