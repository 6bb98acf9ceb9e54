"""Strings that belong together, and headers as libfdt sees them."""

from __future__ import annotations

from khotool.abi.definition import Kind
from khotool.check.context import Context
from khotool.fdt.parse import check
from khotool.image.region import FdtRegion


def check_set(context: Context) -> None:
    """The strings of an image against those of released kernels."""
    image = context.image
    used = {d.id: d for d in image.used}
    sets = list(image.registry.sets.values())
    everywhere = {name for abi in sets for name in [abi.root, *abi.entries.values(), *abi.nodes,
                                                    *abi.files]}  # fmt: skip
    known = {
        identifier
        for identifier, definition in used.items()
        if identifier in everywhere
        and definition.kind in (Kind.ROOT, Kind.ENTRY, Kind.NODE, Kind.FILE)
    }
    roots = [identifier for identifier in known if used[identifier].kind is Kind.ROOT]
    if not roots:
        return
    for abi in sets:
        if known <= {abi.root, *abi.entries.values(), *abi.nodes, *abi.files, "reserve-mem-v1"}:
            return
    names = ", ".join(sorted(known))
    context.report("ABI905", "/", f"no released kernel writes these together: {names}")


def check_headers(context: Context) -> None:
    """Header checks of fdt_check_header, and the root's size."""
    page = context.image.geometry.page_size
    for region in context.image.regions:
        if not isinstance(region, FdtRegion):
            continue
        for problem in check(region.blob):
            context.report("FDT104", region.path, problem.message, region.address + problem.offset)
        if region.path == "/" and region.blob.totalsize > page:
            text = f"totalsize is {region.blob.totalsize}, a page has {page} bytes"
            context.report("KHO203", "/", text, region.address)
