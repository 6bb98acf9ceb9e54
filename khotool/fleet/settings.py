"""What is asked of every image of a scan."""

from __future__ import annotations

from khotool.records import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked of every image.

    Args:
        kernels: releases whose verdict is wanted.
        formats: folders of further definitions.
        seconds: time for one image.
        memory: bytes of address space for the process that examines it.
        scan: digest of what changes the rows; see ``settings_digest``.
    """

    kernels: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    seconds: float = 60.0
    memory: int = 4 << 30
    scan: str = ""
