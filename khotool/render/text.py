"""Text from an image made safe to show, and numbers made readable."""

from __future__ import annotations

import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that are never sent to a terminal: controls, direction marks, surrogates."""


def visible(text: str) -> str:
    r"""``text`` with everything that could act on a terminal as an escape.

    A lone surrogate, which represents a byte that is not UTF-8, becomes ``\xNN``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char == " " or (char.isprintable() and unicodedata.category(char) not in _UNSAFE):
        return char
    return ascii(char)[1:-1]


def quoted(text: str) -> str:
    """``text`` as a value shows it: bare if it is a plain word, else in double quotes."""
    shown = visible(text)
    if shown == text and text and not any(c in " \"'=," for c in text):
        return text
    return '"' + shown.replace('"', '\\"') + '"'


def plural(count: int, noun: str, many: str = "") -> str:
    """``1 page``, ``2 pages``, ``1_234_567`` with thin grouping left to the reader."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"


def range_text(start: int, size: int) -> str:
    """``0x1000-0x1fff``: a physical range with its last byte; an empty one as its start."""
    return f"{start:#x}-{start + size - 1:#x}" if size > 0 else f"{start:#x}"
