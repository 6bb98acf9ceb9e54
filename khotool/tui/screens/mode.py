"""What the screens of all modes have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Footer, Static

from khotool.tui.keys import KEYS, spell
from khotool.tui.session import Change, Session
from khotool.tui.widgets.line_view import LineView
from khotool.tui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from khotool.tui.app import KhotoolApp


WIDE = 110
"""Columns from which on panes stand side by side."""


def bindings(mode: str) -> list[BindingType]:
    """Bindings of a mode's screen, from the table of keys."""
    return [
        Binding(
            spell(key.keys), key.action, key.label, show=key.footer, id=key.id, tooltip=key.help
        )
        for key in KEYS
        if key.where in ("all", mode)
    ]


class ModeScreen(Screen[None]):
    """A screen with title, body and footer that follows the session."""

    mode: ClassVar[str] = ""
    needs_image: ClassVar[bool] = True

    @property
    def khotool(self) -> KhotoolApp:
        """The app."""
        return cast("KhotoolApp", self.app)

    @property
    def session(self) -> Session | None:
        """The session of the open image."""
        return self.khotool.session

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
        self.sync()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """The session may have moved while another mode was shown."""
        self.sync()

    def sync(self) -> None:
        """Show the session from scratch, or why there is none."""
        self.update_frame()
        if not self.needs_image or self.session is not None:
            self.show_session()

    def update_frame(self) -> None:
        """Title, banner and state."""
        if not self.is_mounted:
            return
        app = self.khotool
        self.query_one(TitleBar).set(self.session, app.title_text, app.busy_text)
        banner = self.query_one("#banner", Static)
        banner.update(app.banner_text)
        banner.display = bool(app.banner_text)
        blank = self.needs_image and self.session is None
        self.set_class(blank, "-blank")
        if blank:
            self.query_one("#state", LineView).show_lines(app.state_lines())

    def show_session(self) -> None:
        """Show the session, which is there."""

    def session_changed(self, change: Change) -> None:
        """Follow a change of the session."""
        self.update_frame()

    def job_failed(self, group: str) -> None:
        """Work of a group has failed or was cancelled."""

    # -- actions of every mode -------------------------------------------------------------

    def action_mode(self, name: str) -> None:
        """To another mode."""
        self.khotool.show_mode(name)

    def action_back(self) -> None:
        """To where the cursor was."""
        if self.session is not None and not self.session.back():
            self.notify("Nowhere to go back to", timeout=2)

    def action_forward(self) -> None:
        """Undo Back."""
        if self.session is not None:
            self.session.forward()

    def action_goto(self) -> None:
        """Open the goto box."""
        self.khotool.open_goto()

    def action_find(self) -> None:
        """Open the search."""
        self.khotool.open_find()

    def action_find_next(self, step: int) -> None:
        """Next hit."""
        session = self.session
        if session is None:
            return
        if not session.next_hit(step):
            self.notify("No search yet; / finds names, values and bytes", timeout=3)
        else:
            self.khotool.show_mode("explore")

    def action_finding(self, step: int) -> None:
        """Next finding."""
        session = self.session
        if session is None:
            return
        item = session.next_finding(step)
        if item is None:
            self.notify("No finding", timeout=2)
            return
        self.khotool.show_mode("explore")
        place = f"{session.finding + 1} of {len(session.findings)}"
        self.khotool.say(f"{item.finding.rule}  {place}\n{item.finding.message}", item.severity)

    def action_region(self, step: int) -> None:
        """Next decoded stretch of memory."""
        if self.session is not None and not self.session.next_region(step):
            self.notify("No further decoded bytes", timeout=2)

    def action_zoom(self) -> None:
        """The focused pane alone, or all panes."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None and not self.has_class("-blank"):
            self.maximize(self.focused, container=False)

    def action_gutter(self) -> None:
        """Another form of addresses."""

    def action_filter(self) -> None:
        """Show only a part."""

    def action_jump(self) -> None:
        """Go to a pane."""
        self.khotool.open_jump(self)

    def action_copy(self, what: str) -> None:
        """Copy to the terminal's clipboard."""
        self.khotool.copy(what)

    def action_marks(self) -> None:
        """List of bookmarks."""
        self.khotool.open_marks()

    def action_open(self) -> None:
        """Open another image."""
        self.khotool.open_files()

    def action_reload(self) -> None:
        """Read the image again."""
        self.khotool.reload()

    def action_raise_limit(self) -> None:
        """Read on behind a limit."""
        self.khotool.raise_limit()

    def action_export(self) -> None:
        """Write the current node to a file."""
        self.khotool.open_export()

    def action_help(self) -> None:
        """The keys of this screen."""
        self.khotool.open_help(self)

    def action_cancel(self) -> None:
        """Stop the work in hand, else leave what narrows the view."""
        if self.khotool.cancel_work():
            return
        if self.maximized is not None:
            self.minimize()
        elif self.session is not None and self.session.shown is not None:
            self.session.set_filter("", None)

    def action_quit(self) -> None:
        """Leave."""
        self.app.exit(0)

    def panes(self) -> list[tuple[str, str]]:
        """Selector and name of the panes that can be jumped to."""
        return []
