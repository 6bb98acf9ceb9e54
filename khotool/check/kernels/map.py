"""What a kernel makes of the map of preserved memory."""

from __future__ import annotations

from collections.abc import Iterator

from khotool.abi.definition import Shape
from khotool.absent import Absent, Reason
from khotool.check.kernels.boot import Boot
from khotool.check.kernels.trusting import Walked, walk_tree
from khotool.check.kernels.verdict import Outcome, Step, Unseen
from khotool.codec.preserved_map import decode_map
from khotool.codec.scene import Scene
from khotool.codec.vmalloc import CHUNK
from khotool.limits import Limits
from khotool.maps import radix
from khotool.maps.preserved import MapProblem, PreservedMap
from khotool.model.image import Image
from khotool.model.region import MapRegion, RecordRegion, Region, TableRegion
from khotool.pages.blocks import Blocks

UNBOUNDED = {
    "shared-node": "a node of the map is reached twice",
    "shared-bitmap": "a bitmap of the map is named twice",
    "chunk-cycle": "the chunks of the map lead in a circle",
    "unaligned-child": "a node of the map is read from the middle of a page",
    "unaligned-chunk": "a chunk of the map is read from the middle of a page",
    "unaligned-root": "the map is read from the middle of a page",
    "too-many-elements": "a chunk of the map counts more elements than it has",
    "out-of-range": "a block of the map lies where there is no memory",
}
"""Damage by code of a ``MapProblem`` with which the walk runs into memory that is not there.

The kernel trusts the map: it marks the ``struct page`` of every block without a look at where
that is (``kho_preserved_memory_reserve``, up to 6.19 ``deserialize_bitmap``).
"""
OTHER_BLOCKS = "other pages are reserved than were preserved"
PROBE = Limits(nodes=1 << 16)
"""Effort spent on a page that may be the map."""
MISSING = ("missing-node", "missing-bitmap", "missing-chunk")
LOST_ROOT = "KHO: failed to restore folio for KHO fdt"


def judge_map(boot: Boot) -> None:
    """kho_mem_deserialize / kho_radix_walk_tree: reserve every block, without checks."""
    image, verdict = boot.image, boot.verdict
    if any(step.stage == "map" for step in verdict.steps) or not verdict.accepts("kho-root"):
        # There is no property that this kernel would look at, or it is not in the image.
        return
    pointer = image.tree.value_of("memory_map")
    if boot.panics_beyond("map", "/memory_map", pointer):
        return
    if pointer == 0:
        # Up to 6.18 this is taken for a handover of nothing.
        nothing_reserved(boot)
        return
    if isinstance(image.map, Absent):
        _absent(boot, image.map, pointer)
        return
    other = _other_layout(boot, image.map)
    if other is not None:
        boot.verdict.steps.append(other)
        boot.verdict.stopped = other.outcome is Outcome.PANIC
        return
    _found(boot, image.map)


def _other_layout(boot: Boot, found: PreservedMap) -> Step | None:
    """What becomes of a map whose layout is not the one that the kernel reads; None for that."""
    image = boot.image
    for choice in image.choices:
        if choice.definition != image.tree.format or choice.among != "layout":
            continue
        expected = boot.kernel.abi.layouts.get(image.tree.format, choice.layout)
        if choice.layout != expected and (choice.certain or not found.problems):
            why = f"the image has {choice.layout}, this kernel reads {expected}: {OTHER_BLOCKS}"
            blocks = _read_as(boot, expected)
            astray = boot.astray(blocks)
            if astray is None:
                return Step("map", Outcome.CORRUPT, _root_lines(boot, blocks), why)
            return Step("map", Outcome.PANIC, why=f"{why}, and one at {astray:#x}")
    return None


def _read_as(boot: Boot, layout: str) -> Blocks:
    """The blocks of the map as a kernel reads it that knows only one layout."""
    image = boot.image
    scene = Scene.of(image.space, image.registry, image.geometry)
    place, definition = image.tree.value_of("memory_map"), image.registry.get(image.tree.format)
    return decode_map(scene, place, Shape.BITMAP_CHUNKS, definition, layout).blocks


