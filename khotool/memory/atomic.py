"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from khotool.errors import InputError, KhotoolError
from khotool.memory import lost


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name in the same folder and rename it when all went well.

    The file is open for reading, writing and seeking. It is flushed to the disk before the
    rename. When the block raises, an older file of that name stays as it was. A symbolic link is
    followed; an older file's permission bits are kept.
    The folder is the one that the name led to in the beginning, whatever becomes of its path: what
    appears there meanwhile is replaced if it is a file or a link, never followed.

    Raises:
        KhotoolError: the directory or the file cannot be written, or ``path`` is something else
            than a regular file.
    """
    directory, name = os.path.split(os.path.realpath(path))
    temporary = f".{name[:200]}.{secrets.token_hex(8)}.tmp"
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _failure(path, error) from error
    remove = partial(os.unlink, temporary, dir_fd=folder)
    try:
        # Inside, as a signal may raise before the next line begins.
        handle, older = _create(path, folder, name, temporary)
        with lost.cleaned_up(remove), os.fdopen(handle, "w+b") as file:
            if older is not None:
                os.fchmod(file.fileno(), older)
            yield file
            try:
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise _failure(path, error) from error
        try:
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            raise _failure(path, error) from error
        # Some file systems do not know fsync of a directory.
        with contextlib.suppress(OSError):
            os.fsync(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            remove()
        raise
    finally:
        os.close(folder)


def _create(
    path: str | os.PathLike[str], folder: int, name: str, temporary: str
) -> tuple[int, int | None]:
    """Descriptor of the new file, and the permission bits of the older one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        older = _older_mode(path, folder, name)
        handle = os.open(temporary, flags, 0o666, dir_fd=folder)
    except OSError as error:
        raise _failure(path, error) from error
    return handle, older


def write_json(path: str | os.PathLike[str], document: object) -> None:
    """Write a document for programs, complete or not at all.

    Raises:
        KhotoolError: see ``replacing``.
    """
    with replacing(path) as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")


def made_folder(path: str | os.PathLike[str], option: str) -> Path:
    """A folder, made if it is not there.

    Args:
        option: that names it, for the error.

    Raises:
        InputError: it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"{option} {folder}: {error.strerror}; name a folder to write to"
        raise InputError(text) from None
    return folder


def _older_mode(path: str | os.PathLike[str], folder: int, name: str) -> int | None:
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise KhotoolError(f"{os.fsdecode(path)}: not a regular file; choose a different name")
    return stat.S_IMODE(mode)


def _failure(path: str | os.PathLike[str], error: OSError) -> KhotoolError:
    return KhotoolError(f"{os.fsdecode(path)}: cannot be written: {error.strerror or error}")
