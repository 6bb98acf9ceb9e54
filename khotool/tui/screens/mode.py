"""What the screens of all modes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Footer, Static

from khotool.tui import actions, editing, exports
from khotool.tui.blank import state_lines
from khotool.tui.keys import KEYS, spell
from khotool.tui.screens.dialogs import Picker
from khotool.tui.session import Change, Cursor, Session
from khotool.tui.shell import Follower, Shell
from khotool.tui.text import Line
from khotool.tui.widgets.line_view import LineView
from khotool.tui.widgets.title_bar import TitleBar

T = TypeVar("T")

WIDE = 110
"""Columns from which on panes are side by side."""
JUMP_KEYS = "asdfghjkl"
COMMANDS = {
    "goto": actions.open_goto,
    "marks": actions.open_marks,
    "open": actions.open_files,
    "options": actions.open_options,
    "reload": actions.reload,
    "raise": actions.raise_limit,
    "undo": editing.undo,
    "staged": editing.open_list,
    "write": editing.open_write,
}
"""What a key does in every mode, by the name that its action has."""


def bindings(mode: str) -> list[BindingType]:
    """Bindings of a mode's screen, from the table of keys."""
    return [
        Binding(
            spell(key.keys), key.action, key.label, show=key.footer, id=key.id, tooltip=key.help
        )
        for key in KEYS
        if key.works_in(mode)
    ]