def nothing_reserved(boot: Boot, *console: str) -> None:
    """A map that the kernel does not find, up to 6.18: all that was preserved is given away."""
    boot.blocks = Blocks.empty(boot.image.geometry.page_shift)
    lost = (LOST_ROOT,) if boot.kernel.does.restores_root else ()
    boot.verdict.add("map", Outcome.CORRUPT, *console, *lost, why="no map: nothing is reserved")


def _not_judged(boot: Boot, unseen: Unseen, why: str) -> None:
    """Leave the map open, and with it whether anything is preserved."""
    boot.verdict.not_judged("map", unseen, why)
    boot.blocks = None


def _absent(boot: Boot, found: Absent, pointer: object) -> None:
    """A map that could not be read: damage, or not in the image."""
    if boot.unseen is not None:
        _not_judged(boot, *boot.unseen)
    elif found.reason is Reason.NOT_CAPTURED and not map_elsewhere(boot):
        reason = boot.gap(pointer) or Unseen.NOT_CAPTURED
        _not_judged(boot, reason, "the map is not in the image")
    elif "MEM301" in boot.rules_at("/memory_map"):
        place = f"{pointer:#x}" if isinstance(pointer, int) else "its place"
        why = f"the map is not at {place}: nothing, or other memory, is reserved"
        boot.verdict.add("map", Outcome.CORRUPT, why=why)
    else:
        _not_judged(boot, Unseen(found.reason), "the map could not be read")


def _found(boot: Boot, found: PreservedMap) -> None:
    verdict = boot.verdict
    if found.problems and found.layout == "radix" and "limit" not in found.problem_counts:
        _trusted(boot, found)
        return
    for problem in found.problems:
        if problem.code in UNBOUNDED:
            why = f"{UNBOUNDED[problem.code]}, at {problem.address:#x}"
            verdict.add("map", Outcome.PANIC, why=why)
            return
        if problem.code in MISSING and boot.beyond(problem.address):
            why = f"a part of the map is at {problem.address:#x}, where there is no memory"
            verdict.add("map", Outcome.PANIC, why=why)
            return
    blocks = found.blocks
    astray = boot.astray(blocks)
    if astray is not None:
        verdict.add("map", Outcome.PANIC, why=f"{UNBOUNDED['out-of-range']}, at {astray:#x}")
        return
    if found.problems:
        _problem(boot, found.problems[0])
        return
    _reserved(boot)


def _reserved(boot: Boot) -> None:
    """A map that was walked to its end."""
    lost = metadata_lost(boot.image)
    if lost:
        boot.verdict.add("map", Outcome.CORRUPT, *_root_lines(boot, boot.blocks), why=lost)
    else:
        boot.verdict.add("map", Outcome.ACCEPT)


def _trusted(boot: Boot, found: PreservedMap) -> None:
    """A damaged tree, as the kernel walks it."""
    root = boot.image.tree.value_of("memory_map")
    walked = walk_tree(boot, root) if isinstance(root, int) else Walked(cut=True)
    if walked.fault is not None:
        why = f"the walk of the map leads to {walked.fault:#x}, where there is no memory"
        boot.verdict.add("map", Outcome.PANIC, why=why)
    elif walked.exhausted or walked.cut:
        what = "does not end" if walked.cut else "reserves more than there is memory"
        boot.verdict.add("map", Outcome.PANIC, why=f"the walk of the map {what}")
    elif walked.unseen is not None and (unseen := _gap_at(boot, found, walked.unseen)):
        _not_judged(boot, unseen, f"a part of the map, at {walked.unseen:#x}, is not in the image")
    else:
        _reserved(boot)


def _gap_at(boot: Boot, found: PreservedMap, address: int) -> Unseen | None:
    """Why a page that the walk asked for is not in the image; None if the pointer is wrong."""
    for problem in found.problems:
        if problem.address == address and problem.code in MISSING:
            return gap_in_map(boot, problem)
    return boot.gap(address) or Unseen.NOT_CAPTURED


