"""Opening a file or directory: what it is shows in its bytes, not in its name."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import IO

from khotool.errors import InputError
from khotool.memory import compression, elf, fdtfile, kdump, lime, lost
from khotool.memory.compression import Progress
from khotool.memory.debugfs import DebugfsCopy, is_tar, open_directory, open_tar
from khotool.memory.elf import open_elf
from khotool.memory.fdtfile import BareFdt, open_fdt
from khotool.memory.kdump import open_kdump
from khotool.memory.lime import open_lime
from khotool.memory.raw import open_raw
from khotool.memory.regular import open_regular
from khotool.memory.space import AddressSpace, Part, SourceInfo

Source = AddressSpace | DebugfsCopy | BareFdt

CONTAINERS = ("elf", "kdump", "lime", "fdt", "debugfs", "raw")
#: Larger files are not dumps: /proc/kcore has the size of the kernel's address space.
_LARGEST = 1 << 45
#: Smaller files are read instead of mapped: those of debugfs and sysfs cannot be mapped.
_READ_LIMIT = 1 << 20
_HEAD = 512
KCORE = "/proc/kcore"
_DEV_MEM = os.makedev(1, 1)
_LIVE = "memory of the running kernel, which is not read like a file; use 'khotool live'"


def open_source(
    path: str | os.PathLike[str],
    *,
    base: int | None = None,
    container: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Source:
    """Open an image, a copy of the debugfs tree or a bare FDT.

    Args:
        path: a regular file, compressed or not, or a directory.
        base: physical address in bytes of the first byte of raw memory. A file that is
            recognised as a dump keeps its own addresses, with a note.
        container: one of ``CONTAINERS`` to read the file as, instead of recognising it;
            ``raw`` without ``base`` begins at 0.
        limit: bytes a compressed file may expand to.
        progress: called while a compressed file is expanded, with compressed bytes done and
            their total.

    Raises:
        InputError: one line that says what is wrong, where, and what to do next.
    """
    where = os.fsdecode(path)
    if container is not None and container not in CONTAINERS:
        raise InputError(f"{where}: no container {container!r}; there are {', '.join(CONTAINERS)}")
    try:
        status = os.stat(path)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            return open_directory(where)
        if _is_live(path, status):
            raise InputError(f"{where}: {_LIVE}")
        with open_regular(path) as file:
            lost.opened(path, os.fstat(file.fileno()))
            return _open_file(where, file, base, container, limit, progress)
    except FileNotFoundError:
        raise InputError(f"{where}: no such file; check the path") from None
    except PermissionError:
        raise InputError(f"{where}: not readable by this user; check its permissions") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: cannot be read: {error}") from error


def _is_live(path: str | os.PathLike[str], status: os.stat_result) -> bool:
    """Whether a path is /proc/kcore or /dev/mem, under whatever name."""
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == _DEV_MEM
    return os.path.realpath(os.fsdecode(path)) == KCORE


def _open_file(
    where: str,
    file: IO[bytes],
    base: int | None,
    container: str | None,
    limit: int | None,
    progress: Progress | None,
) -> Source:
    head = file.read(_HEAD)
    if not head:
        raise InputError(f"{where}: the file is empty; capture it again")
    info = SourceInfo(where, "raw", compression=compression.detect(head))
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    release: Callable[[], None]
    if info.compression is not None:
        expanded = compression.expand(where, file, info.compression, size, limit, progress)
        data, release = expanded.data, expanded.release
        for text in expanded.notes:
            info.lack(text, Part.STREAM)
        if not data:
            raise InputError(f"{where}: the {info.compression} file expands to nothing")
    elif size > _LARGEST and head.startswith(elf.MAGIC):
        raise InputError(f"{where}: {_LIVE}")
    elif size < _READ_LIMIT:
        data, release = memoryview(file.read(_READ_LIMIT)), _nothing
    else:
        data, release = compression.map_file(file)
    try:
        return _open_data(info, data, release, base, container)
    except BaseException:
        release()
        raise


def _nothing() -> None:
    return


def _open_data(
    info: SourceInfo,
    data: memoryview,
    release: Callable[[], None],
    base: int | None,
    container: str | None,
) -> Source:
    kind = container or _recognise(bytes(data[:_HEAD]), base)
    if base is not None and kind not in ("raw", None):
        info.notes.append(f"the base address is ignored: the file is recognised as {kind}")
    if kind == "elf":
        return open_elf(info, data, release)
    if kind == "kdump":
        return open_kdump(info, data, release)
    if kind == "lime":
        return open_lime(info, data, release)
    if kind == "raw":
        return open_raw(info, data, base or 0, release)
    if kind not in ("fdt", "debugfs"):
        raise InputError(
            f"{info.path}: not recognised; it is not an ELF core, a kdump-compressed dump, a "
            f"LiME file, an FDT or a tar of debugfs; give --base ADDR to read it as raw memory"
        )
    try:
        if kind == "debugfs":
            return open_tar(info, data)
        return open_fdt(info, data)
    finally:
        release()


def _recognise(head: bytes, base: int | None) -> str | None:
    if head.startswith(elf.MAGIC):
        return "elf"
    if head.startswith(kdump.MAGICS):
        return "kdump"
    if head.startswith(lime.MAGIC):
        return "lime"
    # Raw memory may well begin with an FDT.
    if base is not None:
        return "raw"
    if head.startswith(fdtfile.MAGIC):
        return "fdt"
    return "debugfs" if is_tar(head) else None
