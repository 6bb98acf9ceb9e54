"""Tell layouts under one string apart, and say why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from khotool.abi.definition import Definition, Shape
from khotool.abi.record import decode_record
from khotool.abi.releases import Release, span
from khotool.codec.map_layout import bitmap_bytes
from khotool.codec.preserved_map import decode_map
from khotool.codec.scene import Scene, read_tree
from khotool.fdt.blob import Node as FdtNode
from khotool.model.image import Choice
from khotool.model.node import UNPLACED

PEEK = 256
"""Tokens of a device tree that show its first properties."""


def choose_layout(scene: Scene, definition: Definition, fdt: FdtNode, base: int) -> Choice:
    """Choose a layout: as the user says, else as the bytes or the writer's release show.

    Args:
        fdt: the node whose properties decide.
        base: physical address of the tree.
    """
    forced = scene.abi.get(definition.id)
    if forced is not None and forced in definition.layouts:
        return Choice(definition.id, forced, "as --abi says", True)
    probe = _PROBES.get(definition.id)
    choice = probe(scene, definition, fdt, base) if probe else None
    choice = choice or _by_release(scene, definition)
    if choice is not None:
        return choice
    last = list(definition.layouts)[-1]
    return Choice(definition.id, last, "not distinguished by any probe; the newest", False)


def _by_release(scene: Scene, definition: Definition) -> Choice | None:
    release = Release.parse(scene.writer or "")
    if release is None:
        return None
    for layout in definition.layouts.values():
        ends = span(layout.first, layout.last)
        if ends is not None and ends[0] <= release.final <= ends[1]:
            why = f"written by {scene.writer}; kernels of {layout.first} and later use it"
            # A release candidate may be older than the change that its release has.
            candidate = release < ends[0]
            why += ", release candidates maybe not all" if candidate else ""
            return Choice(definition.id, layout.name, why, not candidate)
    return None


def _probe_bitmaps(scene: Scene, definition: Definition, fdt: FdtNode, base: int) -> Choice | None:
    """kho-v1: 512-byte or page-size bitmaps.

    Read the wrong way, a bitmap shows blocks that do not exist, or misses some; the root
    itself and every entry are always preserved, so the right way is the one that covers them.
    """
    blob = scene.root
    if blob is not None and blob.off_mem_rsvmap == 40:
        why = "the root was edited in place, which kernels do from 6.19 on"
        return Choice(definition.id, "bitmap-page", why, True)
    numbered = _by_orchestrator(scene, definition, fdt)
    if numbered is not None:
        return numbered
    prop = fdt.get("preserved-memory-map")
    if prop is None or len(prop.value) != 8:
        return None
    address = int.from_bytes(prop.value, scene.geometry.byteorder)
    if not address:
        return None
    if not scene.space.contains(address) and not scene.writer:
        why = "the map is not in this capture, so the size of its bitmaps decides nothing"
        return Choice(definition.id, "bitmap-page", why, True)
    return _best_bitmaps(scene, definition, address, _known_pages(scene, fdt, base))


def _known_pages(scene: Scene, fdt: FdtNode, base: int) -> list[int]:
    """Addresses that are preserved in every good image: the root and its entries."""
    wanted = [base] if base < UNPLACED else []
    for child in fdt.children:
        entry = child.get("fdt")
        if entry is not None and len(entry.value) == 8:
            wanted.append(int.from_bytes(entry.value, scene.geometry.byteorder))
    return wanted


def _best_bitmaps(
    scene: Scene, definition: Definition, address: int, wanted: list[int]
) -> Choice | None:
    """The layout that covers most known pages with the fewest contradictions; None if none does."""
    points = np.array(wanted, np.uint64)
    covered: dict[str, int] = {}
    strange: dict[str, int] = {}
    for layout in definition.layouts:
        found = decode_map(scene, address, Shape.BITMAP_CHUNKS, definition, layout)
        covered[layout] = int(found.blocks.holds(points).sum()) if len(points) else 0
        overlaps = found.blocks.overlaps()
        strange[layout] = len(found.problems) + len(overlaps)
        if strange[layout] and any(p.code == "unaligned-start" for p in found.problems):
            strange[layout] += bitmap_bytes(definition, layout, scene.geometry.page_size)
    best = sorted(definition.layouts, key=lambda name: (strange[name], -covered[name]))
    first, second = best[0], best[1]
    if (strange[first], covered[first]) == (strange[second], covered[second]):
        return None
    why = (
        f"it covers {covered[first]} of {len(points)} known pages with {strange[first]} "
        f"contradictions; {second} covers {covered[second]} with {strange[second]}"
    )
    return Choice(definition.id, first, why, True)


def _by_orchestrator(scene: Scene, definition: Definition, fdt: FdtNode) -> Choice | None:
    """An orchestrator that numbers its updates is younger than bitmaps of a page."""
    luo = fdt.child("LUO")
    entry = luo.get("fdt") if luo is not None else None
    if entry is None or len(entry.value) != 8:
        return None
    blob = read_tree(scene.space, int.from_bytes(entry.value, scene.geometry.byteorder), PEEK)
    if blob is None or blob.root is None or blob.root.get("liveupdate-number") is None:
        return None
    why = "LUO numbers its updates, which it does since bitmaps have a page"
    return Choice(definition.id, "bitmap-page", why, True)


def _probe_kho_test(scene: Scene, definition: Definition, fdt: FdtNode, base: int) -> Choice | None:
    """kho-test-v1: the list of folios itself, or a kho_vmalloc that holds it."""
    data = fdt if fdt.get("folios_info") else fdt.child("data")
    info = data.get("folios_info") if data is not None else None
    count = data.get("nr_folios") if data is not None else None
    if info is None:
        return None
    size = len(info.value)
    descriptor = scene.registry.definitions["kho_vmalloc"]
    compiled = scene.content(descriptor)
    if size != compiled.size:
        return Choice(definition.id, "inline", f"folios_info has {size} bytes", True)
    number = int.from_bytes(count.value, scene.geometry.byteorder) if count is not None else 0
    if number * 8 != size:
        why = f"folios_info has {size} bytes, {number} folios in a list would need {number * 8}"
        return Choice(definition.id, "vmalloc", why, True)
    values = decode_record(compiled, info.value)
    if values["first"] % scene.geometry.page_size == 0 and values["total_pages"] == 1:
        return Choice(definition.id, "vmalloc", "folios_info reads as a kho_vmalloc", True)
    return Choice(definition.id, "inline", "folios_info does not read as a kho_vmalloc", True)


_Probe = Callable[[Scene, Definition, FdtNode, int], Choice | None]
_PROBES: dict[str, _Probe] = {"kho-v1": _probe_bitmaps, "kho-test-v1": _probe_kho_test}
