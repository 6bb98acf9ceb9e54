"""Strings that belong together, and headers as libfdt sees them."""

from __future__ import annotations

from khotool.abi.composite import SEPARATOR
from khotool.abi.definition import Kind
from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.check.rules.sessions import session_nodes
from khotool.fdt.parse import check
from khotool.model.region import FdtRegion

TOGETHER = (Kind.ROOT, Kind.ENTRY, Kind.NODE, Kind.FILE)
"""Kinds of definitions of which a set lists what its kernels write."""
SEQUENTIAL = 48
"""Place of the reservations in a tree that was written in one go, as up to 6.18."""


@rule("ABI905")
def check_set(context: Context) -> None:
    """The strings of an image against those of released kernels."""
    image = context.image
    written = [
        {abi.root, *abi.entries.values(), *abi.nodes, *abi.files}
        for abi in image.registry.sets.values()
    ]
    known = {d.id for d in image.used if d.kind in TOGETHER}.intersection(set().union(*written))
    # What is read by the first part of its string may be of a kernel that no set describes.
    known -= {choice.layout for choice in image.choices if SEPARATOR in choice.definition}
    if not any(
        definition.kind is Kind.ROOT and definition.id in known for definition in image.used
    ):
        return
    if not any(known <= {*names, "reserve-mem-v1"} for names in written):
        text = f"no released kernel writes this combination: {', '.join(sorted(known))}"
        context.report("ABI905", "/", text)


@rule("ABI902")
def check_entries(context: Context) -> None:
    """Entries whose contents are known, under a name at which no kernel looks for them."""
    names: dict[str, set[str]] = {}
    for abi in context.image.registry.sets.values():
        for name, identifier in abi.entries.items():
            names.setdefault(identifier, set()).add(name)
    for entry in context.image.entries:
        known = names.get(entry.format, {entry.name})
        if entry.name not in known:
            text = f"no kernel asks for {entry.format} under this name; they ask for "
            context.report("ABI902", entry, text + " or ".join(sorted(known)))


@rule(also=("REC408",))
def check_empty_map(context: Context) -> None:
    """A map of 0 that is not a placeholder: the handover that it belongs to is written."""
    node = context.image.tree.get("memory_map")
    if node is None or node.value != 0 or node.field is None or node.field.null != "allowed":
        return
    blob = context.image.blob_of("/")
    if blob is not None and blob.off_mem_rsvmap == SEQUENTIAL and context.image.entries:
        text = "is 0, in a root that is only written together with its map"
    elif session_nodes(context.image.entry("LUO")):
        text = "is 0, while sessions are serialised"
    else:
        return
    context.report("REC408", node, f"{node.field.name} {text}")


@rule("FDT104", "KHO203", when_consumed=True)
def check_headers(context: Context) -> None:
    """Header checks of fdt_check_header, and the root's size."""
    page = context.image.geometry.page_size
    root = context.image.registry.definitions.get(context.image.tree.format)
    # kexec carries a segment of any length.
    whole_page = root is None or not root.segment
    for region in context.image.regions:
        if not isinstance(region, FdtRegion):
            continue
        for problem in check(region.blob):
            context.report("FDT104", region.path, problem.text, region.address + problem.offset)
        if region.path == "/" and whole_page and region.blob.totalsize > page:
            text = f"totalsize is {region.blob.totalsize}, more than a page of {page} bytes"
            context.report("KHO203", "/", text, region.address)
