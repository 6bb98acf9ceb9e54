"""What a scan reads: files, folders, patterns, tars of images, URLs; one item for each image."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from khotool.errors import InputError, UsageError
from khotool.fleet import tars
from khotool.records import dataclass, field, replace

MEMBER = "!"
"""Between the path of a tar and the name of a member."""
DEBUGFS_NAMES = frozenset({"fdt", "scratch_phys", "scratch_len", "finalize", "sub_fdts"})
"""Names that only a copy of /sys/kernel/debug/kho has."""
DEBUGFS_MEMBERS = 1000
"""Members of a tar among which those names are looked for."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image to scan.

    Args:
        name: as the tables name it.
        path: of the file or folder, or the URL.
        offset: bytes of the file in front of the image, for a member of a tar.
        size: bytes; None where that is not known before it is read.
        taken: milliseconds since 1970 UTC at which it was last written; None if not known.
        member: name of a member of a tar that has to be unpacked to find it; empty for none.
        index: its place among the members of the tar, from 0.
        error: why there is nothing to read; empty where there is.
    """

    name: str
    path: str
    offset: int = 0
    size: int | None = None
    taken: int | None = None
    member: str = ""
    index: int = 0
    error: str = ""
    labels: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Label:
    """A label that a regular expression finds in an image's name: its first group, else all."""

    name: str
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> Label:
        """``NAME=REGEX``.

        Raises:
            UsageError: it is not.
        """
        name, equals, pattern = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError(f"--label {text!r}: expected NAME=REGEX such as host='([^/]+)\\.elf'")
        try:
            return cls(name, re.compile(pattern))
        except re.error as error:
            raise UsageError(f"--label {name}: not a regular expression: {error}") from None

    def find(self, text: str) -> str | None:
        """The label's value in a name; None where the expression does not match."""
        match = self.pattern.search(text)
        if match is None:
            return None
        return match[1] if match.re.groups and match[1] is not None else match[0]


def expand(inputs: Sequence[str], labels: Sequence[Label] = ()) -> Iterator[Item]:
    """Every image that the inputs name; one that several of them name comes several times.

    Raises:
        InputError: an input is not there; UsageError: a URL needs a package that is missing.
    """
    for given in inputs:
        for item in _items(given):
            # A name need not be UTF-8, a table has nothing else.
            name = os.fsencode(item.name).decode("utf-8", "backslashreplace")
            found = {label.name: label.find(name) for label in labels}
            known = {label: value for label, value in found.items() if value is not None}
            yield replace(item, name=name, labels=known)


def _items(given: str) -> Iterator[Item]:
    if "://" in given:
        yield from _remote(given)
    elif os.path.isdir(given):
        yield from _folder(given)
    elif os.path.exists(given):
        yield from _file(given)
    elif glob.has_magic(given):
        found = False
        for path in glob.iglob(given, recursive=True):
            found = True
            yield from _folder(path) if os.path.isdir(path) else _file(path)
        if not found:
            raise InputError(f"{given}: no file matches; quote the pattern or check the folder")
    else:
        raise InputError(f"{given}: no such file; give files, folders, patterns, tars or URLs")


def _folder(path: str) -> Iterator[Item]:
    """Images in a folder and those below it, without links to folders and hidden names."""
    if is_debugfs_copy(path):
        yield Item(path, path, taken=_taken(os.stat(path)))
        return
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from _folder(entry.path)
                elif not entry.is_dir():
                    yield from _file(entry.path)
    except (OSError, RecursionError) as error:
        yield Item(path, path, error=f"cannot be listed: {getattr(error, 'strerror', error)}")


def is_debugfs_copy(path: str) -> bool:
    """True for a folder that is a copy of /sys/kernel/debug/kho, or of one of its trees."""
    return any(
        os.path.lexists(os.path.join(path, tree, name))
        for tree in ("", "out", "in")
        for name in DEBUGFS_NAMES
    )


def _file(path: str) -> Iterator[Item]:
    try:
        status = os.stat(path)
    except OSError as error:
        # It went away, or is a link to nothing.
        yield Item(path, path, error=f"cannot be read: {error.strerror}")
        return
    one = Item(path, path, 0, status.st_size, _taken(status))
    if stat.S_ISREG(status.st_mode) and path.endswith(tars.SUFFIXES):
        yield from _members(one)
    else:
        yield one


def _taken(status: os.stat_result) -> int:
    return status.st_mtime_ns // 1_000_000


def _members(tar: Item) -> Iterator[Item]:
    """Images in a tar; the tar itself where it is a copy of debugfs, which is one image.

    A tar that is damaged behind some members has a row with the error, as has an empty one.
    """
    members = _listed(tar)
    first = list(islice(members, DEBUGFS_MEMBERS))
    if not first:
        yield replace(tar, error="has no image in it")
    elif not first[0].member or any(
        os.path.basename(item.member) in DEBUGFS_NAMES for item in first
    ):
        yield tar
    else:
        yield from (_placed(item) for item in chain(first, members))


def _placed(item: Item) -> Item:
    """A member, without its name in the tar where its bytes have a fixed place in the file."""
    return replace(item, member="") if item.offset else item


def _listed(tar: Item) -> Iterator[Item]:
    try:
        for index, member, packed in tars.members(tar.path):
            if member.isdir() or os.path.basename(member.name).startswith("."):
                continue
            error = ""
            if member.islnk():
                error = "is a second name of a file in the tar; use tar --hard-dereference"
            elif member.issym():
                error = "is a symbolic link in the tar; use tar --dereference"
            elif not member.isfile():
                error = "is not a regular file in the tar"
            elif member.size > tars.MAX_MEMBER_BYTES:
                error = f"has {member.size} bytes; unpack the tar to scan it"
            yield Item(
                f"{tar.path}{MEMBER}{member.name}",
                tar.path,
                0 if packed else member.offset_data,
                member.size,
                int(member.mtime * 1000),
                member.name,
                index,
                error,
            )
    except InputError as error:
        yield replace(tar, error=str(error).removeprefix(f"{tar.path}: "))


def _remote(url: str) -> Iterator[Item]:
    from khotool.fleet.extra import require

    fsspec = require("fsspec")
    try:
        # What it remembers of folders grows with them.
        system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {error}") from None
    try:
        for name, info in _found(system, path):
            if info.get("type") == "file":
                full = system.unstrip_protocol(name)
                item = Item(full, full, 0, info.get("size"))
                yield from _members(item) if full.endswith(tars.SUFFIXES) else (item,)
    except (OSError, ValueError) as error:
        raise InputError(f"{url}: cannot be listed: {error}") from None


def _found(system: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and properties of files: those that match, those below a folder, or the one."""
    if glob.has_magic(path):
        yield from system.glob(path, detail=True).items()
    elif system.isdir(path):
        for _, _, files in system.walk(path, detail=True):
            yield from ((info["name"], info) for info in files.values())
    else:
        yield path, system.info(path)
