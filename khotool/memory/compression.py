"""Files compressed with gzip, bzip2, xz or zstd, expanded once into a sparse temporary file."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import tempfile
import zlib
from collections.abc import Callable
from typing import IO, Protocol, cast

from khotool.errors import InputError
from khotool.memory import lost
from khotool.memory.mapped import map_for_reading
from khotool.records import dataclass

Progress = Callable[[int, int | None], None]

#: Bytes a compressed file may expand to by default.
DEFAULT_LIMIT = 64 << 30
#: Up to this many bytes the result stays in memory.
MEMORY_LIMIT = 32 << 20
#: What the decoder of an xz stream may take; the header asks for up to 4 GiB, ``xz -9`` for 65 MiB.
XZ_MEMORY = 256 << 20
_CHUNK = 1 << 20
_BLOCK = 1 << 16
_ZEROS = bytes(_BLOCK)

MAGICS = {
    "gzip": b"\x1f\x8b",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"\x28\xb5\x2f\xfd",
    "lz4": b"\x04\x22\x4d\x18",
}


class Reader(Protocol):
    """The part of the decompressing file objects that is used."""

    def read1(self, size: int = ..., /) -> bytes:
        """Return some bytes, none at the end."""

    def close(self) -> None:
        """Free what it holds; the file below stays open."""


class Decompressor(Protocol):
    """Decompresses one frame."""

    def decompress(self, data: bytes | memoryview, max_length: int = -1) -> bytes:
        """Return at most ``max_length`` bytes."""


class ZstdModule(Protocol):
    """The part of ``compression.zstd`` that is used."""

    ZstdError: type[Exception]
    ZstdFile: Callable[[IO[bytes]], Reader]
    ZstdDecompressor: Callable[[], Decompressor]


@dataclass(frozen=True, slots=True)
class Expanded:
    """The result of ``expand``.

    Args:
        data: the expanded bytes.
        release: frees them.
        notes: sentences for the user.
    """

    data: memoryview
    release: Callable[[], None]
    notes: list[str]


def detect(head: bytes) -> str | None:
    """Name of the compression that a file begins with, None for none."""
    for name, magic in MAGICS.items():
        if head.startswith(magic):
            return name
    return None


def zstd_module() -> ZstdModule | None:
    """The zstd module of this Python, or the backport, or None."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return cast(ZstdModule, importlib.import_module(name))
        except ImportError:
            continue
    return None


