"""The keys of a mode as lines."""

from __future__ import annotations

from collections.abc import Mapping

from khotool.tui.keys import KEYS, spell
from khotool.tui.text import Line

_NAMES = {
    "slash": "/",
    "question_mark": "?",
    "apostrophe": "'",
    "semicolon": ";",
    "plus": "+",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "minus": "-",
    "right_curly_bracket": "}",
    "left_curly_bracket": "{",
    "backspace": "bksp",
    "escape": "esc",
    "equals_sign": "=",
}
_MOVES = (
    ("↑ ↓ k j", "up and down"),
    ("← → h l", "close or parent, open or first child; a byte in the bytes"),
    ("pgup pgdn home end G", "by screens, to the ends"),
    ("tab shift+tab", "next and previous pane"),
    ("ctrl+p", "palette: every action by name"),
    ("ctrl+q", "leave, from dialogs, too"),
)
_EXTRA = {
    "explore": (("space", "open or close a line of the tree"),),
    "pages": (("+ -", "finer and coarser cells"),),
}


def key_text(keys: str) -> str:
    """Keys as printed on a keyboard."""
    return " ".join(_NAMES.get(name, name) for name in spell(keys).split(","))


def help_lines(mode: str, changed: Mapping[str, str]) -> list[Line]:
    """Keys, what they do, and the id by which the config file changes them."""
    lines: list[Line] = []
    for keys, text in (*_MOVES, *_EXTRA.get(mode, ())):
        lines.append([(f" {keys:<22}", "title"), (text, "text")])
    lines.append([])
    for key in KEYS:
        if key.works_in(mode):
            shown = key_text(changed.get(key.id, key.keys))
            lines.append(
                [
                    (f" {shown:<22}", "title"),
                    (f"{key.help:<50}", "text"),
                    (key.id, "dim"),
                ]
            )
    return lines
