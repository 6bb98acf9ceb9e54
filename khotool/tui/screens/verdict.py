"""Verdict: what each kernel would do with the image, stage by stage, and what is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from khotool.tui.place import nearest
from khotool.tui.screens.mode import ModeScreen, bindings
from khotool.tui.text import visible
from khotool.tui.verdicts import Ruled, command_line, judge_all, kernel_line, verdict_lines
from khotool.tui.widgets.line_view import LineView
from khotool.tui.widgets.tokens import wrap

HANG = 5
"""Columns by which the rest of a long line is indented."""


class VerdictScreen(ModeScreen):
    """Kernels on the left, the stages of one on the right."""

    mode = "verdict"
    BINDINGS: ClassVar[list[BindingType]] = bindings("verdict")

    def __init__(self) -> None:
        super().__init__()
        self.ruled: list[Ruled] = []
        self._of: object = None
        self._paths: list[str] = []

    def body(self) -> ComposeResult:
        """List and stages."""
        with Horizontal(id="panes"):
            yield LineView(id="kernels", classes="pane", empty="judging …")
            yield LineView(id="stages", classes="pane", empty="")

    def on_mount(self) -> None:
        """Start on the list."""
        self.query_one("#kernels").border_title = "Kernels"
        self.query_one("#kernels").focus()

    def show_session(self) -> None:
        """Judge in a worker, once per image."""
        session = self.session
        if session is None or self._of is session:
            return
        self._of, self.ruled = session, []
        self.query_one("#kernels", LineView).show_lines([])

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
            lines = [kernel_line(ruled) for ruled in found]
            self.query_one("#kernels", LineView).show_lines(lines, 0)
            self.call_after_refresh(self._stages)

    def _stages(self) -> None:
        if not self.is_mounted:
            return
        pane = self.query_one("#stages", LineView)
        at = self.query_one("#kernels", LineView).cursor
        self._paths = []
        if at >= len(self.ruled):
            pane.show_lines([])
            return
        ruled = self.ruled[at]
        pane.border_title = f"Linux {ruled.releases}  {ruled.verdict.outcome}"
        width, lines = max((pane.size.width or 80) - 1, 45), []
        for line, path in verdict_lines(ruled.verdict):
            for number, part in enumerate(wrap(line, width - HANG)):
                lines.append([(" " * HANG, ""), *part] if number else part)
                self._paths.append(path)
        pane.show_lines(lines, 0)

    def on_resize(self) -> None:
        """Wrap again."""
        self.call_after_refresh(self._stages)

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        """Show the stages of the kernel."""
        if event.view.id == "kernels":
            self._stages()

    def on_line_view_chosen(self, event: LineView.Chosen) -> None:
        """From a kernel to its stages; from a session or file to Explore."""
        if event.view.id == "kernels":
            self.show_pane(self.query_one("#stages"))
            return
        path = self._paths[event.line] if event.line < len(self._paths) else ""
        if self.session is not None and path:
            self.session.jump(self.session.cursor_at(nearest(self.session.image.tree, path)))
            self.shell.show_mode("explore")

    def under_cursor(self) -> dict[str, str]:
        """The kernel: its outcome, and the command that says the same."""
        at = self.query_one("#kernels", LineView).cursor
        if self.session is None or at >= len(self.ruled):
            return {}
        verdict = self.ruled[at].verdict
        command = command_line(self.session, verdict.kernel)
        return {"value": visible(f"{verdict.kernel}: {verdict.outcome}"), "path": command}

    def panes(self) -> list[tuple[str, str]]:
        """List and stages."""
        return [("#kernels", "Kernels"), ("#stages", "Stages")]
