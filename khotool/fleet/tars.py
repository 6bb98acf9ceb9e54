"""Tars of images, read front to back: compressed or not, of this machine or behind a URL."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import IO, Any, cast

from khotool.errors import InputError
from khotool.memory.compression import DEFAULT_LIMIT, Reader, detect, open_reader
from khotool.records import dataclass

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst", ".tzst")
MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 16 << 30
"""Bytes of one member that are written to a temporary file."""
BLOCK = 1 << 20
MAX_READ = BLOCK
"""Bytes that are read at once: tarfile reads an extended header as a whole."""


class Seekable:
    """A plain file as tarfile reads it; no header is larger than it may be.

    Args:
        file: open for reading.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.last = b""

    @property
    def ended(self) -> bool:
        """Whether what was read last is the mark that ends a tar."""
        return self.last == bytes(tarfile.BLOCKSIZE)

    def tell(self) -> int:
        """Position in the tar."""
        return self.file.tell()

    def read(self, size: int) -> bytes:
        """That many bytes, fewer at the end.

        Raises:
            InputError: more than a header may have.
        """
        if size > MAX_READ:
            raise InputError(f"a header has {size} bytes, more than {MAX_READ}")
        self.last = self._read(size)
        return self.last

    def _read(self, size: int) -> bytes:
        return self.file.read(size)

    def seek(self, position: int) -> None:
        """Go to a position."""
        self.file.seek(position)


class Forward(Seekable):
    """A compressed file as tarfile reads it, forwards only, with a limit on what it unpacks to."""

    def __init__(self, file: IO[bytes], reader: Reader) -> None:
        super().__init__(file)
        self.reader = reader
        self.position = 0
        self.pending = b""

    def tell(self) -> int:
        """Bytes that were read or skipped."""
        return self.position

    def _read(self, size: int) -> bytes:
        parts = [self.pending[:size]]
        self.pending = self.pending[size:]
        left = size - len(parts[0])
        while left and (data := self.reader.read1(BLOCK)):
            parts.append(data[:left])
            self.pending = data[left:]
            left -= len(parts[-1])
        self.position += size - left
        if self.position > DEFAULT_LIMIT:
            raise InputError(f"it unpacks to more than {DEFAULT_LIMIT >> 30} GiB")
        return b"".join(parts)

    def seek(self, position: int) -> None:
        """Skip up to a position.

        Raises:
            InputError: it was passed already, or the limit is.
        """
        if position < self.position:
            raise InputError("it has members that overlap")
        while self.position < position and self._read(min(BLOCK, position - self.position)):
            pass


@dataclass(slots=True)
class Tar:
    """An open tar, at one of its members."""

    path: str
    file: IO[bytes]
    stream: Seekable
    tar: tarfile.TarFile
    index: int = -1
    member: tarfile.TarInfo | None = None

    @classmethod
    def open(cls, path: str) -> Tar:
        """Open a tar.

        Raises:
            InputError: it is not a tar, or cannot be read.
        """
        file: IO[bytes] | None = None
        try:
            file = open_file(path)
            head = file.read(8)
            file.seek(0)
            kind = detect(head)
            stream = Forward(file, open_reader(path, file, kind)[0]) if kind else Seekable(file)
            return cls(path, file, stream, tarfile.TarFile(fileobj=cast(Any, stream)))
        except Exception as error:
            if file is not None:
                file.close()
            raise _failure(path, error) from None

    def next(self) -> tarfile.TarInfo | None:
        """Go to the next member; None at the end.

        Raises:
            InputError: the tar is damaged here, or larger than a tar may be.
        """
        if self.index + 1 == MAX_MEMBERS:
            raise InputError(f"{self.path}: has more than {MAX_MEMBERS} members; split it")
        try:
            self.member = self.tar.next()
        except Exception as error:
            raise _failure(self.path, error) from None
        if self.member is None and not self.stream.ended:
            raise InputError(f"{self.path}: cut off or damaged after {self.index + 1} members")
        self.index += 1
        # What tarfile remembers grows with the tar.
        self.tar.members.clear()  # type: ignore[attr-defined]
        self.tar.pax_headers.clear()  # type: ignore[attr-defined]
        return self.member

    def copy(self, out: IO[bytes]) -> None:
        """Write the data of the member; stretches of zeros stay holes.

        Raises:
            InputError: it cannot be read; OSError: it cannot be written.
        """
        assert self.member is not None
        held = self.tar.extractfile(self.member)
        assert held is not None
        while True:
            try:
                data = held.read(BLOCK)
            except Exception as error:
                raise _failure(self.path, error) from None
            if not data:
                break
            if data.count(0) == len(data):
                out.seek(len(data), 1)
            else:
                out.write(data)
        out.truncate()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def open_file(path: str) -> IO[bytes]:
    """A file of this machine, or one behind a URL.

    Raises:
        OSError, ValueError: it cannot be opened; UsageError: a package is missing.
    """
    if "://" not in path:
        return open(path, "rb")
    from khotool.fleet.extra import require

    opened: IO[bytes] = require("fsspec").open(path, "rb").open()
    return opened


def _failure(path: str, error: Exception) -> InputError:
    text = str(error) or type(error).__name__
    return InputError(f"{path}: {text.removeprefix(f'{path}: ')}")


@dataclass(slots=True)
class Tars:
    """Gives the members of tars, in the order of the tars, each of which is read once."""

    open: Tar | None = None

    def copy(self, path: str, index: int, name: str, out: IO[bytes]) -> None:
        """Write the data of a member.

        Args:
            index: its place among the tar's members, from 0; a member in front of the last one
                that was copied means that the tar is read again.
            name: what the tar calls it.

        Raises:
            InputError: it cannot be read; OSError: it cannot be written.
        """
        if self.open is None or self.open.path != path or self.open.index >= index:
            self.close()
            self.open = Tar.open(path)
        while self.open.index < index:
            if self.open.next() is None:
                break
        member = self.open.member
        if member is None or member.name != name:
            raise InputError(f"{path}: the tar has changed since it was listed")
        self.open.copy(out)

    def close(self) -> None:
        """Close the tar that is open."""
        if self.open is not None:
            self.open.close()
            self.open = None


def members(path: str) -> Iterator[tuple[int, tarfile.TarInfo, bool]]:
    """Index and header of each member, and whether it needs the stream to be read.

    Raises:
        InputError: the tar is damaged; what came in front of that has been given.
    """
    tar = Tar.open(path)
    try:
        while (member := tar.next()) is not None:
            packed = isinstance(tar.stream, Forward) or "://" in path
            yield tar.index, member, packed or member.issparse()
    finally:
        tar.close()
