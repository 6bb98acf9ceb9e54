"""Geometry by the numbers that tests of maps have."""

from __future__ import annotations

from khotool.abi.geometry import Geometry


def geometry_of(shift: int, prefix: str = "<") -> Geometry:
    """Pages of ``1 << shift`` bytes; byte order as numpy writes it."""
    return Geometry(1 << shift, "little" if prefix == "<" else "big")
