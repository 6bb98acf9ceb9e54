"""JSON with a fixed form: one blank per level, and what fits in a line on one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from khotool.document.long import Long

LINE = 100
"""Columns that an object or array may take on one line."""

_CANDIDATE = re.compile("[^\x00-\x7e]")


class Rows:
    """An array that is written element by element and never held as a whole.

    Args:
        elements: documents, each written on a line of its own.
    """

    def __init__(self, elements: Iterable[object]) -> None:
        self.elements = elements


_NESTED = {dict, list, Rows, Long}


def json_chunks(document: object, *, compact: bool = False) -> Iterator[str]:
    """A document as text, piece by piece.

    Lone surrogates and characters that act on a terminal are ``\\uXXXX`` escapes, so that the
    text is UTF-8 whatever an image holds.

    Args:
        document: dicts, lists, strings, integers, booleans, None and, at any depth, ``Rows``
            and ``Long``.
        compact: no blanks at all.
    """
    yield from _value(document, 0, compact)
    yield "\n"


def _streams(value: object) -> bool:
    """Whether a document holds ``Rows`` or ``Long``, at any depth."""
    if isinstance(value, dict):
        return any(_streams(item) for item in value.values() if item.__class__ in _NESTED)
    if isinstance(value, list):
        return any(_streams(item) for item in value if item.__class__ in _NESTED)
    return isinstance(value, Rows | Long)


def _value(value: object, level: int, compact: bool) -> Iterator[str]:
    if not _streams(value):
        yield _dumps(value, compact) if compact else _form(value, level)
        return
    pad = "" if compact else "\n" + " " * (level + 1)
    if isinstance(value, Long):
        yield from _long(value, pad)
        return
    begin, end = "{}" if isinstance(value, dict) else "[]"
    count = 0
    yield begin
    for head, item in _members(value, ":" if compact else ": "):
        yield ("," if count else "") + pad + head
        if not head and not compact and _flat(item, level + 1):
            yield _dumps(item)
        else:
            yield from _value(item, level + 1, compact)
        count += 1
    yield ("" if compact or not count else "\n" + " " * level) + end


def _long(value: Long, pad: str) -> Iterator[str]:
    """An array of many numbers; ``pad`` comes before each element, and is empty if compact."""
    yield "[" + pad
    yield from value.text("," + pad, ", " if pad else ",")
    yield pad[:-1] + "]"


def _members(value: object, colon: str) -> Iterator[tuple[str, object]]:
    """Key and colon, and value, of each member of an object; elements of an array have no key."""
    if isinstance(value, dict):
        yield from ((_dumps(key) + colon, item) for key, item in value.items())
        return
    assert isinstance(value, (list, Rows))
    yield from (("", element) for element in (value.elements if isinstance(value, Rows) else value))


def _flat(value: object, level: int) -> bool:
    """True for an object that holds no other and is short: most elements of a long array."""
    if not isinstance(value, dict):
        return False
    room = LINE - level
    for key, item in value.items():
        if isinstance(item, str):
            # An escape makes up to six characters of one.
            room -= len(item) if item.isascii() and item.isprintable() else 6 * len(item)
        elif item is not None and not isinstance(item, int):
            return False
        room -= len(key) + 24
    return room >= 0


def _form(value: object, level: int) -> str:
    if not isinstance(value, (dict, list)) or not value:
        return _dumps(value)
    pad = " " * (level + 1)
    if isinstance(value, dict):
        parts = [f"{_dumps(key)}: {_form(item, level + 1)}" for key, item in value.items()]
        begin, end = "{", "}"
    else:
        parts = [_form(item, level + 1) for item in value]
        begin, end = "[", "]"
    size = sum(len(part) + 2 for part in parts)
    if level and size + level <= LINE and not any("\n" in part for part in parts):
        return begin + ", ".join(parts) + end
    return f"{begin}\n{pad}" + f",\n{pad}".join(parts) + f"\n{' ' * level}{end}"


_SPACED = json.JSONEncoder(ensure_ascii=False)
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _dumps(value: object, compact: bool = False) -> str:
    text = (_COMPACT if compact else _SPACED).encode(value)
    return text if text.isascii() and "\x7f" not in text else _CANDIDATE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    """A character that is not printable in JSON's notation, in UTF-16 halves above U+FFFF."""
    char = match[0]
    if char.isprintable():
        return char
    code = ord(char)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    return f"\\u{0xD7C0 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
