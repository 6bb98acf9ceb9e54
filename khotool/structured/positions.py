"""Line and column of keys and elements in the text of a document.

Both scanners are iterative and keep only the paths that are asked for: positions are needed when
there is a mistake, and a document may be large.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

Path = tuple[str | int, ...]
"""Keys and indices from the root of a document down to a value."""
Position = tuple[int, int]
"""Line and column, counted from 1."""

_TOML = re.compile(
    r"""
      (?P<comment>\#[^\n]*)
    | (?P<string>\"{3}(?:[^\\]|\\.)*?\"{3,5} | '{3}.*?'{3,5} | "(?:[^"\\\n]|\\.)*" | '[^'\n]*')
    | (?P<newline>\n)
    | (?P<mark>[\[\]{},=.])
    | (?P<bare>[^\s\#"'\[\]{},=.]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_JSON = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*")|(?P<mark>[\[\]{},:])|(?P<bare>[^\s"\[\]{},:]+)')
_CLOSES = {"[": "]", "{": "}"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_CONTROL = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}

Token = tuple[str, str, int]
"""Kind, text, offset in characters."""


def positions(text: str, wanted: Iterable[Path], *, is_json: bool) -> dict[Path, Position]:
    """Positions of paths; of one without a position, that of the nearest table or list around it.

    Args:
        text: a valid document; of any other, some of the positions.
        wanted: paths of values or of keys.
    """
    paths = set(wanted)
    around = {path[:length] for path in paths for length in range(len(path) + 1)}
    offsets: dict[Path, int] = {(): 0}
    for path, offset in _json_paths(text) if is_json else _toml_paths(text):
        if path in around:
            offsets.setdefault(path, offset)
    nearest = {
        path: next(offsets[path[:n]] for n in range(len(path), -1, -1) if path[:n] in offsets)
        for path in paths
    }
    lines = _line_starts(text, set(nearest.values()))
    return {path: lines[offset] for path, offset in nearest.items()}


def _line_starts(text: str, offsets: set[int]) -> dict[int, Position]:
    found: dict[int, Position] = {}
    line, start = 1, 0
    for offset in sorted(offsets):
        passed = text.count("\n", start, offset)
        if passed:
            line += passed
            start = text.rfind("\n", 0, offset) + 1
        found[offset] = (line, offset - start + 1)
    return found


def _tokens(pattern: re.Pattern[str], text: str) -> Iterator[Token]:
    for match in pattern.finditer(text):
        yield match.lastgroup or "", match[0], match.start()


# -- JSON ------------------------------------------------------------------------------------


def _json_paths(text: str) -> Iterator[tuple[Path, int]]:
    """Every key of an object at the key, and every element of an array at the element."""
    # A step for each open container: an index in a list, in an object its latest key.
    path: list[str | int] = []
    expect_key = False
    for kind, word, offset in _tokens(_JSON, text):
        in_list = bool(path) and isinstance(path[-1], int)
        if in_list and word not in (",", "]"):
            yield tuple(path), offset
        elif kind == "string" and expect_key:
            path[-1] = _json_key(word)
            yield tuple(path), offset
        expect_key = word == "{" or (word == "," and path != [] and not in_list)
        if word in _CLOSES:
            path.append(0 if word == "[" else "")
        elif word in ("]", "}"):
            del path[-1:]
        elif word == "," and in_list:
            path[-1] = int(path[-1]) + 1


def _json_key(word: str) -> str:
    try:
        return str(json.loads(word))
    except ValueError:
        return word[1:-1]


# -- TOML ------------------------------------------------------------------------------------


def _toml_paths(text: str) -> Iterator[tuple[Path, int]]:
    """Every table at its header, every key at the key, every element at the element."""
    tokens = list(_tokens(_TOML, text))
    elements: dict[Path, int] = {}
    table: Path = ()
    # Open arrays and inline tables: the mark that closes them, their path, elements so far.
    stack: list[tuple[str, Path, list[int]]] = []
    at = 0
    while at < len(tokens):
        kind, word, offset = tokens[at]
        closes, here, count = stack[-1] if stack else ("", table, [0])
        at += 1
        if kind in ("newline", "comment"):
            continue
        if word == closes:
            stack.pop()
        elif word == ",":
            count[0] += 1
        elif closes == "]":
            place = (*here, count[0])
            yield place, offset
            if word in _CLOSES:
                stack.append((_CLOSES[word], place, [0]))
        elif not stack and word == "[":
            many = at < len(tokens) and tokens[at][1] == "["
            names, at = _names(tokens, at + many, "]")
            table = _header(names, elements, many=many)
            yield table, offset
            if many:
                yield table[:-1], offset
            at += many
        else:
            names, at = _names(tokens, at - 1, "=")
            for name in names:
                here = (*here, name)
                yield here, offset
            opened = tokens[at][1] if at < len(tokens) else ""
            if opened in _CLOSES:
                stack.append((_CLOSES[opened], here, [0]))
                at += 1
            else:
                at = _after_value(tokens, at)


def _names(tokens: list[Token], at: int, end: str) -> tuple[list[str], int]:
    """The names of a key, and the index of the token after the mark that ends it."""
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


def _header(names: list[str], elements: dict[Path, int], *, many: bool) -> Path:
    """Path of a table; of an array of tables, the latest element."""
    path: Path = ()
    for number, name in enumerate(names):
        path = (*path, name)
        if many and number == len(names) - 1:
            elements[path] = elements.get(path, -1) + 1
        if path in elements:
            path = (*path, elements[path])
    return path


def _after_value(tokens: list[Token], at: int) -> int:
    """The index of the token after a string, a number or a date."""
    while at < len(tokens) and (tokens[at][0] in ("bare", "string") or tokens[at][1] == "."):
        at += 1
    return at
