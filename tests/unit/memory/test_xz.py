"""Files of several xz streams, with padding, cut off, or with something behind them."""

from __future__ import annotations

import io
import lzma

import pytest

from khotool.errors import InputError
from khotool.memory.compression import expand

ONE, TWO = lzma.compress(b"one" * 50_000), lzma.compress(b"two" * 50_000)
TEXT = b"one" * 50_000 + b"two" * 50_000


@pytest.mark.parametrize(
    "data",
    [
        ONE + TWO,
        ONE + bytes(8) + TWO,
        ONE + bytes(1 << 17) + TWO + bytes(4),
        ONE + TWO + b"something else",
    ],
    ids=["joined", "padded", "far-apart", "followed"],
)
def test_streams_are_joined(data: bytes) -> None:
    """Every stream is expanded; padding and what is no stream behind the last one are not."""
    result = expand("x", io.BytesIO(data), "xz", len(data))
    assert bytes(result.data) == TEXT
    assert result.notes == []


def test_a_second_stream_that_is_cut_off() -> None:
    """What was expanded stays, and a note says that the rest is missing."""
    result = expand("x", io.BytesIO(ONE + TWO[:-9]), "xz", None)
    assert bytes(result.data) == TEXT[: len(result.data)]
    assert len(result.data) >= len(ONE)
    assert "cut off" in result.notes[0]


def test_a_header_alone() -> None:
    """A file that ends within the first header gives nothing."""
    with pytest.raises(InputError, match="cut off"):
        expand("x", io.BytesIO(ONE[:10]), "xz", None)
