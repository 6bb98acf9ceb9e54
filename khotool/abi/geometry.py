"""What an image does not say about itself: page size and byte order."""

from __future__ import annotations

from typing import Literal

from khotool.records import dataclass

ByteOrder = Literal["little", "big"]

PAGE_SIZES = (4096, 16384, 65536)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Page size and byte order of the kernel that wrote an image.

    Args:
        page_size: bytes, a power of two.
        byteorder: order of every native integer; FDT containers are big-endian regardless.
    """

    page_size: int = 4096
    byteorder: ByteOrder = "little"

    @property
    def page_shift(self) -> int:
        """log2 of the page size."""
        return self.page_size.bit_length() - 1

    @property
    def prefix(self) -> Literal["<", ">"]:
        """Byte order in the notation of numpy and struct."""
        return "<" if self.byteorder == "little" else ">"
