"""Decode a built image without writing it."""

from __future__ import annotations

from khotool.abi.registry import Registry
from khotool.decode.open import open_memory
from khotool.encode.fresh import Built
from khotool.encode.segments import page_segments
from khotool.limits import OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.memory.space import SourceInfo
from khotool.model.image import Image


def image_of(built: Built, registry: Registry, path: str = "model") -> Image:
    """The image that was built.

    Args:
        path: of the file that describes it, as the image shows it.
    """
    info = SourceInfo(
        path=path,
        container="elf",
        page_size=built.geometry.page_size,
        endian=built.geometry.byteorder,
        osrelease=built.vmcoreinfo.get("OSRELEASE"),
        vmcoreinfo=dict(built.vmcoreinfo),
        machine=built.machine,
    )
    space = OverlaySpace(None, page_segments(built.segments, built.geometry.page_size))
    space.info = info
    options = OpenOptions(
        root=built.root or None,
        page_size=built.geometry.page_size,
        byteorder=built.geometry.byteorder,
    )
    return open_memory(space, registry, options)
