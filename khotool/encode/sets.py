"""Which ABI set an image speaks."""

from __future__ import annotations

from collections.abc import Iterable

from khotool.abi.definition import AbiSet, Kind
from khotool.abi.registry import Registry
from khotool.abi.releases import unknown_release
from khotool.errors import EncodeError, UsageError
from khotool.model.image import Image


def named_set(name: str, registry: Registry) -> AbiSet:
    """The set that a kernel release, a set's id or a root's string names.

    Raises:
        UsageError: none does; names the nearest.
    """
    found = registry.set_for(name)
    if found is None:
        found = next((abi for abi in registry.sets.values() if abi.root == name), None)
    if found is None:
        raise UsageError(unknown_release(name, registry.sets))
    return found


def first_release(abi: AbiSet) -> str:
    """The first kernel that speaks a set, as ``uname -r`` says it: ``7.2.0``, ``7.1.0-rc1``."""
    version, dash, rest = abi.first.partition("-")
    return f"{version}.0{dash}{rest}" if version.count(".") == 1 else abi.first


def default_release(name: str, abi: AbiSet) -> str:
    """The kernel release that the name of a set means: the name itself, or the set's first."""
    name = name.removeprefix("v")
    base = name if name[:1].isdigit() else abi.first
    return f"{base}.0" if base.count(".") == 1 and "-" not in base else base


def set_of(image: Image) -> AbiSet:
    """The set that explains what an image uses; its release decides between equals.

    Raises:
        EncodeError: no set has this combination of strings.
    """
    sets = image.registry.sets.values()
    entries, nodes = _sought(image, sets)
    used = {definition.id for definition in image.used}
    layouts = {
        choice.definition: choice.layout for choice in image.choices if choice.among == "layout"
    }
    fitting = [
        abi
        for abi in sets
        if abi.root in used
        and entries <= set(abi.entries.values())
        and nodes <= set(abi.nodes)
        and all(abi.layouts.get(key, layout) == layout for key, layout in layouts.items())
    ]
    by_release = image.registry.set_for(image.info.osrelease or "")
    if by_release in fitting and by_release is not None:
        return by_release
    if fitting:
        return fitting[0]
    raise EncodeError("/", f"no ABI set has {', '.join(sorted(used))}; name one with --abi-set")


def _sought(image: Image, sets: Iterable[AbiSet]) -> tuple[set[str], set[str]]:
    """Ids of the entries and nodes of an image that some set has: its own set has all of them."""
    entries = {identifier for abi in sets for identifier in abi.entries.values()}
    nodes = {identifier for abi in sets for identifier in abi.nodes}
    for definition in image.used:
        if definition.status == "local":
            entries.discard(definition.id)
    return (
        entries & {d.id for d in image.used if d.kind is Kind.ENTRY},
        nodes & {d.id for d in image.used if d.kind is Kind.NODE},
    )
