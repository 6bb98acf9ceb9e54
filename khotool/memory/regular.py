"""Regular files: what is read as a whole has an end, and nothing waits for a writer."""

from __future__ import annotations

import mmap
import os
import stat
from io import BufferedReader

from khotool.errors import InputError
from khotool.memory import lost
from khotool.memory.mapped import map_for_reading

LARGEST = 4 << 30
"""Bytes of a file that is read as a whole."""
PIECE = 1 << 20
FLAGS = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
TRACING = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


def open_regular(path: str | os.PathLike[str], *, what: str = "") -> BufferedReader:
    """Open a file that is on a disk or in sysfs, and never one that has no end.

    A pipe is not waited for, and a device is not touched.

    Args:
        what: option that names the file, for the message.

    Raises:
        InputError: a folder, a pipe, a device, or a file of /proc that is made as it is read.
        OSError: it cannot be opened.
    """
    name = f"{what} {os.fsdecode(path)}".lstrip()

    def opener(where: str, flags: int) -> int:
        _refuse(os.stat(where), name)
        handle = os.open(where, flags | FLAGS)
        try:
            # It may be a different file by now.
            _refuse(os.fstat(handle), name)
        except BaseException:
            os.close(handle)
            raise
        return handle

    return open(path, "rb", opener=opener)


def _refuse(status: os.stat_result, name: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name}: Is a directory; name a file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{name}: not a regular file; copy it to one first")
    if not status.st_size and status.st_dev in _made_as_read():
        raise InputError(f"{name}: made as it is read, maybe without end; copy it to a file first")


def _made_as_read() -> set[int]:
    """Devices of /proc and of tracing, where a file of 0 bytes can wait for what comes."""
    # Where tracing is not mounted, its folder is of sysfs, whose files say how long they are.
    folders = ["/proc", *filter(os.path.ismount, TRACING)]
    return {os.stat(folder).st_dev for folder in folders if os.path.isdir(folder)}


def read_regular(
    path: str | os.PathLike[str],
    *,
    limit: int = LARGEST,
    what: str = "",
    advice: str = "name a file that exists",
) -> bytes:
    """The contents of a regular file.

    Args:
        limit: bytes that it may have.
        what: option that names the file.
        advice: what to do if it cannot be opened.

    Raises:
        InputError: one line that says what is wrong and what to do.
    """
    name = f"{what} {os.fsdecode(path)}".lstrip()
    try:
        with open_regular(path, what=what) as file:
            data = _read(file, limit)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{name}: {reason}; {advice}") from None
    if data is None:
        raise InputError(f"{name}: larger than {limit} bytes")
    return data


def mapped_regular(path: str | os.PathLike[str], *, limit: int = LARGEST) -> bytes | mmap.mmap:
    """The contents of a regular file, mapped where it is large.

    Raises:
        InputError: see ``read_regular``; a file that is mapped is larger than ``limit`` bytes, too.
    """
    try:
        large = os.stat(path).st_size > PIECE
    except (OSError, ValueError):
        large = False
    if not large:
        return read_regular(path, limit=limit)
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise InputError(f"{os.fsdecode(path)}: larger than {limit} bytes")
        lost.watch(path)
        return map_for_reading(file)


def _read(file: BufferedReader, limit: int) -> bytes | None:
    """All that is in a file, piece by piece, whatever it says of its size; None beyond a limit."""
    if os.fstat(file.fileno()).st_size > limit:
        return None
    data = bytearray()
    while piece := file.read(PIECE):
        data += piece
        if len(data) > limit:
            return None
    return bytes(data)
