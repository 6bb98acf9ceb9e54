"""Copies of /sys/kernel/debug/kho, as a directory or a tar."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO, cast

from khotool.errors import InputError
from khotool.memory.space import ADDRESS_LIMIT, SourceInfo
from khotool.records import dataclass, field

#: Bytes taken of one file, files taken of one copy, names looked at, levels of directories.
FILE_LIMIT = 16 << 20
TAKEN_LIMIT = 4096
NAME_LIMIT = 65536
DEPTH_LIMIT = 32
#: Bytes of an extended header of a tar archive.
EXTENDED_LIMIT = 1 << 16
_DIGITS = re.compile(rb"[0-9]{100}")
_TOTAL_LIMIT = 256 << 20
_SCRATCH_LINES = 4096

_OWN_FILES = ("fdt", "scratch_phys", "scratch_len", "finalize")
_SUBTREES = "sub_fdts"
# What tarfile raises for damaged archives, beyond its own errors.
_TAR_ERRORS = (
    tarfile.TarError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    MemoryError,
)

Parts = tuple[str, ...]


@dataclass(slots=True)
class DebugfsTree:
    """One directory ``in`` or ``out`` of the copy.

    Args:
        name: its path relative to what was opened, such as ``in/kho/in``; ``in`` or ``out`` when
            it was opened itself.
        direction: ``in`` for what this kernel was handed, ``out`` for what it hands over.
        fdt: contents of ``fdt``, None without it.
        subtrees: contents of the files in ``sub_fdts``, by name.
        scratch: scratch areas as (physical address, size in bytes); None without the files.
        finalized: what ``finalize`` says; None without it.
    """

    name: str
    direction: str
    fdt: bytes | None = None
    subtrees: dict[str, bytes] = field(default_factory=dict)
    scratch: list[tuple[int, int]] | None = None
    finalized: bool | None = None


@dataclass(slots=True)
class DebugfsCopy:
    """All trees found in a directory or tar; names are untrusted text.

    Args:
        info: container ``debugfs``.
        trees: by name, in ascending order.
    """

    info: SourceInfo
    trees: list[DebugfsTree]


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is a tar archive."""
    return head[257:262] == b"ustar"


def open_directory(path: str) -> DebugfsCopy:
    """Read the trees below a directory; symbolic links are not followed.

    Raises:
        InputError: there is no tree, or the directory cannot be read.
    """
    info = SourceInfo(path, "debugfs")
    collector = _Collector(info, os.path.basename(os.path.abspath(path)))
    _walk(info, path, collector)
    return _finish(info, collector, "directory")