class ModeScreen(Follower):
    """A screen with title, body and footer that follows the session.

    Attributes:
        mode: its name.
        names: panes that can be jumped to, by id; the first has the focus at the start.
        needs_image: whether there is nothing to show without one.
    """

    mode: ClassVar[str] = ""
    names: ClassVar[dict[str, str]] = {}
    needs_image: ClassVar[bool] = True
    zoomed: Widget | None = None

    @property
    def shell(self) -> Shell:
        return cast("Shell", self.app)

    @property
    def session(self) -> Session | None:
        """The session of the open image."""
        return self.shell.session

    @property
    def narrow(self) -> bool:
        """Whether there is no room for everything at once."""
        return self.app.size.width < WIDE

    def compose(self) -> ComposeResult:
        """Title, banner, body, state, footer."""
        yield TitleBar(self.mode)
        yield Static("", id="banner", markup=False)
        with Vertical(id="body"):
            yield from self.body()
        yield LineView(id="state", has_cursor=False)
        yield Static(
            "This terminal is too small.\nkhotool needs 60 columns and 15 lines.",
            id="tiny",
            markup=False,
        )
        yield Footer(show_command_palette=False)

    def body(self) -> ComposeResult:
        """The widgets between title and footer."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Show what there is."""
        self.query_one(f"#{next(iter(self.names))}").focus()
        self.sync()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """The session may have moved while a different mode was shown."""
        self.sync()

    def sync(self) -> None:
        self.update_frame()
        if not self.needs_image or self.session is not None:
            self.show_session()

    def update_frame(self) -> None:
        if not self.is_mounted:
            return
        app = self.shell
        self.query_one(TitleBar).set(self.session, app.title_text, app.busy_text)
        banner = self.query_one("#banner", Static)
        banner.update(app.banner_text)
        banner.display = bool(app.banner_text)
        blank = self.needs_image and self.session is None
        self.set_class(blank, "-blank")
        if blank:
            self.query_one("#state", LineView).show_lines(state_lines(app))

    def show_session(self) -> None:
        """Show the session, which is there."""

    def session_changed(self, change: Change) -> None:
        self.update_frame()

    def on_title_bar_picked(self, event: TitleBar.Picked) -> None:
        """A click in the title shows a mode."""
        self.action_mode(event.mode)

    # -- actions of every mode -------------------------------------------------------------

    def action_mode(self, name: str) -> None:
        self.shell.show_mode(name)

    def action_run(self, name: str) -> None:
        """What is the same in every mode."""
        COMMANDS[name](self.shell)

    def action_back(self) -> None:
        if self.session is not None and not self.session.back():
            self.notify("Nowhere to go back to", timeout=2)

    def action_forward(self) -> None:
        if self.session is not None:
            self.session.forward()

    def action_find(self) -> None:
        actions.open_find(self.shell)

    def action_find_next(self, step: int) -> None:
        session = self.session
        if session is None:
            return
        if not session.next_hit(step):
            self.notify("No search yet; / finds names, values and bytes", timeout=3)
        else:
            self.shell.show_mode("explore")

    def action_finding(self, step: int) -> None:
        session = self.session
        if session is None:
            return
        item = session.next_finding(step)
        if item is None:
            self.notify("No finding", timeout=2)
            return
        self.shell.show_mode("explore")
        place = f"{session.finding + 1} of {len(session.findings)}"
        self.shell.say(f"{item.finding.rule}  {place}\n{item.finding.message}", item.severity)

    def action_region(self, step: int) -> None:
        """Next decoded stretch of memory."""
        if self.session is not None and not self.session.next_region(step):
            self.notify("No further decoded bytes", timeout=2)

    def action_zoom(self) -> None:
        """The focused pane alone, or all panes."""
        if self.zoomed is not None:
            self.zoom(None)
        elif self.focused is not None and not self.has_class("-blank"):
            self.zoom(self.focused)

    def zoom(self, pane: Widget | None) -> None:
        """Show a pane alone between title and footer; None shows all panes."""
        self.zoomed = pane
        body = self.query_one("#body")
        around = () if pane is None else (pane, *pane.ancestors)
        for widget in body.query("*"):
            widget.set_class(widget in around, "-zoomed")
            beside = pane is not None and widget.parent in around and widget not in around
            widget.set_class(beside and widget.parent is not pane, "-away")
        if pane is not None:
            pane.focus()
        self.call_after_refresh(self.zoom_changed)

    def zoom_changed(self) -> None:
        """The panes have their new size."""

    def action_gutter(self) -> None:
        """Another form of addresses."""

    def action_filter(self) -> None:
        """Show only a part."""

    def action_jump(self) -> None:
        """Go to a pane."""
        panes = [name for name in self.names if not self.query_one(f"#{name}").has_class("-off")]
        marks = JUMP_KEYS[: len(panes)]
        lines: list[Line] = [
            [(f" {mark} ", "title"), (f" {self.names[name]}", "name")]
            for mark, name in zip(marks, panes, strict=True)
        ]

        def done(index: int | None) -> None:
            if index is not None:
                self.show_pane(self.query_one(f"#{panes[index]}"))

        self.app.push_screen(Picker("Panes", lines, marks=marks), done)

    def show_pane(self, pane: Widget) -> None:
        """Put the focus on a pane; a zoom goes with it."""
        if self.zoomed is not None:
            self.zoom(pane)
        else:
            pane.focus()

    def action_copy(self, what: str) -> None:
        """Copy to the terminal's clipboard; without an image, the details of the error."""
        if self.needs_image and self.session is None:
            if self.shell.details:
                exports.copy_details(self.shell)
        else:
            self.copy(what)

    def copy(self, what: str) -> None:
        """Copy what is under the cursor of this mode."""
        text = self.under_cursor().get(what)
        if text:
            exports.copy(self.shell, lambda _: text)
        else:
            self.notify("Nothing of this kind to copy here", timeout=2)

    def under_cursor(self) -> dict[str, str]:
        """What can be copied by kind: ``value``, ``path``, ``address``."""
        return {}

    def cursor_here(self) -> Cursor | None:
        """The place that the line under the cursor is about."""
        return self.session.cursor if self.session is not None else None

    def action_links(self) -> None:
        """List what the place is linked to, and go there."""
        actions.open_links(self.shell, self.cursor_here())

    def action_export(self) -> None:
        exports.open_export(self.shell)

    def action_help(self) -> None:
        actions.open_help(self.shell, self.mode)

    def action_cancel(self) -> None:
        """Stop the work in hand, else leave what narrows the view."""
        if not self.shell.cancel_work():
            self.leave_view()

    def leave_view(self) -> bool:
        """Leave what narrows the view, one thing at a time; False if nothing does."""
        if self.zoomed is not None:
            self.zoom(None)
        elif self.session is not None and self.session.shown is not None:
            self.session.clear_filter()
        else:
            return False
        return True

    def action_quit(self) -> None:
        editing.guarded(self.shell, lambda: self.app.exit(0))

    def list_of(self, name: str) -> LineView:
        """The list with an id."""
        return self.query_one(f"#{name}", LineView)

    def explore(self, cursor: Cursor | None) -> None:
        """Go to a place in Explore; ``back`` returns."""
        if self.session is not None and cursor is not None:
            self.session.jump(cursor)
            self.shell.show_mode("explore")


class ListScreen(ModeScreen):
    """A screen whose first pane is a list; what is chosen there is shown in Explore."""

    @property
    def main(self) -> LineView:
        """The list."""
        return self.list_of(next(iter(self.names)))

    def chosen(self, items: Sequence[T] | None) -> T | None:
        """The one of ``items``, one for each line, that is under the cursor."""
        at = self.main.cursor
        return items[at] if items is not None and at < len(items) else None

    def on_line_view_chosen(self, event: LineView.Chosen) -> None:
        """Show it in Explore."""
        if event.view is self.main:
            self.action_show()

    def action_show(self) -> None:
        """Show in Explore what is under the cursor."""
        self.explore(self.cursor_here())
