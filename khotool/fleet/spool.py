"""Images that are not files of this machine, as temporary files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from khotool.errors import InputError
from khotool.fleet.inputs import Item
from khotool.fleet.tars import BLOCK, Tars, open_file
from khotool.memory.compression import DEFAULT_LIMIT
from khotool.records import replace


@contextmanager
def unpacked(item: Item, tars: Tars) -> Iterator[Item]:
    """An image as a worker can read it by itself: what has to be unpacked is, for as long.

    One that cannot be unpacked has the error.
    """
    if item.error or not item.member:
        yield item
        return
    with ExitStack() as stack:
        try:
            path = stack.enter_context(_temporary())
            with open(path, "wb") as out:
                tars.copy(item.path, item.index, item.member, out)
            here = replace(item, path=path, member="")
        except InputError as error:
            here = replace(item, error=str(error).removeprefix(f"{item.path}: "))
        except OSError as error:
            here = replace(item, error=f"cannot be unpacked: {error.strerror}")
        yield here


@contextmanager
def local_copy(item: Item) -> Iterator[str]:
    """A file or folder with the image: its own, or a temporary copy.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    if "://" not in item.path and not item.offset:
        yield item.path
        return
    with _temporary() as path:
        try:
            _copy(item, path)
        except (OSError, ValueError, ImportError) as error:
            raise InputError(f"{item.path}: cannot be read: {error}") from None
        yield path


@contextmanager
def _temporary() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="khotool-fleet-") as folder:
        yield os.path.join(folder, "image")


def _copy(item: Item, path: str) -> None:
    left = item.size if item.offset and item.size is not None else DEFAULT_LIMIT
    with open_file(item.path) as source, open(path, "wb") as out:
        if item.offset:
            source.seek(item.offset)
        while left and (data := source.read(min(left, BLOCK))):
            out.write(data)
            left -= len(data)
        if not left and not item.offset and source.read(1):
            raise InputError(f"{item.path}: has more than {DEFAULT_LIMIT >> 30} GiB")
