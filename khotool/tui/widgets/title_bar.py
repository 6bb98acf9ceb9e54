"""The first line: which image, which ABI, what is wrong with it."""

from __future__ import annotations

from textual.strip import Strip
from textual.widget import Widget

from khotool.findings import Severity
from khotool.tui.session import Session
from khotool.tui.text import Line, plain, visible
from khotool.tui.widgets.tokens import strip_of

MODE_NAMES = ("Explore", "Findings", "Pages", "Diff", "Formats")


class TitleBar(Widget):
    """Name, definitions in use, geometry, phase on the left; findings on the right."""

    def __init__(self, mode: str) -> None:
        super().__init__(id="title")
        self.mode = mode
        self.session: Session | None = None
        self.file = ""
        self.busy = ""

    def set(self, session: Session | None, file: str, busy: str) -> None:
        """Show a state."""
        self.session, self.file, self.busy = session, file, busy
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line."""
        base, width = self.rich_style, self.size.width
        right = self._right()
        room = width - len(plain(right)) - 1
        left = self._left(room)
        fill = max(room - len(plain(left)), 0)
        return strip_of(self, [*left, (" " * fill, ""), *right], base, width)

    def _left(self, room: int) -> Line:
        line: Line = []
        for number, name in enumerate(MODE_NAMES, 1):
            mine = name.lower() == self.mode
            if room < 100 and not mine:
                continue
            line.append((f" {number} {name} ", "title hit" if mine else "dim"))
        line.append((f"  {visible(self.file)}", "name"))
        if self.session is None:
            return line
        image = self.session.image
        used = [d.id for d in image.used if d.kind in ("root", "entry", "file")]
        fit = room - len(plain(line)) - 26
        shown: list[str] = []
        for name in used:
            if sum(map(len, shown)) + len(shown) + len(name) > fit:
                break
            shown.append(name)
        if shown:
            more = f" +{len(used) - len(shown)}" if len(shown) < len(used) else ""
            line.append((f"  {' '.join(shown)}{more}", "type"))
        size = image.geometry.page_size >> 10
        order = "LE" if image.geometry.byteorder == "little" else "BE"
        line.append((f"  {size}K {order}  {image.phase}", "dim"))
        return line

    def _right(self) -> Line:
        if self.session is None:
            return [(f"{self.busy} ", "accent")] if self.busy else []
        counts = self.session.counts()
        line: Line = []
        if self.busy:
            line.append((f"{self.busy}  ", "accent"))
        errors, warnings = counts[Severity.ERROR], counts[Severity.WARNING]
        if errors:
            line.append((f"✗ {errors} ", "error"))
        if warnings:
            line.append((f"! {warnings} ", "warning"))
        if counts[Severity.NOTE]:
            line.append((f"· {counts[Severity.NOTE]} ", "note"))
        if not errors and not warnings and self.session.checked:
            line.append(("✓ no finding ", "added"))
        return line
