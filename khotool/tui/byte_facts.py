"""What the bytes under the cursor are, whether or not they are a value of the model."""

from __future__ import annotations

from khotool.model.image import UNPLACED
from khotool.tui.describe import Fact
from khotool.tui.links import breadcrumb, links_of
from khotool.tui.map_words import bytes_at, page_at, word_line
from khotool.tui.memory_view import address_text
from khotool.tui.session import Session
from khotool.tui.text import Line, size_text, visible

SIZES = (1, 2, 4, 8)
PREVIEW = 16
"""Bytes of a target that are shown."""
LINKED = 6
"""Links shown in the inspector; all of them are listed by their key."""
ARROWS = {
    "target": "→",
    "pointer": "←",
    "folio": "←",
    "owner": "⌂",
    "map": "▦",
    "finding": "✗",
    "here": "·",
}
"""Glyph of each kind of link."""


def byte_facts(session: Session) -> list[Fact]:
    """Tokens of device trees, words of the map, numbers, and links of the cursor."""
    address = session.cursor.address
    found: list[Fact] = []
    if session.cursor.place is not None:
        found += _breadcrumb(session)
    if address is None or address >= UNPLACED:
        return found + _links(session)
    found += _token(session, address)
    page = page_at(session.image, address)
    if page is not None:
        level = f" of level {page.level}" if page.level else ""
        text = f"{page.kind.name.lower()} page{level} at {address_text(page.address)}  "
        found.append(("map", [(text, "type"), *word_line(session.image, page, address)]))
    return [
        *found,
        *_scratch(session, address),
        *_numbers(session, address),
        *_links(session),
    ]


def _token(session: Session, address: int) -> list[Fact]:
    """The header word or token of a device tree."""
    found = session.token_at(address)
    if found is None:
        return []
    mark = found[1]
    if mark is None:
        return [("fdt", [("padding", "dim")])]
    at = f"  byte {address - mark.address} of {mark.size}"
    return [("fdt", [(visible(mark.text), "type"), (at, "dim")])]


def _scratch(session: Session, address: int) -> list[Fact]:
    for number, area in enumerate(session.view.scratch):
        if area.address <= address < area.end:
            text = f"area {number}, {size_text(area.size)} at {area.address:#x}"
            at = f"  +{address - area.address:#x}"
            return [("scratch", [(text, "scratch"), (at, "dim")])]
    return []


def _breadcrumb(session: Session) -> list[Fact]:
    """The pointers on the way from the root."""
    place = session.cursor.place
    assert place is not None
    line: Line = []
    for node in breadcrumb(place):
        assert node.target is not None
        name = node.key if node.name in ("", "data") and node.key else node.name
        line += [(" → " if line else "→ ", "pointer"), (visible(name or "?"), "name")]
        line.append((f" {node.target.address:#x}", "address"))
    return [("via", line)] if line else []


def _links(session: Session) -> list[Fact]:
    # The owner is said of the page, findings in words of their own.
    links = [link for link in links_of(session) if link.kind not in ("owner", "finding")]
    found: list[Fact] = []
    for link in links[:LINKED]:
        line: Line = [(f"{ARROWS[link.kind]} ", "pointer"), (link.text, "name")]
        if link.kind == "target" and link.cursor.address is not None:
            line += _preview(session, link.cursor.address)
        found.append((link.kind, line))
    if len(links) > LINKED:
        found.append(("", [(f"{len(links) - LINKED} more; u lists them", "dim")]))
    return found


def _preview(session: Session, address: int) -> Line:
    """The first bytes of a target."""
    data = bytes_at(session.image, address, PREVIEW)
    if not data:
        return [("  not captured", "hole")]
    shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return [(f"  {data.hex(' ')}", "other"), (f"  {shown}", "dim")]


def _numbers(session: Session, address: int) -> list[Fact]:
    """The bytes as numbers of 1, 2, 4 and 8 bytes in both byte orders."""
    data = bytes_at(session.image, address, SIZES[-1])
    if not data:
        return []
    lines: list[Fact] = []
    for head, order in (("LE", "little"), ("BE", "big")):
        line: Line = []
        for size in SIZES:
            if size <= len(data):
                value = int.from_bytes(data[:size], order)  # type: ignore[arg-type]
                line += [(f"u{size * 8} ", "dim"), (f"{value:#x}  ", "value")]
        lines.append((head, line))
    return lines


def names_between(session: Session, start: int, end: int) -> str:
    """Names of the fields and tokens that begin in a range of physical addresses."""
    names: list[str] = []
    if session.index is None or end > UNPLACED:
        return ""
    for address in range(start, end):
        place = session.index.find(address)
        span = session.span(place) if place is not None else None
        if place is None or place.value is None:
            found = session.token_at(address)
            mark = found[1] if found is not None else None
            if mark is not None and mark.address == address:
                names.append(visible(mark.text.split(",")[0]))
        elif span is not None and span.address == address:
            name = place.label or place.node.name or f"[{place.node.key}]"
            names.append(visible(f"[{place.row}].{name}" if place.row >= 0 else name))
    return "  ".join(names)
