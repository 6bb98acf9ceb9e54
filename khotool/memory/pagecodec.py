"""How one page of a kdump-compressed dump is stored."""

from __future__ import annotations

import importlib
import zlib
from typing import Protocol, cast

from khotool.memory.compression import ZstdModule, zstd_module

#: Values of ``page_desc.flags``.
STORED, ZLIB, LZO, SNAPPY, ZSTD = 0, 0x1, 0x2, 0x4, 0x20
_KINDS = ZLIB | LZO | SNAPPY | ZSTD


class _Lzo(Protocol):
    error: type[Exception]

    def decompress(self, data: bytes, header: bool, size: int, /) -> bytes: ...


class _Snappy(Protocol):
    def uncompress(self, data: bytes, /) -> bytes: ...


class BadPage(Exception):  # noqa: N818 - becomes a MemoryFault with its address
    """A stored page does not decompress; the message says why."""


class PageCodec:
    """Decompresses pages; the libraries are loaded when the first page needs them.

    Args:
        block_size: bytes of a page.
    """

    def __init__(self, block_size: int) -> None:
        self._size = block_size
        self._zstd: ZstdModule | None = None
        self._lzo: _Lzo | None = None
        self._snappy: _Snappy | None = None

    def page(self, stored: memoryview, flags: int) -> bytes | memoryview:
        """Decompress a whole page.

        Args:
            stored: the bytes in the file.
            flags: ``page_desc.flags``.

        Raises:
            BadPage: damaged, of a kind that is not known, or its library is missing.
        """
        result = self.prefix(stored, flags, self._size)
        if len(result) != self._size:
            raise BadPage(f"the stored page expands to {len(result)} bytes, not {self._size}")
        return result

    def prefix(self, stored: memoryview, flags: int, length: int) -> bytes | memoryview:
        """Decompress the first ``length`` bytes of a page, and more only where that is free."""
        kind = flags & _KINDS
        if kind == ZLIB:
            try:
                return zlib.decompressobj().decompress(stored, length)
            except zlib.error as error:
                raise BadPage(f"the stored page is damaged: {error}") from error
        if kind == STORED:
            return stored[:length]
        if kind == ZSTD:
            return self._from_zstd(stored, length)
        if kind == LZO:
            return self._from_lzo(stored)[:length]
        if kind == SNAPPY:
            return self._from_snappy(stored)[:length]
        raise BadPage(f"stored with unknown flags {flags:#x}")

    def _from_zstd(self, stored: memoryview, length: int) -> bytes:
        if self._zstd is None:
            self._zstd = zstd_module()
        if self._zstd is None:
            raise BadPage('compressed with zstd; install it: pip install "khotool[zstd]"')
        try:
            return self._zstd.ZstdDecompressor().decompress(stored, length)
        except (self._zstd.ZstdError, EOFError) as error:
            raise BadPage(f"the stored page is damaged: {error}") from error

    def _from_lzo(self, stored: memoryview) -> bytes:
        if self._lzo is None:
            try:
                self._lzo = cast(_Lzo, importlib.import_module("lzo"))
            except ImportError:
                raise BadPage(
                    'compressed with lzo; install it: pip install "khotool[lzo]"'
                ) from None
        try:
            return self._lzo.decompress(bytes(stored), False, self._size)
        except (self._lzo.error, ValueError, MemoryError) as error:
            raise BadPage(f"the stored page is damaged: {error}") from error

    def _from_snappy(self, stored: memoryview) -> bytes:
        # The first bytes tell the size of the result: a lie would be allocated.
        size = shift = 0
        for byte in stored[:5]:
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if size != self._size:
            raise BadPage(f"the stored page expands to {size} bytes, not {self._size}")
        if self._snappy is None:
            try:
                self._snappy = cast(_Snappy, importlib.import_module("snappy"))
            except ImportError:
                raise BadPage(
                    'compressed with snappy; install it: pip install "khotool[snappy]"'
                ) from None
        try:
            return self._snappy.uncompress(bytes(stored))
        # The library has an error class of its own in each version.
        except Exception as error:
            raise BadPage(f"the stored page is damaged: {error}") from error
