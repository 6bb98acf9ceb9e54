"""Walk the restore path of one kernel: root, map, entries, LUO, sessions, files."""

from __future__ import annotations

from typing import Any

from khotool.absent import Absent
from khotool.check.kernels.boot import Boot, new_boot
from khotool.check.kernels.entries import judge_kho_test, judge_memblock, judge_metadata
from khotool.check.kernels.kernel import kernel_of
from khotool.check.kernels.luo import judge_devices, judge_luo, refuse_sessions
from khotool.check.kernels.verdict import Outcome, Verdict
from khotool.fdt.blob import Blob
from khotool.fdt.parse import check
from khotool.maps.preserved import PreservedMap
from khotool.model.image import Image
from khotool.model.region import FdtRegion, MapRegion, TableRegion

FDT_ERR_NOTFOUND = -1


def verdict_document(image: Image, release: str) -> dict[str, Any]:
    """The verdict of a kernel as JSON has it.

    Raises:
        UsageError: no ABI set has the release; names the nearest.
    """
    return judge(image, release).document()


def judge(image: Image, release: str) -> Verdict:
    """What a kernel does with an image.

    Raises:
        UsageError: no ABI set has the release; names the nearest.
    """
    kernel = kernel_of(release, image.registry)
    verdict = Verdict(release)
    boot = new_boot(image, kernel, verdict)
    for stage in STAGES:
        stage(boot)
        if verdict.stopped:
            # A kernel that panics gives nothing to anybody; one that gives up opens no session.
            verdict.sessions = []
            if verdict.outcome is Outcome.IGNORE:
                refuse_sessions(image, verdict)
            break
    return verdict


def _root(boot: Boot) -> None:
    """kho_populate: header, compatible, and from 6.19 on the map property."""
    image, kernel, verdict = boot.image, boot.kernel, boot.verdict
    give_up = f"KHO: disabling KHO revival{kernel.does.gives_up_with}"
    root = image.root
    blob = root_blob(image)
    place = f"{image.tree.span.address:#x}" if image.tree.span is not None else "?"
    if root is None or blob is None:
        verdict.add("kho-root", Outcome.IGNORE, give_up, "there is no root")
        return
    problems = check(blob)
    if problems:
        message = f"KHO: setup: handover FDT ({place}) is invalid: {problems[0].message}"
        verdict.add("kho-root", Outcome.IGNORE, message, give_up)
        return
    refusal = incompatible(blob, kernel.root)
    if refusal is not None:
        message = (
            f"KHO: setup: handover FDT ({place}) is incompatible with '{kernel.root}': {refusal}"
        )
        verdict.add("kho-root", Outcome.IGNORE, message, give_up)
        return
    prop = blob.root.get("preserved-memory-map") if blob.root is not None else None
    size = len(prop.value) if prop is not None else 0
    empty = size != 8 or not any(prop.value if prop is not None else b"")
    if empty and kernel.does.needs_map:
        verdict.add("kho-root", Outcome.IGNORE, give_up, "preserved-memory-map is missing or 0")
        return
    if size != 8:
        # kho_mem_deserialize: the root was taken already, so the boot goes on.
        message = "KHO: failed to get preserved memory bitmaps"
        verdict.add("kho-root", Outcome.ACCEPT)
        verdict.add("map", Outcome.CORRUPT, message, "nothing is reserved")
        return
    verdict.add("kho-root", Outcome.ACCEPT)


def root_blob(image: Image) -> Blob | None:
    """The root's tree."""
    for region in image.regions:
        if isinstance(region, FdtRegion) and region.path == "/":
            return region.blob
    return None


def incompatible(blob: Blob, wanted: str) -> int | None:
    """fdt_node_check_compatible: None if a string of the list is ``wanted``, else what it says."""
    prop = blob.root.get("compatible") if blob.root is not None else None
    if prop is None:
        return FDT_ERR_NOTFOUND
    # What stands behind the last NUL is no string of the list.
    return None if wanted.encode() in prop.value.split(b"\0")[:-1] else 1


def _map(boot: Boot) -> None:
    """kho_mem_deserialize / kho_radix_walk_tree: reserve every block, without checks."""
    image, kernel, verdict = boot.image, boot.kernel, boot.verdict
    if any(step.stage == "map" for step in verdict.steps):
        # There is no property that this kernel would look at.
        return
    pointer = image.tree.value_of("memory_map")
    if boot.beyond(pointer):
        why = f"the map is at {pointer:#x}, where there is no memory"
        verdict.add("map", Outcome.PANIC, "", why)
        return
    if pointer == 0:
        # Up to 6.18 this is taken for a handover of nothing.
        verdict.add("map", Outcome.CORRUPT, "", "the map is empty: nothing is reserved")
        return
    if isinstance(image.map, Absent):
        if any(f.rule == "MEM301" and f.path == "/memory_map" for f in image.findings):
            why = f"the map is not at {pointer:#x}: nothing, or other memory, is reserved"
            verdict.add("map", Outcome.CORRUPT, "", why)
        else:
            verdict.add("map", Outcome.ACCEPT, "", f"not judged: {image.map.detail}")
        return
    layout = next(
        (
            c.layout
            for c in image.choices
            if c.definition == image.tree.format and c.among == "layout"
        ),
        "",
    )
    expected = kernel.abi.layouts.get(image.tree.format, layout)
    if layout != expected:
        verdict.add(
            "map",
            Outcome.CORRUPT,
            "",
            f"the image has {layout}, this kernel reads {expected}: other pages are "
            "reserved than were preserved",
        )
        return
    found = image.map
    if not isinstance(found, PreservedMap):
        return
    for problem in found.problems:
        if problem.code in ("chunk-cycle", "shared-node"):
            verdict.add("map", Outcome.PANIC, "", f"the walk does not end: {problem.message}")
            return
        if problem.code.startswith("missing") and boot.beyond(problem.address):
            verdict.add("map", Outcome.PANIC, "", f"there is no memory: {problem.message}")
            return
    if found.problems:
        verdict.add("map", Outcome.CORRUPT, "", found.problems[0].message)
        return
    lost = metadata_lost(image)
    if lost:
        verdict.add("map", Outcome.CORRUPT, "", lost)
        return
    verdict.add("map", Outcome.ACCEPT)


def metadata_lost(image: Image) -> str:
    """Why a record of the handover may be overwritten before it is read, or nothing.

    A record that is not preserved is given away at boot. Payload and the pages of a vmalloc area
    that are not preserved are found when they are restored.
    """
    owned = image.ownership()
    if owned is None or not len(owned.unpreserved):
        return ""
    for region in image.regions:
        if isinstance(region, MapRegion | TableRegion) or "/chunks[" in region.path:
            # The map's own pages are read before any memory is given away.
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


def _other_entries(boot: Boot) -> None:
    """Entries that nobody in this kernel reads stay reserved for its whole life."""
    entries = boot.image.entries
    if any(entry.name == "LUO" for entry in entries) and not boot.kernel.luo:
        why = "this kernel has no live update orchestrator"
        boot.verdict.add("luo", Outcome.PARTIAL, "", why)
    for entry in entries:
        if entry.name != "LUO" and not boot.kernel.asks_for(entry.name):
            why = f"nothing in this kernel asks for {entry.path}"
            boot.verdict.add("entries", Outcome.PARTIAL, "", why)


STAGES = (
    _root,
    _map,
    judge_memblock,
    judge_luo,
    judge_metadata,
    judge_kho_test,
    judge_devices,
    _other_entries,
)
"""In the order of a boot."""
