"""An initial RAM file system: a cpio archive in the format newc."""

from __future__ import annotations

from collections.abc import Iterable

from khotool.records import dataclass

DIRECTORY, FILE, CHARACTER_DEVICE = 0o040000, 0o100000, 0o020000
TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the archive.

    Args:
        name: path without the leading slash.
        mode: type and permission bits.
        device: major and minor number of a device node.
    """

    name: str
    data: bytes | bytearray = b""
    mode: int = FILE | 0o644
    device: tuple[int, int] = (0, 0)


def archive(members: Iterable[Member]) -> bytes:
    """The archive; folders that members are in come before them. The same members, same bytes."""
    listed: dict[str, Member] = {}
    for member in members:
        parts = member.name.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            listed.setdefault(folder, Member(folder, mode=DIRECTORY | 0o755))
        listed[member.name] = member
    out = bytearray()
    for number, member in enumerate([*listed.values(), Member(TRAILER, mode=0)], 1):
        name = member.name.encode("utf-8", "surrogateescape") + b"\0"
        fields = (
            *(number, member.mode, 0, 0, 1, 0, len(member.data)),
            *(0, 0, *member.device, len(name), 0),
        )
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4)
        out += member.data
        out += bytes(-len(out) % 4)
    return bytes(out)
