"""Walk the restore path of one kernel: root, map, entries, LUO, sessions, files."""

from __future__ import annotations

from typing import Any

from khotool.check.kernels.asked import AskedKernel, asked_kernel, direction
from khotool.check.kernels.boot import Boot, Memory, new_boot
from khotool.check.kernels.entries import judge_kho_test, judge_memblock, judge_metadata
from khotool.check.kernels.kernel import kernel_of
from khotool.check.kernels.losses import losses_of
from khotool.check.kernels.luo import judge_devices, refuse_sessions
from khotool.check.kernels.luo_state import judge_luo
from khotool.check.kernels.map import OTHER_BLOCKS, judge_map, nothing_reserved
from khotool.check.kernels.policy import Policy
from khotool.check.kernels.posted import judge_posted
from khotool.check.kernels.verdict import Outcome, Unseen, Verdict
from khotool.fdt.blob import Blob
from khotool.fdt.libfdt import check_compatible, check_header
from khotool.model.image import Image
from khotool.model.region import RecordRegion, TableRegion

EINVAL, ENOENT = -22, -2
BADMAGIC = -9
"""Error of libfdt: what is there is no device tree."""


def verdict_document(
    image: Image,
    kernel: str | AskedKernel,
    policy: Policy | None = None,
    memory: Memory = (),
    blank: Memory = (),
) -> dict[str, Any]:
    """The verdict of a kernel as JSON has it, with what is known of the kernel.

    Args:
        policy: adds the verdict by it.
        memory: of the machine; empty where it is not known.
        blank: memory that holds zeros as the kernel starts, wherever the image does not have it.

    Raises:
        UsageError: no ABI set has the release; names the nearest.
    """
    asked = _asked(kernel, image)
    verdict = judge(image, asked, memory, blank)
    about = asked.document()
    if policy is not None:
        about["policy"] = policy.judge(verdict)
    writer = image.info.osrelease or ""
    move = direction(writer, asked)
    return {
        **verdict.document(),
        **about,
        **({"from": writer, "direction": str(move)} if move else {}),
    }


def _asked(kernel: str | AskedKernel, image: Image) -> AskedKernel:
    return asked_kernel(kernel, image.registry) if isinstance(kernel, str) else kernel


def judge(
    image: Image, kernel: str | AskedKernel, memory: Memory = (), blank: Memory = ()
) -> Verdict:
    """What a kernel does with an image.

    Args:
        memory: of the machine; empty where it is not known.
        blank: as of ``verdict_document``.

    Raises:
        UsageError: no ABI set has the release; names the nearest.
    """
    asked = _asked(kernel, image)
    verdict = Verdict(asked.name)
    kernel_asked = kernel_of(asked, image.registry)
    boot = new_boot(image, kernel_asked, verdict, memory=memory, blank=blank)
    for stage in (_premises, judge_posted) if boot.kernel.posted else STAGES:
        stage(boot)
        if verdict.stopped:
            # A kernel that panics returns nothing; one that gives up opens no session.
            verdict.sessions = []
            if verdict.outcome is Outcome.IGNORE:
                refuse_sessions(image, verdict)
            break
    verdict.losses = losses_of(image, verdict)
    return verdict


def _premises(boot: Boot) -> None:
    """What a verdict rests on: the whole capture, and a kernel for the machine that it is of.

    Where the capture lacks a part, the handover that the kernel is given may be in that part.
    """
    if boot.image.info.lacks:
        why = "the capture is incomplete: the root, or what it leads to, may be in what is missing"
        boot.verdict.not_judged("image", Unseen.TRUNCATED, why)
    file = boot.kernel.file
    if file is None:
        return
    machine, page = boot.image.info.machine, boot.image.geometry.page_size
    if machine and file.machine and machine != file.machine:
        why = f"the image is of {machine}, the kernel of {file.machine}"
        boot.verdict.not_judged("image", Unseen.MACHINE, why)
    elif file.page_size and file.page_size != page:
        why = f"the image has pages of {page} bytes, the kernel of {file.page_size}: {OTHER_BLOCKS}"
        boot.verdict.add("image", Outcome.CORRUPT, why=why)
    used = {
        (region.format, region.compiled.struct.name)
        for region in boot.image.regions
        if isinstance(region, RecordRegion | TableRegion)
    }
    misfit = next((m for m in file.misfits if (m.format, m.struct) in used), None)
    if misfit is not None:
        place = f"{misfit.struct}.{misfit.field}" if misfit.field else misfit.struct
        why = f"this kernel declares {place} in another way than {misfit.format}: {misfit.text}"
        boot.verdict.not_judged("image", Unseen.LAYOUT, why)


