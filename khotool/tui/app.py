"""The app: the modes, the themes, the palette."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from textual import events
from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from khotool.tui import actions, exports, garbage
from khotool.tui.help import key_text
from khotool.tui.keys import KEYS
from khotool.tui.screens.diff import DiffScreen
from khotool.tui.screens.explore import ExploreScreen
from khotool.tui.screens.findings import FindingsScreen
from khotool.tui.screens.formats import FormatsScreen
from khotool.tui.screens.mode import WIDE, ModeScreen
from khotool.tui.screens.pages import PagesScreen
from khotool.tui.screens.sessions import SessionsScreen
from khotool.tui.screens.verdict import VerdictScreen
from khotool.tui.shell import Shell


class KhotoolApp(Shell):
    """khotool tui; see ``Shell`` for its arguments."""

    TITLE = "khotool"
    CSS_PATH = "app.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "explore": ExploreScreen,
        "findings": FindingsScreen,
        "pages": PagesScreen,
        "diff": DiffScreen,
        "formats": FormatsScreen,
        "verdict": VerdictScreen,
        "sessions": SessionsScreen,
    }
    DEFAULT_MODE = "explore"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - the base class does not say ClassVar
        (0, "-tiny"),
        (60, "-narrow"),
        (WIDE, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-short"),
        (15, "-tall"),
    ]
    BINDINGS: ClassVar[list[Any]] = [
        # A priority binding works in dialogs, too.
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="app.quit")
    ]

    async def on_event(self, event: events.Event) -> None:
        """Note that the user is at work."""
        if isinstance(event, events.InputEvent):
            garbage.note_key()
        await super().on_event(event)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette holds every action."""
        yield from super().get_system_commands(screen)
        if isinstance(screen, ModeScreen):
            for key in KEYS:
                if key.works_in(screen.mode):
                    run = partial(screen.run_action, key.action)
                    shown = key_text(self.config.keys.get(key.id, key.keys))
                    yield SystemCommand(f"{key.label}: {key.help}", f"{shown}   {key.id}", run)
            for what, text in exports.COPIES:
                run = partial(screen.run_action, f"copy('{what}')")
                yield SystemCommand(text, "to the clipboard, by OSC 52", run)
        compare = partial(actions.open_compare, self)
        yield SystemCommand("Compare with a second image", "diff mode", compare)
        if self.details:
            details = partial(exports.copy_details, self)
            yield SystemCommand("Copy the details of the last error", "", details)
        about = "terminal, theme, problems of the config file"
        yield SystemCommand("Debug info", about, partial(actions.debug_info, self))