class _Member(tarfile.TarInfo):
    """A member whose extended headers are small and simple enough for tarfile to read.

    Python's search in a header takes time that grows with the square of a run of digits
    (CVE-2024-6232), and it reads a header of any length into memory.
    """

    def _proc_pax(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        data = self._extended(archive)
        if _DIGITS.search(data) is not None:
            raise _ExtendedError("an extended header with a number of 100 digits or more")
        return super()._proc_pax(archive)  # type: ignore[misc, no-any-return]

    def _proc_gnulong(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        self._extended(archive)
        return super()._proc_gnulong(archive)  # type: ignore[misc, no-any-return]

    def _extended(self, archive: tarfile.TarFile) -> bytes:
        if self.size > EXTENDED_LIMIT:
            raise _ExtendedError(f"an extended header of {self.size} bytes")
        file = archive.fileobj
        assert file is not None
        at = file.tell()
        data = file.read(self.size)
        file.seek(at)
        return data


class _ExtendedError(tarfile.ReadError):
    """An extended header that is left alone."""


def open_tar(info: SourceInfo, data: memoryview) -> DebugfsCopy:
    """Read the trees in a tar archive, in place.

    Args:
        info: gets the container and notes.
        data: the whole archive, not compressed.

    Raises:
        InputError: there is no tree, or nothing could be read of the archive.
    """
    info.container = "debugfs"
    collector = _Collector(info, "")
    seen = 0
    try:
        file = cast(IO[bytes], _ViewFile(data))
        with tarfile.open(
            fileobj=file, mode="r:", errors="backslashreplace", tarinfo=_Member
        ) as archive:
            for member in archive:
                seen += 1
                if seen > NAME_LIMIT:
                    info.notes.append(f"only the first {NAME_LIMIT} members are looked at")
                    break
                _take_member(info, archive, member, collector)
    except _TAR_ERRORS as error:
        if not collector.files:
            raise InputError(f"{info.path}: damaged tar archive: {error}") from error
        info.notes.append(f"the tar archive is damaged after {seen} members: {error}")
    return _finish(info, collector, "tar archive")


class _ViewFile(io.RawIOBase):
    """A file object over bytes that are already mapped."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        base = (0, self._position, len(self._data))[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "seek before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        chunk = self._data[self._position : self._position + len(buffer)]
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)


def _take_member(
    info: SourceInfo, archive: tarfile.TarFile, member: tarfile.TarInfo, collector: _Collector
) -> None:
    parts = tuple(part for part in member.name.split("/") if part not in ("", "."))
    if ".." in parts:
        info.notes.append(f"{member.name[:200]!r} is left out: its name holds '..'")
        return
    if member.isdir():
        collector.directory(parts)
    elif member.isreg() and collector.wanted(parts) and collector.room(parts, member.size):
        source = archive.extractfile(member)
        # Only members of other kinds have no contents.
        assert source is not None
        collector.add(parts, source.read(FILE_LIMIT))


class _Collector:
    """Keeps the files that belong to trees, within the limits."""

    def __init__(self, info: SourceInfo, top: str) -> None:
        self.info = info
        self.files: dict[Parts, bytes] = {}
        self.directories: set[Parts] = set()
        self._top = top
        self._bytes = 0

    def wanted(self, parts: Parts) -> bool:
        """Whether a path names a file of a tree."""
        if not parts or len(parts) > DEPTH_LIMIT:
            return False
        parent = parts[-2] if len(parts) > 1 else ""
        if parent == _SUBTREES:
            return True
        if parts[-1] == "state":
            return parent == "liveupdate"
        # Without a parent the tree itself was opened, under whatever name.
        return parts[-1] in _OWN_FILES and parent in ("in", "out", "")

    def room(self, parts: Parts, size: int) -> bool:
        """Whether a file of ``size`` bytes may be taken; a note says why not."""
        name = "/".join(parts)
        if size > FILE_LIMIT:
            self.info.notes.append(f"{name}: {size} bytes, more than {FILE_LIMIT}: left out")
        elif len(self.files) >= TAKEN_LIMIT or self._bytes + size > _TOTAL_LIMIT:
            self._once("the copy holds more files than are read: the rest is left out")
        else:
            return True
        return False

    def _once(self, note: str) -> None:
        if note not in self.info.notes[-1:]:
            self.info.notes.append(note)

    def add(self, parts: Parts, data: bytes) -> None:
        """Keep a file; a later one of the same name replaces it."""
        self._bytes += len(data)
        self.files[parts] = data

    def directory(self, parts: Parts) -> None:
        """Remember a directory: ``in/sub_fdts`` may be empty."""
        if len(parts) <= DEPTH_LIMIT:
            self.directories.add(parts)

    def roots(self) -> Iterator[Parts]:
        """Directories that are trees."""
        found: set[Parts] = set()
        for parts in self.files:
            if parts[-1] in _OWN_FILES and parts[-2:-1] != (_SUBTREES,):
                found.add(parts[:-1])
            elif parts[-2:-1] == (_SUBTREES,):
                found.add(parts[:-2])
        for parts in self.directories:
            if parts[-1:] == (_SUBTREES,):
                found.add(parts[:-1])
        for root in sorted(found):
            if not root or root[-1] in ("in", "out"):
                yield root

    def direction(self, root: Parts) -> str:
        """``in`` or ``out``: from the name, else from the files only ``out`` has."""
        name = root[-1] if root else self._top
        if name in ("in", "out"):
            return name
        return "out" if any((*root, own) in self.files for own in _OWN_FILES[1:]) else "in"


def _walk(info: SourceInfo, top: str, collector: _Collector) -> None:
    pending: list[Parts] = [()]
    seen = 0
    while pending:
        parts = pending.pop()
        try:
            with os.scandir(os.path.join(top, *parts)) as entries:
                for entry in entries:
                    seen += 1
                    if seen > NAME_LIMIT:
                        info.notes.append(f"only the first {NAME_LIMIT} names are looked at")
                        return
                    path = (*parts, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        collector.directory(path)
                        if len(path) < DEPTH_LIMIT:
                            pending.append(path)
                    elif entry.is_file(follow_symlinks=False) and collector.wanted(path):
                        _take_file(info, entry.path, path, collector)
        except OSError as error:
            if not parts:
                raise InputError(f"{top}: cannot be read: {error.strerror or error}") from error
            info.notes.append(f"{'/'.join(parts)}: cannot be read: {error.strerror or error}")


def _take_file(info: SourceInfo, place: str, parts: Parts, collector: _Collector) -> None:
    name = "/".join(parts)
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or not collector.room(parts, status.st_size):
                return
            # Text files of debugfs say that they are empty.
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        info.notes.append(f"{name}: cannot be read: {error.strerror or error}")
        return
    if collector.room(parts, len(data)):
        collector.add(parts, data)


def _finish(info: SourceInfo, collector: _Collector, what: str) -> DebugfsCopy:
    by_root = {root: _tree(info, collector, root) for root in collector.roots()}
    for parts in sorted(collector.files):
        if parts[-2:-1] == (_SUBTREES,) and parts[:-2] in by_root:
            by_root[parts[:-2]].subtrees[_printable(parts[-1])] = collector.files[parts]
    trees = list(by_root.values())
    if not trees:
        unread = f" ({info.notes[0]})" if info.notes else ""
        raise InputError(
            f"{info.path}: no copy of /sys/kernel/debug/kho in this {what}{unread}; "
            f"it has directories 'in' or 'out' with fdt, sub_fdts or scratch_phys"
        )
    return DebugfsCopy(info, trees)


def _tree(info: SourceInfo, collector: _Collector, root: Parts) -> DebugfsTree:
    direction = collector.direction(root)
    name = _printable("/".join(root)) or direction
    files = collector.files
    tree = DebugfsTree(name, direction, fdt=files.get((*root, "fdt")))
    phys, size = files.get((*root, "scratch_phys")), files.get((*root, "scratch_len"))
    if phys is not None and size is not None:
        tree.scratch = _scratch(info, name, phys, size)
    flag = files.get((*root, "finalize"), b"").strip(b" \n\0")
    tree.finalized = {b"0": False, b"1": True, b"N": False, b"Y": True}.get(flag)
    return tree


def _scratch(info: SourceInfo, name: str, phys: bytes, size: bytes) -> list[tuple[int, int]] | None:
    addresses, sizes = _numbers(phys), _numbers(size)
    if addresses is None or sizes is None or len(addresses) != len(sizes):
        info.notes.append(f"{name}: scratch_phys and scratch_len are not equal lists of numbers")
        return None
    return list(zip(addresses, sizes, strict=True))


def _numbers(text: bytes) -> list[int] | None:
    result: list[int] = []
    lines: Iterable[bytes] = text.rstrip(b"\0").split(b"\n")[: _SCRATCH_LINES + 1]
    for line in lines:
        word = line.strip()
        if not word:
            continue
        try:
            number = int(word[:20], 16)
        except ValueError:
            return None
        if not 0 <= number < ADDRESS_LIMIT or len(word) > 18:
            return None
        result.append(number)
    return result


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
