"""Pages as dumps store them: what is missing or damaged says so."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from khotool.memory import pagecodec
from khotool.memory.compression import zstd_module
from khotool.memory.pagecodec import LZO, SNAPPY, ZLIB, ZSTD, BadPage, PageCodec

PAGE = b"page" * 1024


class LzoError(Exception):
    """What the library for lzo raises."""


@pytest.fixture
def lzo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library for lzo as it is called: no header, the size given; ``[size, bytes]`` within."""

    def decompress(data: bytes, header: bool, size: int) -> bytes:
        assert not header
        if data[:1] != b"L":
            raise LzoError("Compressed data violation -6")
        return data[1:] * (size // len(data[1:]))

    module = ModuleType("lzo")
    module.error = LzoError  # type: ignore[attr-defined]
    module.decompress = decompress  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lzo", module)


@pytest.mark.usefixtures("lzo")
def test_lzo() -> None:
    """Pages come back whole and in part; a damaged one says so, as does a short one."""
    codec = PageCodec(len(PAGE))
    assert codec.page(memoryview(b"Lpage"), LZO) == PAGE
    assert codec.prefix(memoryview(b"Lpage"), LZO, 6) == b"pagepa"
    with pytest.raises(BadPage, match="the stored page is damaged: Compressed data violation -6"):
        codec.page(memoryview(b"xpage"), LZO)
    with pytest.raises(BadPage, match="expands to 4095 bytes, not 4096"):
        codec.page(memoryview(b"Lpag"), LZO)


def test_zstd_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the message names what to install."""
    monkeypatch.setattr(pagecodec, "zstd_module", lambda: None)
    with pytest.raises(BadPage, match=r'compressed with zstd; install it: pip install "khotool\['):
        PageCodec(4096).page(memoryview(b"x"), ZSTD)


@pytest.mark.parametrize("kind", [ZLIB, ZSTD, SNAPPY])
def test_damage(kind: int) -> None:
    """Noise is a damaged page, whichever library looks at it."""
    if kind == ZSTD and zstd_module() is None:
        pytest.skip("no zstd")
    if kind == SNAPPY:
        pytest.importorskip("snappy")
    with pytest.raises(BadPage, match="the stored page is damaged: "):
        PageCodec(4096).page(memoryview(b"\x80\x20" + b"\xff" * 40), kind)


def test_unknown_kind() -> None:
    """Two kinds at once are none."""
    with pytest.raises(BadPage, match="stored with unknown flags 0x3"):
        PageCodec(4096).page(memoryview(b"x"), ZLIB | LZO)
