"""Verdict: what each kernel would do with the image, stage by stage, and what is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from khotool.tui.place import nearest
from khotool.tui.screens.mode import ListScreen, bindings
from khotool.tui.text import visible
from khotool.tui.verdicts import Ruled, command_line, judge_all, kernel_line, verdict_lines
from khotool.tui.widgets.line_view import LineView
from khotool.tui.widgets.tokens import wrap

HANG = 5
"""Columns by which the rest of a long line is indented."""


class VerdictScreen(ListScreen):
    """Kernels on the left, the stages of one on the right."""

    mode = "verdict"
    names: ClassVar[dict[str, str]] = {"kernels": "Kernels", "stages": "Stages"}
    BINDINGS: ClassVar[list[BindingType]] = bindings("verdict")

    def __init__(self) -> None:
        super().__init__()
        self.ruled: list[Ruled] = []
        self._of: object = None
        self._paths: list[str] = []

    def body(self) -> ComposeResult:
        with Horizontal(id="panes"):
            yield LineView(id="kernels", classes="pane", title="Kernels", empty="judging …")
            yield LineView(id="stages", classes="pane", empty="")

    def show_session(self) -> None:
        """Judge in a worker, once per image."""
        session = self.session
        if session is None or self._of is session:
            return
        self._of, self.ruled = session, []
        self.main.show_lines([])

        def job(stop: Callable[[], bool]) -> None:
            found = judge_all(session.image, stop)
            if not stop():
                self.app.call_from_thread(self._show, found)

        self.shell.run_job("verdict", "judging", job)

    def job_failed(self, group: str) -> None:
        """Judge again when the screen is shown again."""
        if group == "verdict":
            self._of = None

    def _show(self, found: list[Ruled]) -> None:
        self.ruled = found
        if self.is_mounted:
            self.main.show_lines([kernel_line(ruled) for ruled in found], 0)
            self.call_after_refresh(self._stages)

    def _stages(self) -> None:
        if not self.is_mounted:
            return
        pane, ruled = self.list_of("stages"), self.chosen(self.ruled)
        self._paths = []
        if ruled is None:
            pane.show_lines([])
            return
        pane.set_title(f"Linux {ruled.releases}  {ruled.verdict.outcome}")
        width, lines = max((pane.size.width or 80) - 1, 45), []
        for line, path in verdict_lines(ruled.verdict):
            for number, part in enumerate(wrap(line, width - HANG)):
                lines.append([(" " * HANG, ""), *part] if number else part)
                self._paths.append(path)
        pane.show_lines(lines, 0)

    def on_resize(self) -> None:
        self.call_after_refresh(self._stages)

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        if event.view.id == "kernels":
            self._stages()

    def on_line_view_chosen(self, event: LineView.Chosen) -> None:
        """From a session or file to Explore."""
        at = event.line if event.view is not self.main else len(self._paths)
        path = self._paths[at] if at < len(self._paths) else ""
        if self.session is not None and path:
            self.explore(self.session.cursor_at(nearest(self.session.image.tree, path)))

    def action_show(self) -> None:
        """From a kernel to its stages."""
        self.show_pane(self.list_of("stages"))

    def under_cursor(self) -> dict[str, str]:
        ruled = self.chosen(self.ruled)
        if self.session is None or ruled is None:
            return {}
        verdict = ruled.verdict
        command = command_line(self.session, verdict.kernel)
        return {"value": visible(f"{verdict.kernel}: {verdict.outcome}"), "path": command}
