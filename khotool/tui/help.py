"""The keys of a mode as lines."""

from __future__ import annotations

from collections.abc import Mapping

from khotool.tui.keys import KEYS, SPELLED, spell
from khotool.tui.text import Line

_NAMES = {name: char for char, name in SPELLED.items() if char != " "}
_NAMES |= {"backspace": "bksp", "escape": "esc", "equals_sign": "="}
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


PURPOSES = (
    ("Move", ("nav", "goto", "find", "finding", "ref", "history", "region", "mark")),
    ("Look", ("pane", "tree", "view", "pages", "findings", "sessions", "diff", "formats")),
    ("Change", ("edit", "image", "limit", "copy", "export")),
    ("Screens", ("mode", "help", "cancel", "quit")),
)
"""Headings, and the first parts of the ids of keys below each."""
KEY_ROOM = 22
TWO = 104
"""Columns from which on the keys are in two columns."""


def help_lines(mode: str, changed: Mapping[str, str], width: int) -> list[Line]:
    """Keys and what they do, by purpose; in two columns, or with the id of each."""
    blocks = [_block(head, parts, mode, changed, wide=width >= TWO) for head, parts in PURPOSES]
    if width < TWO:
        return [line for block in blocks for line in block]
    left, right = [*blocks[0], *blocks[3]], [*blocks[1], *blocks[2]]
    count = max(len(left), len(right))
    room = width // 2 - 1
    return [
        [*_padded(left[n] if n < len(left) else [], room), *(right[n] if n < len(right) else [])]
        for n in range(count)
    ]


def _padded(line: Line, room: int) -> Line:
    used = sum(len(text) for text, _ in line)
    return [*line, (" " * max(room - used, 1), "")]


def _block(
    head: str, parts: tuple[str, ...], mode: str, changed: Mapping[str, str], *, wide: bool
) -> list[Line]:
    keyed = [
        (key_text(changed.get(key.id, key.keys)), key.help, key.id)
        for key in KEYS
        if key.works_in(mode) and key.id.split(".")[0] in parts
    ]
    if head == "Move":
        keyed = [(keys, text, "") for keys, text in (*_MOVES, *_EXTRA.get(mode, ()))] + keyed
    room = 14 if wide else KEY_ROOM
    lines: list[Line] = [[(f" {head}", "accent")]]
    for keys, text, name in keyed:
        line: Line = [(f" {keys:<{room}} ", "title"), (text, "text")]
        lines.append(line if wide else [*line[:1], (f"{text:<50}", "text"), (name, "dim")])
    return [*lines, []]
