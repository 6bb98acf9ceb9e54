"""The first line: which image, which ABI, what is wrong with it."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from khotool.findings import Severity
from khotool.tui.session import Session
from khotool.tui.text import Line, plain, visible
from khotool.tui.widgets.tokens import strip_of

MODE_NAMES = ("Explore", "Findings", "Pages", "Diff", "Formats", "Verdict", "Sessions")
ALL_NAMES = 100
"""Columns from which on the names of all modes are shown."""


class TitleBar(Widget):
    """Name, definitions in use, geometry, phase on the left; findings on the right."""

    class Picked(Message):
        """A mode was clicked."""

        def __init__(self, mode: str) -> None:
            super().__init__()
            self.mode = mode

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

    def on_click(self, event: events.Click) -> None:
        """A click on the name of a mode shows it."""
        at = 0
        for text, _ in self._left(self.size.width - len(plain(self._right())) - 1):
            words = text.split()
            if at <= event.x < at + len(text) and words[1:] and words[1] in MODE_NAMES:
                self.post_message(self.Picked(words[1].lower()))
                break
            at += len(text)

    def _left(self, room: int) -> Line:
        line: Line = []
        for number, name in enumerate(MODE_NAMES, 1):
            mine = name.lower() == self.mode
            if room < ALL_NAMES and not mine:
                continue
            line.append((f" {number} {name} ", "title hit" if mine else "dim"))
        name = visible(self.file)
        fit = max(room - len(plain(line)) - 3, 1)
        line.append((f"  {name if len(name) <= fit else '…' + name[-fit + 1 :]}", "name"))
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
        about = f"  {size}K {order}  {image.phase}"
        if len(plain(line)) + len(about) <= room:
            line.append((about, "dim"))
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
