from __future__ import annotations

import gzip
import io
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from khotool.errors import InputError
from khotool.memory import compression
from khotool.memory.compression import expand, zstd_module
from khotool.memory.source import open_source
from khotool.memory.space import AddressSpace

ZSTD = zstd_module()


def zstd_compress(data: bytes) -> bytes:
    if ZSTD is None:
        pytest.skip("no zstd")
    return bytes(ZSTD.compress(data))  # type: ignore[attr-defined]


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstd_compress,
}
ways = pytest.mark.parametrize("kind", list(WAYS))


@ways
def test_compressed_file_opens(tmp_path: Path, kind: str) -> None:
    """The compression shows in the bytes, and the progress reaches the size of the file."""
    content = bytes(range(256)) * 40
    path = tmp_path / "image"
    path.write_bytes(WAYS[kind](content))
    seen: list[tuple[int, int | None]] = []
    space = open_source(path, base=0x1000, progress=lambda done, total: seen.append((done, total)))
    assert isinstance(space, AddressSpace)
    with space:
        assert space.info.compression == kind
        assert bytes(space.read(0x1000, len(content))) == content
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)


@ways
def test_large_output_goes_to_a_sparse_file(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the memory limit the bytes are the same, zeros and odd ends included."""
    monkeypatch.setattr(compression, "MEMORY_LIMIT", 1000)
    content = b"a" * 70000 + bytes(300000) + b"b" * 5 + bytes(1 << 17) + bytes(77)
    packed = WAYS[kind](content)
    result = expand("x", io.BytesIO(packed), kind, len(packed))
    assert bytes(result.data) == content
    assert result.notes == []
    result.release()


@ways
def test_output_limit(kind: str) -> None:
    """A file that expands beyond the limit is refused with the flag that raises it."""
    packed = WAYS[kind](bytes(5_000_000))
    with pytest.raises(InputError, match="--limit bytes=N"):
        expand("x", io.BytesIO(packed), kind, len(packed), limit=4_999_999)
    assert len(expand("x", io.BytesIO(packed), kind, None, limit=5_000_000).data) == 5_000_000


@ways
def test_truncated_stream_keeps_what_is_there(kind: str) -> None:
    """What was decompressed before the cut is used, with a note."""
    content = b"".join(number.to_bytes(4, "little") for number in range(600_000))
    packed = WAYS[kind](content)
    cut = packed[: len(packed) - len(packed) // 4]
    result = expand("x", io.BytesIO(cut), kind, len(cut))
    assert result.data
    assert bytes(result.data) == content[: len(result.data)]
    assert "cut off" in result.notes[0]


@ways
def test_damaged_stream(kind: str) -> None:
    """Nothing but a magic is an error of one line."""
    with pytest.raises(InputError, match="does not decompress") as caught:
        expand("x", io.BytesIO(compression.MAGICS[kind] + b"\xff" * 60), kind, 64)
    assert "\n" not in str(caught.value)


def test_missing_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the message names the package."""
    monkeypatch.setattr(compression, "zstd_module", lambda: None)
    with pytest.raises(InputError, match="pip install backports-zstd"):
        expand("x", io.BytesIO(b"\x28\xb5\x2f\xfd"), "zstd", 4)


def test_nothing_inside(tmp_path: Path) -> None:
    """A compressed empty file is an error, not an empty image."""
    path = tmp_path / "image"
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(InputError, match="expands to nothing"):
        open_source(path)


def test_no_room_to_expand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is an error that names the directory, and nothing is left open."""
    monkeypatch.setattr(compression, "MEMORY_LIMIT", 1000)
    made: list[Full] = []

    class Full(io.BytesIO):
        def write(self, _: object, /) -> int:
            raise OSError(28, "No space left on device")

    def temporary(prefix: str) -> Full:
        made.append(Full())
        return made[0]

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary)
    with pytest.raises(InputError, match=r"x: no room to expand it in .* \(No space left on dev"):
        expand("x", io.BytesIO(gzip.compress(b"a" * 100_000)), "gzip", None)
    assert made[0].closed


def test_a_lack_of_memory_is_not_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was expanded so far is no answer: the rest of the file is sound."""
    path = tmp_path / "image.xz"
    path.write_bytes(lzma.compress(bytes(1 << 20)))

    def exhausted(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(compression._XzReader, "read1", exhausted)
    with path.open("rb") as file, pytest.raises(InputError, match="not enough memory to expand"):
        expand(str(path), file, "xz", None)
