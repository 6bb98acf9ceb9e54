"""Text for a terminal: pieces with a meaning, and strings of an image made harmless."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Piece = tuple[str, str]
"""Text, and a token that says what it is: ``name``, ``value``, ``dim``, ``error``, ..."""
Line = list[Piece]

_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}


def visible(text: str) -> str:
    """``text`` with controls as symbols and what a terminal could misread as an escape.

    A byte that is not UTF-8 (a lone surrogate) becomes ``\\xNN``; a format character, such as
    one that turns the direction of text, becomes ``\\uNNNN``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    code = ord(char)
    if code in _PICTURES:
        return _PICTURES[code]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def size_text(size: int) -> str:
    """Bytes in the largest unit that keeps three digits: ``2 MiB``, ``12.1 KiB``, ``73 B``."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        value /= 1024
        if value < 1024 or unit == "EiB":
            break
    shown = f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"
    return f"{shown} {unit}"


def count_text(count: int, noun: str = "") -> str:
    """A count with thin groups of thousands, and its noun: ``1 240 pages``, ``1 page``."""
    shown = f"{count:,}".replace(",", " ")
    if not noun:
        return shown
    if count == 1:
        return f"{shown} {noun}"
    return f"{shown} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def plain(line: Iterable[Piece]) -> str:
    """A line without its tokens."""
    return "".join(text for text, _ in line)


def told_apart(first: Path, second: Path) -> tuple[str, str]:
    """Names of two files, with as many folders as it takes to tell them apart."""
    one, two = first.absolute().parts, second.absolute().parts
    for count in range(1, max(len(one), len(two))):
        names = "/".join(one[-count:]), "/".join(two[-count:])
        if names[0] != names[1]:
            return names
    return first.name, second.name
