"""Budgets that keep any input bounded; a limit that is reached is a finding, never a hang."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of one walk over an image.

    Args:
        nodes: records, FDT nodes and map pages visited.
        depth: levels of nesting in trees and references.
        chain: links followed in one linked list (the kernel stops at 10000 blocks).
        bytes: bytes of metadata copied or viewed.
        scan: bytes searched for boot data that no pointer names.
    """

    nodes: int = 4_000_000
    depth: int = 64
    chain: int = 1_000_000
    bytes: int = 8 << 30
    scan: int = 1 << 30


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
