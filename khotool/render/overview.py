"""An image in a dozen lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from khotool.absent import Absent
from khotool.check.catalogue import count_by_severity, severity
from khotool.document.dump import abi_ids
from khotool.findings import Finding, Severity
from khotool.model.image import Image, Node, NodeKind, Phase, Root
from khotool.render.lines import Line, Segment
from khotool.render.text import plural, range_text, visible
from khotool.render.value import absent_segments
from khotool.view.notation import size_text

CONTAINERS = {
    "elf": "ELF core",
    "kdump": "kdump-compressed dump",
    "raw": "raw memory",
    "lime": "LiME memory",
    "debugfs": "copy of debugfs",
    "fdt": "device tree blob",
    "live": "running host",
}
COLUMN = 10
SHOWN = 20
"""Findings, roots and areas that are listed."""


def row(label: str, segments: Iterable[Segment]) -> Line:
    """A line with a label in front; wrapped text stays in its column."""
    return Line([(label.ljust(COLUMN), "key"), *segments], hang=" " * COLUMN)


def header_lines(image: Image, *, brief: bool = False) -> Iterator[Line]:
    """Container, kernel, phase, roots, ABI, scratch and memory of an image."""
    info = image.info
    kind = CONTAINERS.get(info.container, info.container)
    packed = f", {info.compression}" if info.compression else ""
    yield row("image", [(visible(info.path), "name"), (f"  {kind}{packed}", "dim")])
    yield row("kernel", kernel_segments(image))
    why = f"  {visible(image.phase_why)}" if image.phase_why else ""
    yield row("phase", [(str(image.phase), "name"), (why, "dim")])
    yield from _selected_root(image) if brief else _all_roots(image)
    yield row("abi", [(" ".join(abi_ids(image)) or "none known", "format")])
    if not brief:
        yield from _choices(image)
    yield row("scratch", scratch_segments(image))
    yield from memory_lines(image)


def _selected_root(image: Image) -> Iterator[Line]:
    for root in image.roots[:SHOWN]:
        if root.selected:
            yield row("root", root_segments(root, mark=False))
    if len(image.roots) > 1:
        yield row("", [(f"and {plural(len(image.roots) - 1, 'root')} not selected", "dim")])


def _all_roots(image: Image) -> Iterator[Line]:
    several = len(image.roots) > 1
    label = "roots" if several else "root"
    for root in image.roots[:SHOWN]:
        yield row(label, root_segments(root, mark=several))
        label = ""


def _choices(image: Image) -> Iterator[Line]:
    """Layouts that were chosen by the bytes, and definitions that are not verified."""
    for choice in image.choices:
        style = "dim" if choice.certain else "warning"
        layout = f"{choice.definition}={choice.layout}"
        yield row("layout", [(layout, "format"), (f"  {choice.why}", style)])
    for definition in image.used:
        if definition.unverified:
            text = f"  not certain: {definition.unverified}"
            yield row("unsure", [(definition.id, "format"), (text, "warning")])


def kernel_segments(image: Image) -> list[Segment]:
    """Release, machine, page size and byte order."""
    info, geometry = image.info, image.geometry
    parts = [visible(info.osrelease) if info.osrelease else "release not recorded"]
    if info.build:
        parts.append(visible(info.build))
    if info.machine:
        parts.append(visible(info.machine))
    parts.append(f"{size_text(geometry.page_size)} pages")
    parts.append(f"{geometry.byteorder}-endian")
    if info.build:
        held = image.space.extents()
        parts.append(f"{size_text(int((held[:, 1] - held[:, 0]).sum()))} of memory")
    return [(parts[0], "name"), (", " + ", ".join(parts[1:]), "")]


def root_segments(root: Root, *, mark: bool) -> list[Segment]:
    """Address, version, role and why; ``mark`` puts an arrow before the selected one."""
    segments: list[Segment] = []
    if mark:
        segments.append(("> " if root.selected else "  ", "good"))
    if root.address is not None:
        segments.append((f"{root.address:#x} ", "address"))
    segments.append((visible(root.compatible) or "(no root)", "format"))
    segments.append((f" {root.role}", "name"))
    return [*segments, (f"  {visible(root.why)}", "dim")]


def scratch_segments(image: Image) -> list[Segment]:
    """Areas, or why they are not known."""
    scratch = image.scratch
    if isinstance(scratch, Absent):
        return absent_segments(scratch)
    segments: list[Segment] = []
    for area in scratch.areas[:SHOWN]:
        comma = ", " if segments else ""
        segments.append((f"{comma}{range_text(area.address, area.size)}", "address"))
        segments.append((f" ({size_text(area.size)})", "dim"))
    if len(scratch.areas) > SHOWN:
        segments.append((f", {len(scratch.areas) - SHOWN} more", "dim"))
    return segments or [("none", "dim")]


def memory_lines(image: Image) -> Iterator[Line]:
    """Pages, bytes, ranges and orders that are preserved."""
    found = image.map
    if isinstance(found, Absent):
        yield row("memory", absent_segments(found))
        yield from unclaimed_lines(image)
        return
    pages = found.blocks.pages
    size = size_text(pages * image.geometry.page_size)
    segments: list[Segment] = [
        (f"{plural(pages, 'page')} ({size})", "name"),
        (f" preserved in {plural(found.blocks.range_count, 'range')}", ""),
    ]
    ownership = image.ownership()
    if ownership is not None:
        unowned = plural(ownership.unowned_pages, "page")
        segments.append((f", {unowned} without owner", "" if ownership.unowned_pages else "dim"))
    segments.append((f"  {found.layout} in {plural(len(found.pages), 'page')}", "dim"))
    if not found.complete:
        segments.append(("  incomplete", "warning"))
    yield row("memory", segments)
    orders = found.blocks.orders()
    if orders:
        text = ", ".join(f"{order}: {count}" for order, count in orders.items())
        yield row("", [("blocks by order  ", "dim"), (text, "")])


def unclaimed_lines(image: Image) -> Iterator[Line]:
    """What a kernel that consumed the handover has not claimed of it."""
    if image.phase is not Phase.CONSUMED or not image.info.vmcoreinfo:
        return
    found, owned = image.unclaimed, image.unclaimed_ownership
    if isinstance(found, Absent) or owned is None:
        yield row("unclaimed", absent_segments(found) if isinstance(found, Absent) else [])
        return
    pages = owned.preserved_pages
    size = size_text(pages * image.geometry.page_size)
    segments: list[Segment] = [(f"{plural(pages, 'page')} ({size})", "name")]
    segments.append(
        (f" in {plural(int(found.count.sum()), 'block')} are marked by this kernel", "")
    )
    unowned = plural(owned.unowned_pages, "page")
    segments.append((f", {unowned} without owner", "" if owned.unowned_pages else "dim"))
    yield row("unclaimed", segments)


def summary_lines(image: Image, findings: list[Finding]) -> Iterator[Line]:
    """About ten lines: the header, one line for all entries, and the number of findings."""
    yield from header_lines(image, brief=True)
    for number, entry in enumerate(image.entries[:SHOWN]):
        yield row("" if number else "entries", entry_segments(entry))
    if len(image.entries) > SHOWN:
        yield row("", [(f"{len(image.entries) - SHOWN} more", "dim")])
    yield count_line(findings)


def entry_segments(entry: Node) -> list[Segment]:
    """Name, format and what is in it, in a few words."""
    segments: list[Segment] = [(visible(entry.name), "entry")]
    if isinstance(entry.value, Absent):
        return [*segments, ("  ", ""), *absent_segments(entry.value)]
    segments.append((f"  {visible(entry.format or 'unknown format')}", "format"))
    counts = list_counts(entry)
    if counts:
        segments.append((f"  {', '.join(counts)}", ""))
    return segments


def list_counts(entry: Node) -> list[str]:
    """``4 sessions``, ``7 files``: what the lists of an entry hold, or why that is not known."""
    counts: dict[str, int] = {}
    gone: dict[str, Absent] = {}
    for node in entry.walk():
        if node.kind is NodeKind.LIST and node.name:
            target = node.get("target")
            if target is not None and isinstance(target.value, Absent):
                gone.setdefault(node.name, target.value)
            else:
                counts[node.name] = counts.get(node.name, 0) + len(node.elements())
        elif node.table is not None and node.parent is entry:
            counts[node.name] = counts.get(node.name, 0) + node.table.declared
    words = [
        plural(count, visible(name).removesuffix("s"), visible(name))
        for name, count in counts.items()
    ]
    return words + [f"{visible(name)} {absent.reason}" for name, absent in gone.items()]


def count_line(findings: list[Finding]) -> Line:
    """``findings  2 errors, 1 warning``."""
    counts = count_by_severity(findings)
    segments: list[Segment] = []
    for level, count in counts.items():
        if count:
            comma = ", " if segments else ""
            style = level if level in ("error", "warning") else "dim"
            segments += [(comma, ""), (plural(count, level), style)]
    return row("findings", segments or [("none", "good")])


def finding_lines(findings: list[Finding]) -> Iterator[Line]:
    """The worst findings, a line each."""
    yield count_line(findings)
    ranks = {level: rank for rank, level in enumerate(Severity)}
    ordered = sorted(findings, key=lambda finding: ranks[severity(finding.rule)])
    for finding in ordered[:SHOWN]:
        level = severity(finding.rule)
        style = level if level is not Severity.NOTE else "dim"
        segments: list[Segment] = [
            (f"  {finding.rule} ", style),
            (f"{visible(finding.path)}  ", "entry"),
            (visible(finding.message), ""),
        ]
        yield Line(segments, hang=" " * COLUMN)
    if len(findings) > SHOWN:
        yield Line([(f"  ... {len(findings) - SHOWN} more; khotool check lists all", "note")])
