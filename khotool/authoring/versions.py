"""Which strings a kernel takes: as its file lists them, or as khotool knows its release."""

from __future__ import annotations

from khotool.abi.definition import AbiSet, Definition, Kind, NodeType
from khotool.abi.registry import Registry
from khotool.abi.releases import unknown_release
from khotool.authoring.vmlinux import VERSIONS, Vmlinux
from khotool.errors import InputError, UsageError
from khotool.records import dataclass


@dataclass(frozen=True, slots=True)
class Versions:
    """Strings of one kernel.

    Args:
        release: of the kernel, if it is known.
        abi: id of khotool's own ABI set that the strings are from; empty if the kernel has them.
        strings: each with the ids of the definitions that it selects.
    """

    release: str | None
    abi: str
    strings: tuple[tuple[str, tuple[str, ...]], ...]


def versions_of(kernel: Vmlinux | None, release: str | None, registry: Registry) -> Versions:
    """The strings of a kernel's file; without such a section, those of its release.

    Args:
        kernel: the file; None to ask about a release alone.
        release: overrides that of the file's banner.

    Raises:
        InputError: the file cannot be read, or neither section nor release is known.
        UsageError: no ABI set has the release that was asked for.
    """
    found = None if kernel is None else kernel.versions()
    banner = None if kernel is None else kernel.release()
    if found is not None:
        return Versions(release or banner, "", _described(found, registry))
    asked = release or banner
    if asked is None:
        where = "" if kernel is None else f"{kernel.where}: "
        raise InputError(
            f"{where}no section {VERSIONS}, and no release in it; say which with --kernel RELEASE"
        )
    abi = registry.set_for(asked)
    if abi is None:
        text = unknown_release(asked, registry.sets)
        if release is not None:
            raise UsageError(text)
        assert kernel is not None
        raise InputError(f"{kernel.where}: no section {VERSIONS}, and {text}")
    return Versions(asked, abi.id, _described(strings_of(abi, registry), registry))


def _described(strings: list[str], registry: Registry) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((text, tuple(registry.variants(text))) for text in dict.fromkeys(strings))


def strings_of(abi: AbiSet, registry: Registry) -> list[str]:
    """Strings that a kernel of an ABI set writes and takes, from the root down."""
    names = [abi.root, *abi.entries.values(), *abi.nodes, *abi.files, *abi.flbs]
    found: list[str] = []
    for name in names:
        definition = registry.get(name)
        found += _own(definition)
        for below in _embedded(definition):
            if below in registry.definitions:
                found += _own(registry.definitions[below])
    return list(dict.fromkeys(found))


def _own(definition: Definition) -> tuple[str, ...]:
    return definition.match.get("name" if definition.kind is Kind.FLB else "compatible", ())


def _embedded(definition: Definition) -> list[str]:
    """Definitions of nodes that are always part of a tree."""
    found = []
    stack: list[NodeType] = [definition.fdt] if definition.fdt is not None else []
    while stack:
        node = stack.pop()
        if node.optional:
            continue
        if node.format:
            found.append(node.format)
        stack += [*node.nodes.values(), *([node.any_node] if node.any_node else [])]
    return found
