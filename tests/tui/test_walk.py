"""A walk without a plan through all modes: whatever is pressed, the program holds together."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from khotool.cli.tui import flags
from khotool.tui.keys import KEYS, spell
from khotool.tui.place import resolve
from tests.tui.conftest import OLDER
from tests.tui.driver import Driver, drive

STEPS = 2
"""Keys in each mode."""
SETTLED = 6
"""Keys between two moments of rest: what comes late meets keys that were pressed since."""
MOVES = ("up", "down", "left", "right", "pagedown", "pageup", "home", "end", "tab", "plus", "minus")
TYPED = ("0", "x", "f", "v", "m", "slash", "down", "backspace", "enter", "enter", "escape")
LEAVE = {"q"}


MODES = "1234567"


def leaks(text: str) -> list[str]:
    """What looks like a value of Python instead of words: a list of strings, an object, None."""
    return re.findall(r"\['.*|\bNone\b|\bTrue\b|<[\w.]+ object|\w+\(\w+=.*", text)


def keys_of(mode: str) -> list[str]:
    """Keys that a mode has, and moves."""
    own = [k for key in KEYS if key.works_in(mode) for k in spell(key.keys).split(",")]
    return [*MOVES, *MOVES, *(key for key in own if key not in LEAVE)]


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40), (160, 50), (240, 70)], ids=str)
def test_any_keys_in_any_mode(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key fails; cursor, place and screen agree after each."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(str(size))

    async def story(d: Driver) -> None:
        d.app.parse = flags
        # Every mode in turn; keys may lead away from it, and leave a dialog open.
        order = chance.sample(MODES, len(MODES))
        for step in range(STEPS * len(order)):
            dialog = len(d.app.screen_stack) > 1
            key = chance.choice(TYPED if dialog else keys_of(d.app.current_mode))
            if not dialog and step % STEPS == 0:
                key = order[step // STEPS]
            if step % SETTLED == 0:
                await d.press(key)
                lines = d.text().split("\n")
                assert len(lines) == size[1]
                assert all(len(line) <= size[0] for line in lines)
                assert not leaks(d.text()), key
            else:
                await d.pilot.press(key)
            assert d.app.session is not None
            cursor = d.app.session.cursor
            if cursor.place is not None:
                tree = d.app.session.image.tree
                assert resolve(tree, cursor.place.path) == cursor.place, key
            if cursor.span is not None and cursor.address is not None and cursor.span.size:
                assert cursor.span.address <= cursor.address < cursor.span.end, key
        await d.settle()
        while len(d.app.screen_stack) > 1:
            await d.press("escape")
        for mode in MODES:
            await d.press(mode)
            assert d.text("#title").strip()
            assert not leaks(d.text()), mode

    drive(story, size=size, other=OLDER, drawn=True)
