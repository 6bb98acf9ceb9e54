"""What a scan reads: files, folders, patterns, tars of images, URLs; one item for each image."""

from __future__ import annotations

import glob
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence

from khotool.errors import InputError, UsageError
from khotool.records import dataclass, field

MEMBER = "!"
"""Between the path of a tar and the name of a member."""
DEBUGFS_NAMES = frozenset({"fdt", "scratch_phys", "scratch_len", "finalize", "sub_fdts"})
"""Names that only a copy of /sys/kernel/debug/kho has."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")
MAX_MEMBERS = 1_000_000
"""Members of one tar that are listed."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image to scan.

    Args:
        name: as the tables name it.
        path: of the file or folder, or the URL.
        offset: bytes of the file in front of the image, for a member of a tar.
        size: bytes; None where that is not known before it is read.
        taken: milliseconds since 1970 UTC at which it was last written; None if not known.
        member: name of a member of a compressed tar, which has no fixed place in the file.
    """

    name: str
    path: str
    offset: int = 0
    size: int | None = None
    taken: int | None = None
    member: str = ""
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
    """Every image that the inputs name, each name once.

    Raises:
        InputError: an input is not there; UsageError: a URL needs a package that is missing.
    """
    seen: set[str] = set()
    for given in inputs:
        for item in _items(given):
            if item.name in seen:
                continue
            seen.add(item.name)
            found = {label.name: label.find(item.name) for label in labels}
            item.labels.update({name: value for name, value in found.items() if value is not None})
            yield item


def _items(given: str) -> Iterator[Item]:
    if "://" in given:
        yield from _remote(given)
    elif os.path.isdir(given):
        yield from _folder(given)
    elif os.path.exists(given):
        yield from _file(given)
    elif glob.has_magic(given):
        found = sorted(glob.glob(given, recursive=True))
        if not found:
            raise InputError(f"{given}: no file matches; quote the pattern or check the folder")
        for path in found:
            yield from _folder(path) if os.path.isdir(path) else _file(path)
    else:
        raise InputError(f"{given}: no such file; give files, folders, patterns, tars or URLs")


def _folder(path: str) -> Iterator[Item]:
    if is_debugfs_copy(path):
        yield Item(path, path, taken=_taken(os.stat(path)))
        return
    for folder, folders, names in os.walk(path):
        copies = [n for n in folders if is_debugfs_copy(os.path.join(folder, n))]
        folders[:] = sorted(n for n in folders if n not in copies and not n.startswith("."))
        for name in sorted([*copies, *names]):
            if not name.startswith("."):
                inner = os.path.join(folder, name)
                yield from [Item(inner, inner)] if name in copies else _file(inner)


def is_debugfs_copy(path: str) -> bool:
    """True for a folder that is a copy of /sys/kernel/debug/kho, or of one of its trees."""
    for folder in (path, os.path.join(path, "out"), os.path.join(path, "in")):
        try:
            names = set(os.listdir(folder))
        except OSError:
            continue
        if names & DEBUGFS_NAMES:
            return True
    return False


def _file(path: str) -> Iterator[Item]:
    try:
        status = os.stat(path)
    except OSError:
        # It went away, or is a link to nothing: reading it says so, in its row.
        yield Item(path, path)
        return
    if stat.S_ISREG(status.st_mode) and path.endswith(TAR_SUFFIXES):
        members = list(_members(path))
        if members:
            yield from members
            return
    yield Item(path, path, 0, status.st_size, _taken(status))


def _taken(status: os.stat_result) -> int:
    return status.st_mtime_ns // 1_000_000


def _members(path: str) -> Iterator[Item]:
    """Images in a tar; none for a copy of debugfs, which is one image, and for what is no tar."""
    packed = not path.endswith(".tar")
    found: list[Item] = []
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if os.path.basename(member.name) in DEBUGFS_NAMES:
                    return
                if not member.isfile() or os.path.basename(member.name).startswith("."):
                    continue
                if len(found) == MAX_MEMBERS:
                    raise InputError(f"{path}: more than {MAX_MEMBERS} members; split it")
                found.append(
                    Item(
                        f"{path}{MEMBER}{member.name}",
                        path,
                        member.offset_data,
                        member.size,
                        int(member.mtime * 1000),
                        member.name if packed else "",
                    )
                )
    except (tarfile.TarError, OSError, EOFError, ValueError):
        # What could be listed is scanned; a tar of nothing is an unreadable image.
        pass
    yield from found


def _remote(url: str) -> Iterator[Item]:
    from khotool.fleet.extra import require

    fsspec = require("fsspec")
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {error}") from None
    protocol = url.partition("://")[0]
    try:
        if glob.has_magic(path):
            found = system.glob(path, detail=True)
        elif system.isdir(path):
            found = system.find(path, detail=True)
        else:
            found = {path: system.info(path)}
    except OSError as error:
        raise InputError(f"{url}: cannot be listed: {error}") from None
    for name, info in sorted(found.items()):
        if info.get("type") == "file":
            full = f"{protocol}://{name.removeprefix(f'{protocol}://')}"
            yield Item(full, full, 0, info.get("size"))
