"""One self-contained HTML page about an image: memory, sessions, findings, verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from khotool.absent import Absent
from khotool.check.catalogue import count_by_severity, severity
from khotool.findings import Finding, Severity
from khotool.model.image import Image, Node
from khotool.render.html import STYLE, html_table, text
from khotool.render.memory_cells import (
    LEAK,
    OTHERS,
    SCRATCH,
    UNPRESERVED,
    Cells,
    Total,
    Window,
    cells_of,
)
from khotool.render.report_verdicts import tone, verdict_sections
from khotool.render.verdict import kernel_text
from khotool.view.notation import size_text

CELL = 9
STEP = 11
ROW = 64
SPECIAL = {OTHERS: "others", SCRATCH: "scratch", LEAK: "leak", UNPRESERVED: "lost"}
TONE = {Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.NOTE: "quiet"}


def report_page(
    image: Image, findings: Sequence[Finding], verdicts: Sequence[dict[str, Any]] = ()
) -> str:
    """The page as text.

    Args:
        findings: of the image, worst first.
        verdicts: as ``check --kernel`` gives them in JSON.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(image.info.path)} - khotool report</title>",
        f"<style>{STYLE}</style></head><body><main>",
        *_head(image, findings, verdicts),
        *_findings(findings),
        *verdict_sections(verdicts),
        *_memory(image),
        *_sessions(image),
        *_entries(image),
        *_foot(),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _head(
    image: Image, findings: Sequence[Finding], verdicts: Sequence[dict[str, Any]]
) -> Iterator[str]:
    counts = count_by_severity(list(findings))
    name = image.info.path.rpartition("/")[2]
    yield f'<header><p class="quiet">Kernel handover report</p><h1>{text(name)}</h1>'
    badges = [_badge(f"{counts['error']} errors", "bad" if counts["error"] else "good")]
    if counts["warning"]:
        badges.append(_badge(f"{counts['warning']} warnings", "warn"))
    for verdict in verdicts:
        words = f"kernel {kernel_text(verdict)}: {verdict['outcome']}"
        badges.append(_badge(words, tone(verdict["outcome"])))
    yield f"<p>{' '.join(badges)}</p></header><section><h2>Image</h2>"
    root = image.root
    facts: list[tuple[str, object]] = [
        ("Kernel", image.info.osrelease or "not recorded"),
        ("Phase", f"{image.phase}: {image.phase_why}"),
        ("Pages", f"{image.geometry.page_size} bytes, {image.geometry.byteorder}-endian"),
        ("Container", " ".join(filter(None, (image.info.container, image.info.compression)))),
        ("ABI", ", ".join(sorted(d.id for d in image.used if d.match))),
    ]
    if root is not None:
        place = hex(root.address) if root.address is not None else "no address"
        facts.append(("Root", f"{root.compatible} at {place}, {root.role}"))
    if not isinstance(image.map, Absent):
        pages = image.map.blocks.pages
        facts.append(("Preserved", f"{pages} pages, {size_text(pages * image.geometry.page_size)}"))
    owned = image.ownership()
    if owned is not None:
        facts.append(("Without owner", f"{owned.unowned_pages} pages"))
        facts.append(("Referenced, not preserved", f"{owned.unpreserved_pages} pages"))
    yield '<dl class="facts">'
    for label, value in facts:
        yield f"<div><dt>{escape(label)}</dt><dd>{text(value)}</dd></div>"
    yield "</dl></section>"


def _badge(words: str, tone: str) -> str:
    return f'<span class="badge {tone}">{text(words)}</span>'


# -- physical memory -------------------------------------------------------------------------


def _memory(image: Image) -> Iterator[str]:
    yield "<section><h2>Physical memory</h2>"
    cells = cells_of(image)
    if not cells.windows:
        detail = image.map.detail if isinstance(image.map, Absent) else "nothing is preserved"
        yield f'<p class="quiet">No map of memory: {text(detail)}.</p></section>'
        return
    yield (
        f'<p class="quiet">One cell is {size_text(cells.size)}; empty memory between the rows is '
        "folded.</p>"
    )
    yield '<ul class="legend">'
    for number, group in enumerate(cells.groups):
        yield (
            f'<li><span class="swatch {_class(number, group)}"></span>{text(group.name)} '
            f'<span class="quiet">{size_text(group.size)}</span></li>'
        )
    yield '</ul><div class="map">'
    end = None
    for window in cells.windows:
        if end is not None:
            gap = size_text(window.start - end)
            yield f'<div class="gap">{gap} with nothing of the handover</div>'
        yield _window(window, cells)
        end = window.start + len(window.group) * cells.size
    yield "</div></section>"


def _class(number: int, group: Total) -> str:
    return SPECIAL.get(group.name, f"g{number % 10}")


