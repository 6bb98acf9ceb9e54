"""Boot data that names a handover: payloads of setup_data, properties of /chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from khotool.abi.definition import Kind
from khotool.abi.geometry import Geometry
from khotool.abi.record import column
from khotool.abi.registry import Registry
from khotool.codec.range_map import HIGHEST, RANGE
from khotool.fdt.blob import Blob
from khotool.fdt.blob import Node as FdtNode
from khotool.maps.preserved import PreservedMap
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.model.image import Span
from khotool.pages.runs import normalise, subtract, total
from khotool.records import dataclass

if TYPE_CHECKING:
    from khotool.abi.compile import CompiledStruct

PAYLOAD = "kho_data"
"""Struct of the payload, in each definition of boot data that has one."""
SETUP_KEXEC_KHO = "SETUP_KEXEC_KHO"
ROOTS = ("linux,kho-fdt", "linux,kho-dt")
SCRATCH = "linux,kho-scratch"
MEM_CACHE = "linux,kho-mem"
CACHE = "setup_data-graf"
"""Definition of a range of the mem cache, which both kinds of boot data name."""


@dataclass(frozen=True, slots=True)
class BootPointer:
    """Boot data that points to a handover: setup_data or /chosen.

    Args:
        fdt: physical address of the KHO root.
        scratch: physical address and bytes of the scratch array, or of the only scratch area.
        why: one sentence.
        where: the node or device tree itself.
        region: ``scratch`` is an area, not an array of them.
        mem_cache: array of all preserved ranges, which kernels with such a region also get.
    """

    fdt: int
    scratch: Span
    why: str
    where: Span
    region: bool = False
    mem_cache: Span | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """A form of kho_data, and the header in front of it."""

    header: CompiledStruct
    data: CompiledStruct
    number: int

    @property
    def size(self) -> int:
        """Bytes of header and payload."""
        return self.header.size + self.data.size

    def pointer(self, values: Mapping[str, Any], node: int, registry: Registry) -> BootPointer:
        """The pointer in a payload whose node is at a physical address."""
        cache = None
        why = f"named by setup_data at {node:#x}"
        if "mem_cache_addr" in values:
            cache = Span(values["mem_cache_addr"], values["mem_cache_size"])
            why += cache_text(cache, cache_range(registry, self.header.geometry))
        return BootPointer(
            values["fdt_addr"],
            Span(values["scratch_addr"], values["scratch_size"]),
            why,
            Span(node, self.size),
            cache is not None,
            cache,
        )


def payloads(registry: Registry, geometry: Geometry) -> Iterator[Payload]:
    """Every form of kho_data that names a root."""
    for definition in registry:
        if definition.kind is not Kind.BOOT or PAYLOAD not in definition.structs:
            continue
        data = registry.compile(definition, PAYLOAD, geometry)
        if all(placed.field.label != "fdt_addr" for placed in data.fields):
            continue
        header = registry.compile(definition, definition.content, geometry)
        number = header.by_label("type").field.enum[SETUP_KEXEC_KHO]
        yield Payload(header, data, number)


def cache_range(registry: Registry, geometry: Geometry) -> CompiledStruct:
    """One range of a mem cache."""
    return registry.compile(registry.get(CACHE), RANGE, geometry)


def cache_text(cache: Span, row: CompiledStruct) -> str:
    """The mem cache that boot data names, as the end of a sentence."""
    number = cache.size // row.size
    return f", with a mem cache of {number} range{'s'[: number != 1]} at {cache.address:#x}"


def cache_differs(
    space: AddressSpace, row: CompiledStruct, cache: Span, found: PreservedMap
) -> str:
    """How a mem cache differs from the ranges of the tree; empty if it does not.

    Args:
        row: see ``cache_range``.
    """
    try:
        raw = space.read(cache.address, cache.size // row.size * row.size)
    except (MemoryFault, OverflowError):
        return ""
    rows = np.frombuffer(raw, row.dtype)
    pairs = np.stack([column(row, rows, "addr"), column(row, rows, "size")], axis=1)
    pairs = pairs[(pairs < np.uint64(HIGHEST)).all(axis=1)]
    listed = normalise(np.stack([pairs[:, 0], pairs[:, 0] + pairs[:, 1]], axis=1))
    wanted = found.blocks.ranges()
    missing, extra = total(subtract(wanted, listed)), total(subtract(listed, wanted))
    if not missing and not extra:
        return ""
    return f"the mem cache lacks {missing} bytes of the tree's ranges, and has {extra} more"


def chosen_pointer(
    blob: Blob, address: int, registry: Registry, geometry: Geometry
) -> BootPointer | None:
    """Root and scratch as /chosen of an arm64 boot tree names them; big-endian cells."""
    root = blob.root
    chosen = root.child("chosen") if root is not None else None
    if root is None or chosen is None:
        return None
    cells = []
    for name in ("#address-cells", "#size-cells"):
        prop = root.get(name)
        value = int.from_bytes(prop.value, "big") if prop and len(prop.value) == 4 else 2
        cells.append(value if value in (1, 2) else 2)
    found = next((span for name in ROOTS if (span := _pair(chosen, name, cells))), None)
    scratch = _pair(chosen, SCRATCH, cells)
    if found is None or scratch is None:
        return None
    cache = _pair(chosen, MEM_CACHE, cells)
    why = f"named by /chosen of the device tree at {address:#x}"
    if cache is not None:
        why += cache_text(cache, cache_range(registry, geometry))
    where = Span(address, len(blob.data))
    return BootPointer(found.address, scratch, why, where, cache is not None, cache)


def _pair(chosen: FdtNode, name: str, cells: list[int]) -> Span | None:
    """Address and size in a property."""
    prop = chosen.get(name)
    if prop is None or len(prop.value) != 4 * sum(cells):
        return None
    split = 4 * cells[0]
    return Span(
        int.from_bytes(prop.value[:split], "big"), int.from_bytes(prop.value[split:], "big")
    )
