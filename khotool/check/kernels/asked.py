"""The kernel that a verdict is asked of: a release, what is queued, a posting, or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from khotool.abi.definition import AbiSet, Kind
from khotool.abi.registry import Registry
from khotool.abi.releases import Release, find_set, span, unknown_release
from khotool.errors import UsageError
from khotool.records import dataclass, replace


class Direction(StrEnum):
    """From the release that wrote an image to the one that is to take it."""

    UPGRADE = "upgrade"
    SAME = "same"
    ROLLBACK = "rollback"


def direction(writer: str, asked: AskedKernel) -> Direction | None:
    """Whether a kernel is later than the writer of an image; None where that is not known.

    Args:
        writer: its release, untrusted text.
    """
    old, new = Release.parse(writer), asked.release
    if old is None:
        return None
    if new is None:
        return Direction.UPGRADE if asked.abi.status == "queued" else None
    if old == new:
        return Direction.SAME
    return Direction.UPGRADE if old < new else Direction.ROLLBACK


Contains = Callable[[bytes], bool | None]
"""True if a kernel has a text, None if its code cannot be read."""


@dataclass(frozen=True, slots=True)
class AskedKernel:
    """A kernel, and where the knowledge of it is from.

    Args:
        name: as it was asked for.
        abi: what it speaks.
        file: what was derived from a file; None for a kernel that was asked for by name.
        assumed: handlers out of tree that the kernel is taken to have.
    """

    name: str
    abi: AbiSet
    file: FromFile | None = None
    assumed: tuple[str, ...] = ()

    @property
    def release(self) -> Release | None:
        """The release; of a set without one, none."""
        if self.file is not None:
            return Release.parse(self.file.release)
        return Release.parse(self.name)

    def document(self) -> dict[str, Any]:
        """The set, unless it is that of a release as merged; and what a file says."""
        found: dict[str, Any] = {"set": self.abi.id}
        if self.abi.status != "merged":
            found["status"] = self.abi.status
        if self.assumed:
            found["assumed_handlers"] = list(self.assumed)
        if self.file is not None:
            found["file"] = {
                "release": self.file.release,
                "exact": self.file.exact,
                "strings_read": self.file.strings_read,
                "not_registered": list(self.file.not_registered),
                "machine": self.file.machine or None,
                "page_size": self.file.page_size or None,
                "packing": self.file.packing or None,
                "structs": self.file.structs,
                "differences": [
                    {"format": m.format, "struct": m.struct, "field": m.field, "message": m.text}
                    for m in self.file.misfits
                ],
            }
        return found


@dataclass(frozen=True, slots=True)
class Misfit:
    """A struct that a kernel declares in another way than its definition.

    Args:
        field: empty for the struct as a whole.
        text: how.
    """

    format: str
    struct: str
    field: str
    text: str


@dataclass(frozen=True, slots=True)
class FromFile:
    """What a kernel's file says.

    Args:
        release: of its banner; empty for none.
        exact: a set has this release; otherwise the nearest set before it was taken.
        strings_read: the strings of its code could be looked for.
        not_registered: entries, handlers and FLBs of the set whose strings it does not have.
        machine: as ``uname -m`` says it; empty if the file does not tell.
        page_size: bytes of a page; 0 if the file does not tell.
        packing: how its code is packed, where that is not read; empty if it is.
        structs: number of structs that were compared with its BTF; None if it has none.
        misfits: those of them that differ.
    """

    release: str
    exact: bool
    strings_read: bool
    not_registered: tuple[str, ...]
    machine: str = ""
    page_size: int = 0
    packing: str = ""
    structs: int | None = None
    misfits: tuple[Misfit, ...] = ()


def asked_kernel(name: str, registry: Registry) -> AskedKernel:
    """A kernel by release, or by the id of a set that is queued or was only posted.

    Raises:
        UsageError: neither; names the nearest.
    """
    release = Release.parse(name)
    abi = find_set(release, registry.sets) if release is not None else registry.sets.get(name)
    if abi is None:
        raise UsageError(unknown_release(name, registry.sets))
    return AskedKernel(name, abi)


def asked_file(
    name: str,
    release: str,
    contains: Contains,
    registry: Registry,
    *,
    machine: str = "",
    page_size: int = 0,
) -> AskedKernel:
    """A kernel by its file: the set of its release, less what the file does not register.

    Args:
        release: as the file has it; empty if it has none, and its root string decides.
        contains: looks for a text in the kernel's code.
        machine, page_size: see ``FromFile``.

    Raises:
        UsageError: the file shows neither a release nor a root string that khotool knows.
    """
    read = contains(b"Linux version ") is not None
    abi, exact = _set_of_file(release, contains if read else None, registry)
    if abi is None:
        why = unknown_release(release, registry.sets) if release else "no release is in the file"
        raise UsageError(f"{name}: {why}")
    lost: list[str] = []

    def registered(what: str, identifier: str) -> bool:
        if not read or _has(contains, registry, identifier):
            return True
        lost.append(what)
        return False

    narrowed = replace(
        abi,
        entries={n: i for n, i in abi.entries.items() if registered(n, i)},
        files=tuple(i for i in abi.files if registered(i, i)),
        flbs=tuple(i for i in abi.flbs if registered(i, i)),
    )
    file = FromFile(release, exact, read, tuple(lost), machine, page_size)
    return AskedKernel(name, narrowed, file)


def _set_of_file(
    release: str, contains: Contains | None, registry: Registry
) -> tuple[AbiSet | None, bool]:
    """The set of a file's release, or the last one before it whose root string the file has."""
    parsed = Release.parse(release)
    found = find_set(parsed, registry.sets) if parsed is not None else None
    if found is not None:
        return found, True
    near = [
        abi
        for low, abi in _by_release(registry.sets)
        if (parsed is None or low <= parsed)
        and (contains is None or _has(contains, registry, abi.root))
    ]
    usable = near and (parsed is not None or contains is not None)
    return (near[-1] if usable else None), False


def _by_release(sets: Mapping[str, AbiSet]) -> list[tuple[Release, AbiSet]]:
    """Sets of releases, oldest first."""
    spans = ((span(abi.first, abi.last), abi) for abi in sets.values())
    found = [(ends[0], abi) for ends, abi in spans if ends is not None]
    return sorted(found, key=lambda item: item[0])


def _has(contains: Contains, registry: Registry, identifier: str) -> bool:
    """True if a file has one of the strings that select a definition, or if it has none to have."""
    definition = registry.get(identifier)
    key = "name" if definition.kind is Kind.FLB else "compatible"
    strings = definition.match.get(key, ())
    return not strings or any(contains(text.encode() + b"\0") for text in strings)
