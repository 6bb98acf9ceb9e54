"""Page size and byte order of a capture that does not record them."""

from __future__ import annotations

import numpy as np

from khotool.abi.geometry import PAGE_SIZES, ByteOrder, Geometry
from khotool.abi.registry import Registry
from khotool.codec.preserved_map import read_map
from khotool.codec.scene import Scene
from khotool.discovery.root_tree import root_format
from khotool.discovery.scan import Candidate
from khotool.errors import UsageError
from khotool.limits import OpenOptions
from khotool.memory.space import AddressSpace


def probe_geometry(
    space: AddressSpace,
    registry: Registry,
    roots: list[Candidate],
    options: OpenOptions,
    byteorder: ByteOrder,
) -> Geometry:
    """Page size and byte order: given by the user, recorded in the capture, or else probed.

    The size that fits is the one under which a root's map preserves the root's own page and
    those of its entries with the fewest contradictions.

    Raises:
        UsageError: --page-size is not a power of two, or it cannot fit and a different size does.
    """
    size = known_size(space, options)
    order_known = options.byteorder is not None or space.info.endian is not None
    orders: list[ByteOrder] = [byteorder] if order_known else ["little", "big"]
    if size is not None and len(orders) == 1:
        return Geometry(size, orders[0])
    best: tuple[int, int, int] | None = None
    chosen = Geometry(size or 4096, orders[0])
    for number, order in enumerate(orders):
        for candidate_size in [size] if size is not None else PAGE_SIZES:
            geometry = Geometry(candidate_size, order)
            scene = Scene.of(space, registry, geometry, limits=options.limits, abi=options.abi)
            covered, strange = fit(scene, roots)
            score = (covered, -strange, -number)
            if best is None or score > best:
                best, chosen = score, geometry
    return chosen


def known_size(space: AddressSpace, options: OpenOptions) -> int | None:
    """The page size that the user or the capture gives; None if neither does.

    Raises:
        UsageError: --page-size is not a power of two.
    """
    size = options.page_size
    if size is not None and (size < 4096 or size & (size - 1) or size > 1 << 20):
        raise UsageError(f"--page-size {size}: expected a power of two, such as 4096 or 16384")
    if size is None and space.info.page_size in PAGE_SIZES:
        size = space.info.page_size
    if size is None and space.info.machine == "x86_64":
        size = 4096
    return size


def fit(scene: Scene, roots: list[Candidate]) -> tuple[int, int]:
    """How well a geometry explains the maps: known pages covered, and contradictions."""
    covered = strange = 0
    for candidate in roots[:4]:
        tree = candidate.blob.root
        if tree is None:
            continue
        definition = root_format(scene, candidate.blob, candidate.address).definition
        if definition is None:
            continue
        named = scene.abi.get(definition.id)
        layouts = [named] if named in definition.layouts else [*definition.layouts] or [""]
        points = np.array(known_pages(candidate, scene.geometry), np.uint64)
        results = [
            (int(found.blocks.holds(points).sum()) if len(points) else 0, -len(found.problems))
            for layout in layouts
            if (found := read_map(scene, definition, tree, layout or "")) is not None
        ]
        hits, problems = max(results, default=(0, 0))
        covered += hits
        strange -= problems
    return covered, strange


def known_pages(candidate: Candidate, geometry: Geometry) -> list[int]:
    """Addresses that are preserved in every good image: the root and its entries."""
    pages = [candidate.address]
    root = candidate.blob.root
    for depth, node in root.walk() if root is not None else ():
        for prop in node.properties if depth else ():
            if len(prop.value) == 8:
                value = int.from_bytes(prop.value, geometry.byteorder)
                if value >= 4096:
                    pages.append(value)
    return pages
