"""Findings: what is wrong, worst first, with the words of the rule."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from khotool.findings import Severity
from khotool.tui import exports
from khotool.tui.commands import check_command
from khotool.tui.memory_view import address_text
from khotool.tui.rated import BADGES, ORDER, Rated, rule_text
from khotool.tui.screens.dialogs import Prompt
from khotool.tui.screens.mode import ListScreen, bindings
from khotool.tui.session import Change, Cursor
from khotool.tui.text import Line, count_text, visible
from khotool.tui.widgets.line_view import LineView
from khotool.tui.widgets.tokens import wrap

LEVELS = (Severity.NOTE, Severity.WARNING, Severity.ERROR)


class FindingsScreen(ListScreen):
    """A list, and the explanation of the one under the cursor."""

    mode = "findings"
    names: ClassVar[dict[str, str]] = {"list-findings": "Findings"}
    BINDINGS: ClassVar[list[BindingType]] = bindings("findings")

    def __init__(self) -> None:
        super().__init__()
        self.least = Severity.NOTE
        self.text = ""
        self.lines: list[Rated | Line] = []
        self._shown: object = None

    def body(self) -> ComposeResult:
        yield LineView(id="list-findings", classes="pane", empty="no finding")
        yield LineView(id="explain", classes="pane", has_cursor=False)

    def show_session(self) -> None:
        session = self.session
        assert session is not None
        items = [
            item
            for item in session.findings
            if ORDER[item.severity] <= ORDER[self.least] and self._matches(item)
        ]
        self.lines = []
        headings: set[int] = set()
        for severity, group in groupby(items, key=lambda item: item.severity):
            found = list(group)
            headings.add(len(self.lines))
            name = count_text(len(found), str(severity))
            self.lines += [[(f" {name}", BADGES[severity][1])], *found]
        view = self.main
        view.empty = "no finding" if session.checked else "the check is still running"
        narrow = self.narrow
        state = (session.findings, self.least, self.text, session.finding)
        at = None
        if state != self._shown:
            current = session.findings[session.finding] if session.finding >= 0 else None
            at = self.lines.index(current) if current in self.lines else 0
            self._shown = state
        view.show(
            len(self.lines), lambda n: self._line(self.lines[n], narrow), at, headings=headings
        )
        shown = f"{count_text(len(items))} of {count_text(len(session.findings))}"
        title = f"Findings  {shown}  from {self.least} up"
        if self.text:
            title += f"  with {visible(self.text)}"
        view.set_title(title)
        self._explain()

    def _matches(self, item: Rated) -> bool:
        finding = item.finding
        text = self.text.casefold()
        return not text or any(
            text in part.casefold() for part in (finding.rule, finding.path, finding.message)
        )

    @staticmethod
    def _line(item: Rated | Line, narrow: bool) -> Line:
        if not isinstance(item, Rated):
            return item
        glyph, token = BADGES[item.severity]
        finding = item.finding
        path, room = visible(finding.path), 24 if narrow else 46
        if len(path) > room:
            path = "…" + path[-room + 1 :]
        return [
            (f" {glyph} {finding.rule}  ", token),
            (path.ljust(room), "name"),
            (f"  {visible(finding.message)}", "text"),
        ]

    def session_changed(self, change: Change) -> None:
        super().session_changed(change)
        if change is Change.FINDINGS and self.session is not None:
            self.show_session()

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        self._explain()

    def _chosen(self) -> Rated | None:
        """The finding under the cursor."""
        item = self.chosen(self.lines)
        return item if isinstance(item, Rated) else None

    def _explain(self) -> None:
        pane = self.list_of("explain")
        item = self._chosen()
        if item is None:
            pane.show_lines([])
            pane.set_title("")
            return
        finding = item.finding
        text = rule_text(finding.rule)
        pane.set_title(
            finding.rule if text.title == finding.rule else f"{finding.rule} {text.title}"
        )
        parts = [("Here", visible(finding.message)), ("Where", visible(finding.path))]
        if finding.address is not None:
            parts.append(("At", address_text(finding.address)))
        parts += text.parts
        for name, value in finding.data.items():
            shown = f"{value:#x}" if isinstance(value, int) and value > 1 << 16 else str(value)
            parts.append((name, visible(shown)))
        lines: list[Line] = []
        width = max(pane.size.width or 80, 30) - 11
        for head, body in parts:
            for number, piece in enumerate(wrap([(body, "text")], width)):
                lines.append([(f" {head if not number else '':<8} ", "dim"), *piece])
        pane.show_lines(lines)
        # As much of the screen as the words need, and no more than half.
        pane.styles.height = min(max(len(lines), 4) + 2, self.size.height // 2)

    def under_cursor(self) -> dict[str, str]:
        item, source = self._chosen(), self.shell.source
        command = check_command(source) if source is not None else ""
        if item is None:
            return {"command": command}
        finding = item.finding
        address = "" if finding.address is None else address_text(finding.address)
        found = {"value": finding.message, "path": finding.path, "address": address}
        return {**found, "command": command}

    def action_export(self) -> None:
        exports.open_findings_export(self.shell)

    def cursor_here(self) -> Cursor | None:
        item, session = self._chosen(), self.session
        return None if session is None or item is None else session.cursor_of_finding(item)

    def leave_view(self) -> bool:
        if self.zoomed is None and (self.text or self.least is not Severity.NOTE):
            self.text, self.least = "", Severity.NOTE
            if self.session is not None:
                self.show_session()
            return True
        return super().leave_view()

    def action_show(self) -> None:
        session, item = self.session, self._chosen()
        if session is not None and item is not None:
            session.finding = session.findings.index(item)
        super().action_show()

    def action_severity(self) -> None:
        """The least severity that is shown."""
        self.least = LEVELS[(LEVELS.index(self.least) + 1) % len(LEVELS)]
        if self.session is not None:
            self.show_session()

    def action_find(self) -> None:
        if self.session is None:
            return

        def done(text: str | None) -> None:
            if text is not None and self.session is not None:
                self.text = text.strip()
                self.show_session()

        self.app.push_screen(Prompt("Findings with", self.text, "rule, path or message"), done)
