"""Run the app without a terminal and read what it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from textual import _wait
from textual._compositor import Compositor
from textual._context import visible_screen_stack
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Tree

from khotool.decode.decoded import Watch
from khotool.limits import OpenOptions, Progress
from khotool.model.image import Image
from khotool.opening.load import load_image
from khotool.tui import work
from khotool.tui.app import KhotoolApp
from khotool.tui.keys import Config
from khotool.tui.screens import explore
from tests.tui.conftest import CAPTURE, ROOT, opened

WIDE, NARROW = (120, 36), (80, 24)
SIZES = (WIDE, NARROW)
T = TypeVar("T")

# Textual asks after every key, in steps of 20 ms, whether the program is at rest.
_wait.SLEEP_GRANULARITY, _wait.SLEEP_IDLE = 0.002, 0.001


def _open(path: str, options: OpenOptions, progress: Progress, watch: Watch) -> Image:
    """An image of the repository is decoded once for all tests: nothing changes an image."""
    if ROOT / "fixtures" in Path(path).parents and options == OpenOptions():
        return opened(Path(path))
    return load_image(path, options, progress, watch)


def _draw_nothing(
    compositor: Compositor,
    full: bool = False,
    screen_stack: list[Screen[Any]] | None = None,
    simplify: bool = False,
) -> None:
    """Instead of drawing after every key for nobody: ``Driver.text`` draws what a test reads."""
    visible_screen_stack.set(screen_stack or [])
    compositor._dirty_regions.clear()


class Driver:
    """A running app."""

    def __init__(self, app: KhotoolApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    async def settle(self) -> None:
        """Wait until no worker runs and all messages are handled."""
        for _ in range(200):
            await self.app.workers.wait_for_complete()
            await self.pilot.pause()
            if not self.app.jobs and not any(w.is_running for w in self.app.workers):
                break
        # The inspector waits for the cursor to rest.
        await self.pilot.pause(explore.DEBOUNCE)

    async def press(self, *keys: str) -> None:
        """Press keys, each once the one before has been dealt with."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def type(self, text: str) -> None:
        names = {
            "/": "slash",
            "[": "left_square_bracket",
            "]": "right_square_bracket",
            " ": "space",
            "#": "number_sign",
            "+": "plus",
            '"': "quotation_mark",
            ":": "colon",
            "?": "question_mark",
            "-": "minus",
            ".": "full_stop",
            "_": "underscore",
        }
        await self.pilot.press(*(names.get(char, char) for char in text))
        await self.settle()

    async def resize(self, width: int, height: int) -> None:
        """Turn the terminal; Textual waits a moment for the last of several turns."""
        await self.pilot.resize_terminal(width, height)
        await self.pilot.pause(0.05)
        await self.settle()

    async def goto(self, text: str) -> None:
        await self.press("g")
        await self.fill(text)
        await self.press("enter")

    async def fill(self, text: str) -> None:
        """Put a text into the line of a dialog at once."""
        self.app.screen.query_one("#input", Input).value = text
        await self.settle()

    def path(self) -> str:
        assert self.app.session is not None
        place = self.app.session.cursor.place
        return place.path if place is not None else ""

    def text(self, selector: str | None = None) -> str:
        """What is on the screen, or in one widget, as plain text."""
        screen = self.app.screen
        if selector is None:
            lines = screen._compositor.render_strips()
            return "\n".join(strip.text.rstrip() for strip in lines)
        widget = screen.query_one(selector)
        if isinstance(widget, Tree):
            widget._pseudo_class_state = widget.get_pseudo_class_state()
        return "\n".join(
            "".join(s.text for s in widget.render_line(y)).rstrip()
            for y in range(widget.size.height)
        )

    async def shows(self, words: str, selector: str | None = None) -> bool:
        """True once a widget shows some words; on a busy machine it may take a while."""
        for _ in range(100):
            if words in self.text(selector):
                return True
            await self.settle()
        return False

    def focus(self) -> str:
        focused = self.app.focused
        return focused.id or "" if focused is not None else ""


def drive(
    story: Callable[[Driver], Coroutine[Any, Any, T]],
    path: Path | str | None = CAPTURE,
    *,
    size: tuple[int, int] = WIDE,
    other: Path | None = None,
    config: Config | None = None,
    options: OpenOptions | None = None,
    drawn: bool = False,
) -> T:
    """Run a story in a fresh app.

    Args:
        drawn: draw the screen after every key, as a terminal has it.
    """

    async def run(patch: pytest.MonkeyPatch) -> T:
        app = KhotoolApp(
            str(path) if path is not None else None,
            str(other) if other is not None else None,
            options,
            config or Config(),
        )
        app.animation_level = "none"
        explore.DEBOUNCE = 0.001
        patch.setattr(work, "load_image", _open)
        if not drawn:
            patch.setattr(Compositor, "render_update", _draw_nothing)
        async with app.run_test(size=size, notifications=True) as pilot:
            driver = Driver(app, pilot)
            await driver.settle()
            return await story(driver)

    with pytest.MonkeyPatch.context() as patch:
        return asyncio.run(run(patch))


Story = Callable[[Driver], Awaitable[None]]