def _problem(boot: Boot, problem: MapProblem) -> None:
    """Damage that a boot survives."""
    if problem.code == "limit":
        _not_judged(boot, Unseen.LIMIT, "the map is larger than --limit allows")
    elif problem.code in MISSING and (unseen := gap_in_map(boot, problem)) is not None:
        why = f"a part of the map, at {problem.address:#x}, is not in the image"
        _not_judged(boot, unseen, why)
    else:
        why = f"damage of the map at {problem.address:#x} ({problem.code}): {OTHER_BLOCKS}"
        boot.verdict.add("map", Outcome.CORRUPT, *_root_lines(boot, boot.blocks), why=why)


def gap_in_map(boot: Boot, problem: MapProblem) -> Unseen | None:
    """Why a page of the map is not in the image; None where its pointer leads astray.

    A pointer that was changed leaves the node that it led to where nothing points to; a node that
    was not captured leaves what is below it. Of a leaf nothing else can tell.
    """
    unseen = boot.gap(problem.address)
    if unseen is Unseen.NOT_CAPTURED and problem.level:
        depth = problem.level + 1
        if any(len(tree.pages) > problem.level for tree in _stray_trees(boot, depth)):
            return None
    return unseen


def map_elsewhere(boot: Boot) -> bool:
    """True if a whole radix tree that preserves the root lies where nothing points to.

    Then the pointer is wrong; else the tree was not captured.
    """
    span = boot.image.tree.span
    return span is not None and any(
        not tree.problems and tree.blocks.block_of(span.address) for tree in _stray_trees(boot)
    )


def _stray_trees(boot: Boot, depth: int | None = None) -> Iterator[PreservedMap]:
    """Whole radix trees of as many levels, where nothing points to; None for those of a map."""
    geometry = boot.image.geometry
    for address in boot.strays().tolist():
        found = radix.walk(
            lambda wanted: boot.image.space.gather(wanted, geometry.page_size),
            address,
            geometry=geometry,
            limits=PROBE,
            depth=depth,
        )
        if found.complete:
            yield found


def _root_lines(boot: Boot, blocks: Blocks | None) -> tuple[str, ...]:
    """What a kernel that restores the page of the root says where that is not preserved.

    Args:
        blocks: what the kernel takes to be preserved; None where that is not known.
    """
    span = boot.image.tree.span
    if not boot.kernel.does.restores_root or blocks is None or span is None:
        return ()
    block = blocks.block_of(span.address)
    return () if block is not None and block[0] == span.address else (LOST_ROOT,)


def metadata_lost(image: Image) -> str:
    """Why a record of the handover may be overwritten before it is read, or nothing.

    A record that is not preserved is given away at boot. Payload and the pages of a vmalloc area
    that are not preserved are found when they are restored.
    """
    owned = image.ownership()
    if owned is None or not len(owned.unpreserved):
        return ""
    for region in image.regions:
        if isinstance(region, MapRegion | TableRegion) or is_chunk(image, region):
            # The map's own pages are read before any memory is given away.
            continue
        if is_read_by_chance(region):
            continue
        for address, _ in region.extents():
            row = owned.unpreserved.start.searchsorted(address, side="right") - 1
            if row < 0:
                continue
            start = int(owned.unpreserved.start[row])
            pages = int(owned.unpreserved.pages[row])
            if start <= address < start + pages * image.geometry.page_size:
                return f"{region.path} at {address:#x} is not preserved"
    return ""


def is_read_by_chance(region: Region) -> bool:
    """True for what is judged where it is read, because that may be before or after it is reused.

    Sessions, files and their records are read when user space asks for them, objects when their
    owners come up.
    """
    node = region.node
    while node is not None:
        if node.name in ("flbs", "sessions"):
            return True
        node = node.parent
    return False


def is_chunk(image: Image, region: object) -> bool:
    """True for a page that lists the pages of a vmalloc area."""
    return isinstance(region, RecordRegion) and region.compiled.struct.name == CHUNK