def _root(boot: Boot) -> None:
    """kho_populate: header, compatible, and from 6.19 on the map property."""
    image, kernel, verdict = boot.image, boot.kernel, boot.verdict
    blob = image.blob_of("/")
    place = f"{image.tree.span.address:#x}" if image.tree.span is not None else "?"
    if image.root is None or blob is None:
        verdict.add("kho-root", Outcome.IGNORE, why="the image has no KHO root")
        return
    instead = _in_place_of_the_root(boot)
    place, error = (instead, BADMAGIC) if instead else (place, check_header(blob))
    if error:
        line = f"KHO: setup: handover FDT ({place}) is invalid: {error}"
        verdict.add("kho-root", Outcome.IGNORE, line, give_up(boot, EINVAL))
        return
    error = check_compatible(blob.data, kernel.root)
    if error and len(blob.data) < blob.totalsize:
        verdict.not_judged("kho-root", Unseen.TRUNCATED, "the root is cut off in the image")
        return
    if error:
        line = f"KHO: setup: handover FDT ({place}) is incompatible with '{kernel.root}': {error}"
        verdict.add("kho-root", Outcome.IGNORE, line, give_up(boot, EINVAL))
        return
    _map_property(boot, blob)


def _in_place_of_the_root(boot: Boot) -> str:
    """What boot data names where this kernel looks for a root; empty where it names the root.

    Boot data leads to an entry that is not in the root instead, and the entry to the root. A
    kernel that does not ask for it takes its page for a device tree, which it cannot be: a page
    that begins with the address of another has no magic.
    """
    for entry in boot.image.entries:
        definition = boot.image.registry.definitions.get(entry.format)
        span = entry.span or entry.target
        if definition is None or not definition.beside_root or boot.kernel.asks_for(entry.name):
            continue
        return f"{span.address:#x}" if span is not None else "?"
    return ""


def give_up(boot: Boot, error: int) -> str:
    """The last line about a root that is not taken."""
    suffix = f": {error}" if boot.kernel.does.prints_errno else ""
    return f"KHO: disabling KHO revival{suffix}"


def _map_property(boot: Boot, blob: Blob) -> None:
    """kho_get_mem_map_phys: the property of the root that names the map."""
    prop = blob.root.get("preserved-memory-map") if blob.root is not None else None
    missing = prop is None or len(prop.value) != 8
    if prop is None and len(blob.data) < blob.totalsize:
        boot.verdict.not_judged("kho-root", Unseen.TRUNCATED, "the root is cut off in the image")
        return
    needed = boot.kernel.does.needs_map
    if needed and (prop is None or missing or not any(prop.value)):
        lines = (boot.kernel.no_map, give_up(boot, ENOENT)) if missing else (give_up(boot, ENOENT),)
        why = "the root does not name a map of preserved memory"
        boot.verdict.add("kho-root", Outcome.IGNORE, *lines, why=why)
        return
    boot.verdict.add("kho-root", Outcome.ACCEPT)
    if missing:
        # kho_mem_deserialize: the root was taken already, so the boot goes on.
        nothing_reserved(boot, boot.kernel.no_map)


def _other_entries(boot: Boot) -> None:
    """Entries that nothing in this kernel asks for stay reserved for its whole life."""
    for entry in boot.image.entries:
        if boot.kernel.asks_for(entry.name):
            continue
        if entry.name == "LUO":
            why = "this kernel has no live update orchestrator"
            boot.verdict.add("luo", Outcome.PARTIAL, why=why)
        else:
            why = f"nothing in this kernel asks for {entry.path}"
            boot.verdict.add("entries", Outcome.PARTIAL, why=why)
    if "FDT103" in boot.rules_at("/") and boot.something_lost:
        why = "the root is broken, and entries that it had are not found"
        boot.verdict.add("entries", Outcome.PARTIAL, why=why)


STAGES = (
    _premises,
    _root,
    judge_map,
    judge_memblock,
    judge_luo,
    judge_metadata,
    judge_kho_test,
    judge_devices,
    _other_entries,
)
"""In the order of a boot."""
