"""Paths of the model: ``/LUO/sessions[vm-alpha]/files[0x1]/data/folios[12]/pfn``."""

from __future__ import annotations

import re
from functools import lru_cache

from khotool.errors import UsageError
from khotool.records import dataclass

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[/\[]', re.DOTALL)
"""Where a part of a path begins; brackets and slashes in quotes are text."""
_KEY = re.compile(r'(\[(?:"(?:[^"\\]|\\.)*"|[^\]]*)\])')
_SPECIAL = re.compile(r'[/\[\]" ]')
_HEX = set("0123456789abcdefABCDEF")
_DIGITS = {"u": 4, "U": 8}
"""Digits of an escape by its letter."""


@lru_cache(maxsize=1 << 14)
def quote_key(key: str) -> str:
    """A key as it is written in brackets: quoted if it holds ``/ [ ] "``, a space or a control."""
    if key and key.isprintable() and not _SPECIAL.search(key):
        return key
    text = key.replace("\\", "\\\\").replace('"', '\\"')
    text = "".join(c if c.isprintable() else _escape(c) for c in text)
    return f'"{text}"'


def _escape(char: str) -> str:
    """A character by its number: four digits after ``u``, eight after ``U``."""
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def quote_name(name: str) -> str:
    """A name as it is written after a slash: quoted like a key where it has to be."""
    return quote_key(name) if name else '""'


@dataclass(frozen=True, slots=True)
class Step:
    """One component of a path: a name, or a key in brackets."""

    text: str
    is_key: bool


def parse_path(text: str) -> list[Step]:
    """Split a path.

    Raises:
        UsageError: a bracket or quote is not closed, or a component is empty.
    """
    steps: list[Step] = []
    at = 0
    if not text.startswith("/"):
        raise UsageError(f"path {text!r}: a path starts with '/', as dump prints it")
    while at < len(text):
        if text[at : at + 2] == '/"':
            name, at = _quoted(text, at + 2)
            steps.append(Step(name, False))
        elif text[at] == "/":
            end = at + 1
            while end < len(text) and text[end] not in "/[":
                end += 1
            if end > at + 1:
                steps.append(Step(text[at + 1 : end], False))
            elif end < len(text) or (len(text) > 1 and steps):
                raise UsageError(f"path {text!r}: empty name at character {at + 1}")
            at = end
        elif text[at] == "[":
            key, at = _key(text, at + 1)
            steps.append(Step(key, True))
        else:
            raise UsageError(f"path {text!r}: expected '/' or '[' at character {at + 1}")
    return steps


def _key(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] != '"':
        end = text.find("]", at)
        if end < 0:
            raise UsageError(f"path {text!r}: '[' is not closed")
        return text[at:end], end + 1
    key, at = _quoted(text, at + 1)
    if text[at : at + 1] != "]":
        raise UsageError(f"path {text!r}: '[' is not closed")
    return key, at + 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    key: list[str] = []
    while at < len(text) and text[at] != '"':
        digits = _DIGITS.get(text[at + 1 : at + 2], 0) if text[at] == "\\" else 0
        if digits:
            code = text[at + 2 : at + 2 + digits]
            if len(code) < digits or set(code) - _HEX or int(code, 16) > 0x10FFFF:
                raise UsageError(f"path {text!r}: bad escape at character {at + 1}")
            key.append(chr(int(code, 16)))
            at += 2 + digits
        else:
            at += text[at] == "\\"
            key.append(text[at : at + 1])
            at += 1
    if at >= len(text):
        raise UsageError(f"path {text!r}: a quote is not closed")
    return "".join(key), at + 1


def paths_above(path: str) -> list[str]:
    """Paths that a path is below, ``/`` aside: it is cut before each name and key."""
    places = [match.start() for match in _PART.finditer(path) if match[0] in ("/", "[")]
    return [path[:at] for at in places if at]


def is_below(path: str, top: str) -> bool:
    """True for ``top`` itself and everything below it."""
    return path == top or path.startswith((f"{top.rstrip('/')}/", f"{top}["))


def split_keys(path: str) -> list[str]:
    """A path cut at its keys: names at even places, keys in their brackets at odd ones."""
    return _KEY.split(path)