def _window(window: Window, cells: Cells) -> str:
    count = len(window.group)
    rows = -(-count // ROW)
    width, height = min(count, ROW) * STEP, rows * STEP
    shapes = []
    for index, (group, filled) in enumerate(zip(window.group, window.filled, strict=True)):
        x, y = index % ROW * STEP, index // ROW * STEP
        if group < 0:
            shapes.append(
                f'<rect class="empty" x="{x}" y="{y}" width="{CELL}" height="{CELL}" rx="2"/>'
            )
            continue
        owner = cells.groups[group]
        start = window.start + index * cells.size
        opacity = 0.45 + 0.55 * filled
        shapes.append(
            f'<rect class="fill {_class(group, owner)}" x="{x}" y="{y}" width="{CELL}" '
            f'height="{CELL}" rx="2" opacity="{opacity:.2f}"><title>{start:#x} '
            f"{text(owner.name)}, {filled:.0%} used</title></rect>"
        )
    label = f"{window.start:#x}"
    return (
        f'<div class="window"><code>{label}</code><svg viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="memory from {label}">'
        f"{''.join(shapes)}</svg></div>"
    )


# -- tables ----------------------------------------------------------------------------------


def _sessions(image: Image) -> Iterator[str]:
    luo = image.entry("LUO")
    sessions = luo.get("sessions") if luo is not None else None
    if luo is None or sessions is None:
        return
    yield "<section><h2>Sessions</h2>"
    if luo.note:
        yield f'<p class="quiet">{text(luo.note)}</p>'
    columns = (
        ("Session", False),
        ("Token", True),
        ("Handler", False),
        ("Size", True),
        ("Position", True),
        ("Seals", False),
        ("Folios", True),
    )
    yield from html_table(columns, _session_rows(sessions))
    yield "</section>"


def _session_rows(sessions: Node) -> Iterator[Sequence[str]]:
    for session in sessions.elements():
        name = text(session.value_of("name") or session.key or "")
        files = session.get("files")
        elements = files.elements() if files is not None else []
        if not elements:
            yield name, "", '<span class="quiet">no files</span>', "", "", "", ""
        for number, file in enumerate(elements):
            data = file.get("data")
            values = {child.name: child for child in data.children} if data is not None else {}
            note = f' <span class="quiet">{text(file.note)}</span>' if file.note else ""
            yield (
                name if not number else "",
                f"<code>{text(file.key)}</code>{note}",
                text(file.value_of("handler") or ""),
                _size(values.get("size")),
                _plain(values.get("pos")),
                _flags(values.get("seals")),
                _plain(values.get("nr_folios")),
            )


def _size(node: Node | None) -> str:
    return size_text(node.value) if node is not None and isinstance(node.value, int) else ""


def _plain(node: Node | None) -> str:
    return str(node.value) if node is not None and isinstance(node.value, int) else ""


def _flags(node: Node | None) -> str:
    if node is None or not isinstance(node.value, int) or node.field is None:
        return ""
    names = [name for name, bit in node.field.flags.items() if node.value & bit]
    rest = node.value & ~sum(node.field.flags.values())
    return text(" ".join([*names, *([hex(rest)] if rest else [])]) or "none")


def _entries(image: Image) -> Iterator[str]:
    if not image.entries:
        return
    yield "<section><h2>Entries</h2>"
    columns = (
        ("Entry", False),
        ("Format", False),
        ("Address", True),
        ("Bytes", True),
        ("Holds", False),
    )
    yield from html_table(columns, (_entry_row(node) for node in image.entries))
    yield "</section>"


def _entry_row(node: Node) -> Sequence[str]:
    address = node.value_of("address")
    size = _number(node, "size") or (node.target.size if node.target is not None else None)
    holds = node.value.detail if isinstance(node.value, Absent) else node.note
    regions = node.get("regions")
    if regions is not None:
        holds = ", ".join(
            " ".join(filter(None, (element.key, _size(element.get("size")))))
            for element in regions.elements()
        )
    return (
        text(node.name),
        text(node.format or "unknown"),
        f"<code>{address:#x}</code>" if isinstance(address, int) else "",
        str(size) if size is not None else "",
        text(holds),
    )


def _number(node: Node, name: str) -> int | None:
    """A number below a node; bytes that no definition explains are none."""
    value = node.value_of(name)
    return value if isinstance(value, int) else None


# -- findings --------------------------------------------------------------------------------


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    yield "<section><h2>Findings</h2>"
    if not findings:
        yield '<p class="good">Nothing is wrong with this handover.</p></section>'
        return
    columns = (("Severity", False), ("Rule", False), ("Where", False), ("What", False))

    def row(finding: Finding) -> Sequence[str]:
        level = severity(finding.rule)
        return (
            f'<span class="{TONE[level]}">{level}</span>',
            f"<code>{text(finding.rule)}</code>",
            f"<code>{text(finding.path)}</code>",
            text(finding.message),
        )

    yield from html_table(columns, (row(finding) for finding in findings))
    yield "</section>"


def _foot() -> Iterator[str]:
    from khotool.version import version

    yield f"<footer>khotool {escape(version())}. This page loads nothing from a network.</footer>"
