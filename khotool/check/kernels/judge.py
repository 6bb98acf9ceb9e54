"""Walk the restore path of one kernel: root, map, entries, LUO, sessions, files."""

from __future__ import annotations

from typing import Any

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.kernels.entries import judge_kho_test, judge_memblock, judge_metadata
from khotool.check.kernels.families import Kernel, kernel_of
from khotool.check.kernels.luo import judge_luo, refuse_sessions
from khotool.check.kernels.verdict import Outcome, Verdict
from khotool.fdt.blob import Blob
from khotool.fdt.parse import check
from khotool.image.model import Image
from khotool.image.region import FdtRegion, MapRegion
from khotool.shapes.preserved import PreservedMap


def verdict_document(image: Image, release: str) -> dict[str, Any]:
    """The verdict of a kernel as JSON has it.

    Raises:
        UsageError: a release that khotool has no model of.
    """
    return judge(image, release).document()


def judge(image: Image, release: str) -> Verdict:
    """What a kernel does with an image.

    Raises:
        UsageError: a release that khotool has no model of.
    """
    kernel = kernel_of(release)
    verdict = Verdict(release)
    context = Context(image)
    _root(context, kernel, verdict)
    if not verdict.stopped:
        _map(context, kernel, verdict)
    if verdict.stopped:
        refuse_sessions(image, verdict)
        return verdict
    for stage in (judge_memblock, judge_luo, judge_metadata, judge_kho_test):
        stage(context, kernel, verdict)
        if verdict.stopped:
            # A kernel that panics gives nothing to anybody.
            verdict.sessions = []
            break
    if not verdict.stopped:
        _other_entries(context, kernel, verdict)
    return verdict


def _root(context: Context, kernel: Kernel, verdict: Verdict) -> None:
    """kho_populate: header, compatible, and from 6.19 on the map property."""
    image = context.image
    give_up = f"KHO: disabling KHO revival{kernel.ignored_suffix}"
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
    compatible = root_string(blob)
    if compatible != kernel.root:
        message = f"KHO: setup: handover FDT ({place}) is incompatible with '{kernel.root}': 1"
        verdict.add("kho-root", Outcome.IGNORE, message, give_up)
        return
    prop = blob.root.get("preserved-memory-map") if blob.root is not None else None
    size = len(prop.value) if prop is not None else 0
    empty = size != 8 or not any(prop.value if prop is not None else b"")
    if empty and kernel.needs_map:
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


def root_string(blob: Blob) -> str:
    """The root's compatible string as the kernel compares it."""
    prop = blob.root.get("compatible") if blob.root is not None else None
    return prop.value.split(b"\0")[0].decode("latin-1") if prop is not None else ""


def _map(context: Context, kernel: Kernel, verdict: Verdict) -> None:
    """kho_mem_deserialize / kho_radix_walk_tree: reserve every block, without checks."""
    image = context.image
    if isinstance(image.map, Absent):
        verdict.add("map", Outcome.ACCEPT, "", f"not judged: {image.map.detail}")
        return
    layout = next((c.layout for c in image.choices if c.definition == image.tree.format), "")
    if layout and layout != kernel.bitmap_layout:
        verdict.add(
            "map", Outcome.CORRUPT, "",
            f"the image has {layout}, this kernel reads {kernel.bitmap_layout}: other pages are "
            "reserved than were preserved",
        )  # fmt: skip
        return
    found = image.map
    if not isinstance(found, PreservedMap):
        return
    for problem in found.problems:
        if problem.code in ("chunk-cycle", "shared-node"):
            verdict.add("map", Outcome.PANIC, "", f"the walk does not end: {problem.message}")
            return
    if found.problems:
        verdict.add("map", Outcome.CORRUPT, "", found.problems[0].message)
        return
    lost = metadata_lost(context)
    if lost:
        verdict.add("map", Outcome.CORRUPT, "", lost)
        return
    verdict.add("map", Outcome.ACCEPT)


def metadata_lost(context: Context) -> str:
    """Why a record of the handover may be overwritten before it is read, or nothing.

    Payload that is not preserved is found when its file is restored; a record that is not
    preserved is given away at boot.
    """
    image = context.image
    owned = image.ownership()
    if owned is None or not len(owned.unpreserved):
        return ""
    for region in image.regions:
        if isinstance(region, MapRegion):
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


def _other_entries(context: Context, kernel: Kernel, verdict: Verdict) -> None:
    """Entries that nobody in this kernel reads stay reserved for its whole life."""
    for entry in context.image.entries:
        if entry.name == "LUO" and not kernel.luo:
            verdict.add("luo", Outcome.PARTIAL, "", "this kernel has no live update orchestrator")
