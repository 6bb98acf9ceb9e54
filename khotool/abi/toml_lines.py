"""Where each key of a TOML document stands."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
      (?P<comment>\#[^\n]*)
    | (?P<string>\"{3}(?:[^\\]|\\.)*?\"{3,5} | '{3}.*?'{3,5} | "(?:[^"\\\n]|\\.)*" | '[^'\n]*')
    | (?P<newline>\n)
    | (?P<mark>[\[\]{},=.])
    | (?P<bare>[^\s\#"'\[\]{},=.]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_CONTROL = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}

Token = tuple[str, str, int]
"""Kind, text, line."""


def key_lines(text: str) -> dict[str, int]:
    """Line of every table, key and element of an array, counted from 1.

    A place is written as errors of definitions do: ``struct.luo_ser.fields[2].role``.

    Args:
        text: a valid TOML document; of any other, some of the lines.
    """
    lines: dict[str, int] = {}
    tokens = list(_tokens(text))
    elements: dict[str, int] = {}
    table = ""
    # Open arrays and inline tables: the mark that closes them, their place, elements so far.
    stack: list[tuple[str, str, list[int]]] = []
    at = 0
    while at < len(tokens):
        kind, word, line = tokens[at]
        closes, here, count = stack[-1] if stack else ("", table, [0])
        at += 1
        if kind in ("newline", "comment"):
            continue
        if word == closes:
            stack.pop()
        elif word == ",":
            count[0] += 1
        elif closes == "]":
            place = f"{here}[{count[0]}]"
            lines.setdefault(place, line)
            if word in ("[", "{"):
                stack.append(("]" if word == "[" else "}", place, [0]))
        elif not stack and word == "[":
            many = at < len(tokens) and tokens[at][1] == "["
            names, at = _names(tokens, at + many, "]")
            table = _header(names, elements, many=many)
            lines.setdefault(table, line)
            if many:
                lines.setdefault(table.rpartition("[")[0], line)
            at += many
        else:
            names, at = _names(tokens, at - 1, "=")
            for name in names:
                here = f"{here}.{name}" if here else name
                lines.setdefault(here, line)
            if at < len(tokens) and tokens[at][1] in ("[", "{"):
                stack.append(("]" if tokens[at][1] == "[" else "}", here, [0]))
                at += 1
            else:
                at = _behind_value(tokens, at)
    return lines


def _tokens(text: str) -> Iterator[Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        word = match[0]
        yield match.lastgroup or "", word, line
        line += word.count("\n")


def _names(tokens: list[Token], at: int, end: str) -> tuple[list[str], int]:
    """The names of a key, and the position behind the mark that ends it."""
    names = []
    while at < len(tokens):
        kind, word, _ = tokens[at]
        at += 1
        if word == end or kind == "newline":
            break
        if kind in ("bare", "string"):
            names.append(_name(kind, word))
    return names, at


def _name(kind: str, word: str) -> str:
    if kind == "bare" or word[0] == "'":
        return word.strip("'")

    def plain(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code is None:
            return _CONTROL.get(match[3], match[3])
        return chr(int(code, 16)) if int(code, 16) < 0x110000 else "?"

    return _ESCAPE.sub(plain, word[1:-1])


def _header(names: list[str], elements: dict[str, int], *, many: bool) -> str:
    """Place of a table; of an array of tables, the latest element."""
    place = ""
    for number, name in enumerate(names):
        place = f"{place}.{name}" if place else name
        if many and number == len(names) - 1:
            elements[place] = elements.get(place, -1) + 1
        if place in elements:
            place = f"{place}[{elements[place]}]"
    return place


def _behind_value(tokens: list[Token], at: int) -> int:
    """The position behind a string, a number or a date."""
    while at < len(tokens) and (tokens[at][0] in ("bare", "string") or tokens[at][1] == "."):
        at += 1
    return at
