"""Options for opening a capture."""

from __future__ import annotations

from collections.abc import Callable

from khotool.abi.geometry import ByteOrder
from khotool.limits import Limits
from khotool.model.node import Node
from khotool.records import dataclass, field

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much is done, and how much there is in all."""

Watch = Callable[[Node, int], None]
"""Called while decoding with a node that was reached, and the nodes so far; may raise to stop."""


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
    byteorder: ByteOrder | None = None
    base: int | None = None
    scratch: list[tuple[int, int]] = field(default_factory=list)
    debugfs: str | None = None
    abi: dict[str, str | None] = field(default_factory=dict)
    formats: list[str] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
