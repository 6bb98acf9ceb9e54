"""Tell layouts under one string apart, and say why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from khotool.abi.definition import Definition, Shape
from khotool.abi.registry import release_key
from khotool.decode.preserved import bitmap_bytes, decode_map
from khotool.discovery.scan import PEEK, read_tree
from khotool.fdt.blob import Node as FdtNode
from khotool.model.image import UNPLACED, Choice

if TYPE_CHECKING:
    from khotool.decode.walk import Walker


def choose_layout(walker: Walker, definition: Definition, fdt: FdtNode, base: int) -> Choice:
    """Choose a layout: as the user says, else as the bytes or the writer's release show.

    Args:
        fdt: the node whose properties decide.
        base: physical address of the tree.
    """
    forced = walker.abi.get(definition.id)
    if forced is not None and forced in definition.layouts:
        return Choice(definition.id, forced, "as --abi says", True)
    probe = _PROBES.get(definition.id)
    choice = probe(walker, definition, fdt, base) if probe else None
    choice = choice or _by_release(walker, definition)
    if choice is not None:
        return choice
    last = list(definition.layouts)[-1]
    return Choice(definition.id, last, "nothing tells the layouts apart; this is the newest", False)


def _by_release(walker: Walker, definition: Definition) -> Choice | None:
    if not walker.writer:
        return None
    key = release_key(walker.writer)
    for layout in definition.layouts.values():
        low = release_key(layout.first)
        high = release_key(layout.last) if layout.last else (1 << 30, 0)
        if low <= key <= high:
            why = f"written by {walker.writer}; kernels of {layout.first} and later use it"
            # A release candidate may be older than the change that its release has.
            candidate = "-rc" in walker.writer and key == low
            why += ", release candidates maybe not all" if candidate else ""
            return Choice(definition.id, layout.name, why, not candidate)
    return None


def _probe_bitmaps(
    walker: Walker, definition: Definition, fdt: FdtNode, base: int
) -> Choice | None:
    """kho-v1: 512-byte or page-size bitmaps.

    Read the wrong way, a bitmap shows blocks where there are none, or misses some; the root
    itself and every entry are always preserved, so the right way is the one that covers them.
    """
    blob = walker.root_blob
    if blob is not None and blob.off_mem_rsvmap == 40:
        why = "the root was edited in place, which kernels do from 6.19 on"
        return Choice(definition.id, "bitmap-page", why, True)
    numbered = _by_orchestrator(walker, definition, fdt)
    if numbered is not None:
        return numbered
    prop = fdt.get("preserved-memory-map")
    if prop is None or len(prop.value) != 8:
        return None
    address = int.from_bytes(prop.value, walker.geometry.byteorder)
    if not address:
        return None
    if not walker.space.contains(address) and not walker.writer:
        why = "the map is not in this capture, so the size of its bitmaps decides nothing"
        return Choice(definition.id, "bitmap-page", why, True)
    wanted = [base] if base < UNPLACED else []
    for child in fdt.children:
        entry = child.get("fdt")
        if entry is not None and len(entry.value) == 8:
            wanted.append(int.from_bytes(entry.value, walker.geometry.byteorder))
    points = np.array(wanted, np.uint64)
    covered: dict[str, int] = {}
    strange: dict[str, int] = {}
    for layout in definition.layouts:
        found = decode_map(walker, address, Shape.BITMAP_CHUNKS, definition, layout)
        covered[layout] = int(found.blocks.holds(points).sum()) if len(points) else 0
        overlaps = found.blocks.overlaps()
        strange[layout] = len(found.problems) + len(overlaps)
        if strange[layout] and any(p.code == "unaligned-start" for p in found.problems):
            size = bitmap_bytes(definition, layout, walker.geometry.page_size)
            strange[layout] += size
    best = sorted(definition.layouts, key=lambda name: (strange[name], -covered[name]))
    first, second = best[0], best[1]
    if (strange[first], covered[first]) == (strange[second], covered[second]):
        return None
    why = (
        f"it covers {covered[first]} of {len(points)} known pages with {strange[first]} "
        f"contradictions; {second} covers {covered[second]} with {strange[second]}"
    )
    return Choice(definition.id, first, why, True)


def _by_orchestrator(walker: Walker, definition: Definition, fdt: FdtNode) -> Choice | None:
    """An orchestrator that numbers its updates is younger than bitmaps of a page."""
    luo = fdt.child("LUO")
    entry = luo.get("fdt") if luo is not None else None
    if entry is None or len(entry.value) != 8:
        return None
    blob = read_tree(walker.space, int.from_bytes(entry.value, walker.geometry.byteorder), PEEK)
    if blob is None or blob.root is None or blob.root.get("liveupdate-number") is None:
        return None
    why = "LUO numbers its updates, which it does since bitmaps have a page"
    return Choice(definition.id, "bitmap-page", why, True)


def _probe_kho_test(
    walker: Walker, definition: Definition, fdt: FdtNode, base: int
) -> Choice | None:
    """kho-test-v1: the list of folios itself, or a kho_vmalloc that holds it."""
    data = fdt if fdt.get("folios_info") else fdt.child("data")
    info = data.get("folios_info") if data is not None else None
    count = data.get("nr_folios") if data is not None else None
    if info is None:
        return None
    size = len(info.value)
    descriptor = walker.registry.definitions["kho_vmalloc"]
    compiled = walker.registry.compile(descriptor, descriptor.content, walker.geometry)
    if size != compiled.size:
        return Choice(definition.id, "inline", f"folios_info has {size} bytes", True)
    number = int.from_bytes(count.value, walker.geometry.byteorder) if count is not None else 0
    if number * 8 != size:
        why = f"folios_info has {size} bytes, {number} folios in a list would need {number * 8}"
        return Choice(definition.id, "vmalloc", why, True)
    from khotool.abi.record import decode_record

    values = decode_record(compiled, info.value)
    if values["first"] % walker.geometry.page_size == 0 and values["total_pages"] == 1:
        return Choice(definition.id, "vmalloc", "folios_info reads as a kho_vmalloc", True)
    return Choice(definition.id, "inline", "folios_info does not read as a kho_vmalloc", True)


_Probe = Callable[["Walker", Definition, FdtNode, int], Choice | None]
_PROBES: dict[str, _Probe] = {"kho-v1": _probe_bitmaps, "kho-test-v1": _probe_kho_test}