def expand(
    path: str,
    file: IO[bytes],
    kind: str,
    total: int | None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Expanded:
    """Decompress a file, stretches of zeros staying holes.

    Args:
        path: for messages.
        file: open for reading at its beginning; stays open.
        kind: a name of ``MAGICS``.
        total: bytes of the compressed file, for ``progress``.
        limit: bytes of output allowed; None for ``DEFAULT_LIMIT``.
        progress: called with compressed bytes done and ``total``.

    Raises:
        InputError: nothing could be decompressed, the limit is passed, there is no room for the
            output, the library for zstd is missing, or nothing here reads its compression.
    """
    reader, failures = open_reader(path, file, kind)
    limit = DEFAULT_LIMIT if limit is None else limit
    sink = _Sink()
    notes: list[str] = []
    try:
        while True:
            try:
                chunk = reader.read1(_CHUNK)
            except MemoryError as error:
                raise InputError(
                    f"{path}: not enough memory to expand the {kind} stream; raise --limit memory=N"
                ) from error
            except failures as error:
                why = str(error) or "cut off"
                if not sink.size:
                    message = f"{path}: the {kind} stream does not decompress: {why}"
                    raise InputError(message) from error
                notes.append(
                    f"the {kind} stream is damaged or cut off after {sink.size} expanded bytes: "
                    f"{why}"
                )
                break
            if not chunk:
                break
            if sink.size + len(chunk) > limit:
                raise InputError(
                    f"{path}: expands to more than {limit} bytes; "
                    f"raise the limit with --limit bytes=N"
                )
            try:
                sink.write(chunk)
            except OSError as error:
                raise InputError(
                    f"{path}: no room to expand it in {tempfile.gettempdir()} ({error.strerror}); "
                    f"point TMPDIR at a larger directory"
                ) from error
            if progress is not None:
                progress(file.tell(), total)
        data, release = sink.finish()
    except BaseException:
        sink.discard()
        raise
    finally:
        reader.close()
    return Expanded(data, release, notes)


def open_reader(
    path: str, file: IO[bytes], kind: str
) -> tuple[Reader, tuple[type[Exception], ...]]:
    """A reader of a compressed file, and what it raises where the file is damaged.

    Raises:
        InputError: the library is missing, or nothing here reads this compression.
    """
    common: tuple[type[Exception], ...] = (EOFError, OSError)
    if kind == "gzip":
        return gzip.GzipFile(fileobj=file, mode="rb"), (*common, zlib.error)
    if kind == "xz":
        return _XzReader(file), (*common, lzma.LZMAError)
    if kind == "bzip2":
        return bz2.BZ2File(file), common
    if kind == "lz4":
        raise InputError(
            f"{path}: compressed with lz4, which is not read; run 'lz4 -d' on it first"
        )
    zstd = zstd_module()
    if zstd is None:
        raise InputError(f"{path}: compressed with zstd; install it: pip install backports-zstd")
    return zstd.ZstdFile(file), (*common, zstd.ZstdError)


class _XzReader:
    """Decompresses the streams of an xz file one after the other, in bounded memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def read1(self, size: int = _CHUNK, /) -> bytes:
        """Return some bytes, none at the end.

        Raises:
            EOFError: the file ends within a stream.
            lzma.LZMAError: a stream is damaged, or wants more memory than ``XZ_MEMORY``.
        """
        while True:
            if self._decoder.eof:
                data = self._next_stream()
                if not data:
                    return b""
                self._decoder = self._new()
                try:
                    out = self._decoder.decompress(data, size)
                except lzma.LZMAError:
                    # What follows the last stream is not part of it.
                    return b""
            else:
                data = self._file.read(_BLOCK) if self._decoder.needs_input else b""
                if not data and self._decoder.needs_input:
                    raise EOFError("cut off")
                out = self._decoder.decompress(data, size)
            if out:
                return out

    def _next_stream(self) -> bytes:
        """Bytes after a stream and its padding; none at the end of the file."""
        data = self._decoder.unused_data.lstrip(b"\0")
        while not data:
            block = self._file.read(_BLOCK)
            if not block:
                break
            data = block.lstrip(b"\0")
        return data

    def close(self) -> None:
        """Nothing to free but the decoder."""
        self._decoder = self._new()


class _Sink:
    """Collects bytes in memory, and beyond ``MEMORY_LIMIT`` in a sparse unlinked file."""

    def __init__(self) -> None:
        self.size = 0
        self._pending = bytearray()
        self._file: IO[bytes] | None = None

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._pending += chunk
        if self._file is None and self.size > MEMORY_LIMIT:
            self._file = tempfile.TemporaryFile(prefix="khotool-")  # noqa: SIM115
        if self._file is not None:
            self._flush(self._file, len(self._pending) // _BLOCK * _BLOCK)

    def _flush(self, file: IO[bytes], length: int) -> None:
        with memoryview(self._pending) as view:
            for at in range(0, length, _BLOCK):
                block = view[at : min(at + _BLOCK, length)]
                if block == _ZEROS[: len(block)]:
                    file.seek(len(block), 1)
                else:
                    file.write(block)
                block.release()
        del self._pending[:length]

    def finish(self) -> tuple[memoryview, Callable[[], None]]:
        if self._file is None:
            data = memoryview(bytes(self._pending))
            self._pending = bytearray()
            return data, lambda: None
        self._flush(self._file, len(self._pending))
        self._file.truncate(self.size)
        self._file.flush()
        mapped = map_file(self._file)
        self.discard()
        return mapped

    def discard(self) -> None:
        self._pending = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None


def map_file(file: IO[bytes]) -> tuple[memoryview, Callable[[], None]]:
    """Map all of a file for reading; returns the bytes and what unmaps them.

    Views of the bytes that are still referenced keep the mapping alive.

    Raises:
        OSError, ValueError: the file cannot be mapped.
    """
    mapped = map_for_reading(file)
    lost.watch(file.name)
    view = memoryview(mapped)

    def release() -> None:
        try:
            view.release()
            mapped.close()
        except BufferError:
            # A view is still out; the mapping ends with the last of them.
            return

    return view, release
