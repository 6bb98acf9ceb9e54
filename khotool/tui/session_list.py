"""Sessions of the live update orchestrator in numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

from khotool.records import dataclass
from khotool.tui.place import Place
from khotool.tui.session import Session
from khotool.tui.text import Line, count_text, size_text, visible
from khotool.view.luo import Luo
from khotool.view.luo import Session as LuoSession

_SESSION = re.compile(r'/LUO/sessions\[(?:"(?:[^"\\]|\\.)*"|[^\]]*)\]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """One session.

    Args:
        name: untrusted text, or why there is none.
        place: in the model.
        files: files that were read; bytes: sum of their sizes, as far as they are known.
        pages: preserved pages that it owns; -1 while the owners are not known.
        findings: findings at the session or below.
    """

    name: str
    place: Place
    files: int
    bytes: int
    pages: int
    findings: int


SORTS: tuple[tuple[str, Callable[[Row], object]], ...] = (
    ("stored order", lambda row: 0),
    ("name", lambda row: row.name),
    ("files", lambda row: -row.files),
    ("bytes", lambda row: -row.bytes),
    ("pages", lambda row: -row.pages),
    ("findings", lambda row: -row.findings),
)


def session_rows(session: Session) -> list[Row]:
    """All sessions in stored order."""
    listed = Luo(session.image).sessions
    pages = _pages(session)
    findings: dict[str, int] = {}
    for item in session.findings:
        path = _session_path(item.finding.path)
        findings[path] = findings.get(path, 0) + 1
    return [_row(one, pages, findings) for one in listed]


def _row(one: LuoSession, pages: dict[str, int] | None, findings: dict[str, int]) -> Row:
    sizes = [file.size for file in one.files]
    return Row(
        str(one.name),
        Place(one.node),
        len(one.files),
        sum(size for size in sizes if isinstance(size, int)),
        -1 if pages is None else pages.get(one.path, 0),
        findings.get(one.path, 0),
    )


def _session_path(path: str) -> str:
    """The session that a path is in; a quoted name may have any bracket."""
    found = _SESSION.match(path)
    return found[0] if found is not None else ""


def _pages(session: Session) -> dict[str, int] | None:
    """Preserved pages by session; None while the owners are not known."""
    ownership = session.view.ownership
    if ownership is None:
        return None
    found: dict[str, int] = {}
    # The first number is that of pages without an owner.
    counts = ownership.pages_by_owner()[1:].tolist()
    for path, count in zip(ownership.owners, counts, strict=True):
        key = _session_path(path)
        found[key] = found.get(key, 0) + int(count)
    return found


def arranged(rows: list[Row], sort: int) -> list[Row]:
    """Rows in the order of ``SORTS[sort]``; stored order where they are alike."""
    return sorted(rows, key=SORTS[sort][1])  # type: ignore[arg-type]


def matching(rows: list[Row], text: str) -> list[Row]:
    """Rows whose name has a text."""
    wanted = text.strip().casefold()
    return [row for row in rows if wanted in row.name.casefold()]


NUMBERS = 45
"""Columns of the numbers of a row."""


def name_room(width: int) -> int:
    """Columns that are left for names."""
    return min(max(width - NUMBERS, 8), 40)


def header(room: int) -> Line:
    """Names of the columns over rows with ``room`` columns for names."""
    text = f" {'session':<{room}} {'files':>8} {'bytes':>10} {'pages':>12} {'findings':>9}"
    return [(text, "dim")]


def row_line(row: Row, room: int) -> Line:
    """One session in columns."""
    name = visible(row.name)
    name = name if len(name) <= room else name[: room - 1] + "…"
    pages = "…" if row.pages < 0 else count_text(row.pages)
    return [
        (f" {name:<{room}} ", "name"),
        (f"{count_text(row.files):>8} ", "value"),
        (f"{size_text(row.bytes):>10} ", "value"),
        (f"{pages:>12} ", "value"),
        (f"{count_text(row.findings):>9}", "error" if row.findings else "dim"),
    ]
