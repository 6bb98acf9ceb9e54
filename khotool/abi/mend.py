"""Load a definition past its mistakes, so that all of them can be told at once."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from khotool.abi.definition import Definition
from khotool.abi.load import read_definition
from khotool.errors import DefinitionError

MOST_ERRORS = 100
"""Mistakes of one file that are told."""

_NEUTRAL: dict[str, Any] = {
    "kind": "structure",
    "content": "none",
    "status": "local",
    "shape": "record",
    "type": "u8",
    "bits": "u8",
    "width": 1,
    "size": 1,
    "fields": [],
    "parts": [],
    "properties": [],
    "pages": 1,
}
"""Values of keys that have to be there and that offend nobody."""
_MISSING = re.compile(r"key '(.*)' is missing$")
_TWICE = re.compile(r"'(.*)' is defined twice$")
_LAYOUT = re.compile(r"layout '(.*)' is not defined$")
_STEP = re.compile(r"\[(\d+)\]")
_EXPECTED = re.compile(r"expected (a table|a list|list|str|int|bool)\b")
_OF_TYPE: dict[str, Any] = {
    "a table": {},
    "a list": [],
    "list": [],
    "int": 1,
    "bool": False,
}
"""Values of a type; of text there is a name that nothing has."""


@dataclass(slots=True)
class Mended:
    """A definition with its mistakes put right in some way.

    Args:
        definition: None if there is no way past a mistake.
        touched: places that are not as their author wrote them: ``struct.NAME``, ``fdt``, or a
            key of the file.
    """

    definition: Definition | None = None
    errors: list[DefinitionError] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)


def load_past_errors(document: dict[str, Any], source: str) -> Mended:
    """Load a parsed definition; each mistake is noted and replaced by something harmless.

    Args:
        document: is changed.
    """
    mended = Mended()
    # Places that are mended already; what is wrong with them now is no mistake of the author.
    ours: set[str] = set()
    for attempt in range(3 * MOST_ERRORS):
        try:
            mended.definition = read_definition(document, source)
            break
        except DefinitionError as error:
            where, message = place_of(error, source), message_of(error)
            missing = _MISSING.match(message)
            place = f"{where}.{missing[1]}".lstrip(".") if missing is not None else where
            if missing is None or place not in ours:
                if place not in ours or _TWICE.match(message) or _LAYOUT.match(message):
                    mended.errors.append(error)
                first, _, rest = place.partition(".")
                inside = f"struct.{rest.partition('.')[0]}" if first == "struct" else first
                mended.touched.add(inside)
            unused = f"unnamed_{attempt}"
            if len(mended.errors) >= MOST_ERRORS or not _mend(document, where, message, unused):
                break
            ours.add(place)
    return mended


def place_of(error: DefinitionError, source: str) -> str:
    """Where in its file an error is: a place such as ``struct.luo_ser.size``."""
    return error.where.removeprefix(source).lstrip(".")


def message_of(error: DefinitionError) -> str:
    """An error without its place."""
    return str(error).removeprefix(f"{error.where}: ")


def _mend(document: dict[str, Any], where: str, message: str, unused: str) -> bool:
    """Change what an error is about; False if that is not possible.

    Args:
        unused: a name that nothing has.
    """
    holder, key, rest = _find(document, where)
    value: Any = document if holder is None else holder[key]
    if match := _MISSING.match(message):
        name = match[1]
        if rest or not isinstance(value, dict) or name in value:
            return False
        value[name] = copy(_NEUTRAL.get(name, unused))
        return True
    if match := _TWICE.match(message):
        return _replace_field(value, match[1], unused)
    if match := _LAYOUT.match(message):
        return _drop_layout(value, match[1])
    if rest in _NEUTRAL and isinstance(value, dict) and rest not in value:
        value[rest] = copy(_NEUTRAL[rest])
        return True
    if rest:
        return _replace_field(value, rest, unused)
    if holder is None:
        return _replace(document, "content", "none") if message.startswith("content") else False
    if isinstance(holder, list):
        if where.startswith("probe["):
            return _replace(holder, key, {"asked": True})
        part = where.rpartition(".")[2].startswith("parts[")
        return _replace(holder, key, {"name": unused} | ({"width": 1} if part else {"type": "u8"}))
    if where.count(".") == 1 and where.startswith("struct."):
        return _replace(holder, key, {"fields": [], "size": 1})
    if key in _NEUTRAL:
        return _replace(holder, key, _NEUTRAL[key])
    if match := _EXPECTED.match(message):
        return _replace(holder, key, _OF_TYPE.get(match[1], unused))
    del holder[key]
    if not holder and where.startswith("probe["):
        # A sign of nothing would be another mistake.
        holder["asked"] = True
    return True


def _replace(holder: Any, key: Any, value: object) -> bool:
    if holder[key] == value:
        return False
    holder[key] = copy(value)
    return True


def _find(document: dict[str, Any], where: str) -> tuple[Any, Any, str]:
    """Table or list and key of a place, as far as it leads; and what is left of it."""
    holder: Any = None
    key: Any = None
    value: Any = document
    while where:
        if isinstance(value, list) and (match := _STEP.match(where)):
            step: Any = int(match[1])
            if step >= len(value):
                break
            left = where[match.end() :]
        elif isinstance(value, dict):
            # Names may hold dots; the longest that is there is meant.
            fits = [n for n in value if where == n or where.startswith((f"{n}.", f"{n}["))]
            if not fits:
                break
            step = max(fits, key=len)
            left = where[len(step) :]
        else:
            break
        holder, key, value, where = value, step, value[step], left.lstrip(".")
    return holder, key, where


def _replace_field(struct: object, label: str, unused: str) -> bool:
    """Put a harmless field in the place of the last one of a struct that has this name."""
    fields = struct.get("fields") if isinstance(struct, dict) else None
    if not isinstance(fields, list):
        return False
    for number in range(len(fields) - 1, -1, -1):
        item = fields[number]
        if not isinstance(item, dict):
            continue
        parts = item.get("parts")
        every = [item, *(parts if isinstance(parts, list) else [])]
        tables = [one for one in every if isinstance(one, dict)]
        if any(label in (one.get("as"), one.get("name")) for one in tables):
            return _replace(fields, number, {"name": unused, "type": "u8"})
    return False


def _drop_layout(node: object, layout: str) -> bool:
    found = False
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if item.get("layout") == layout:
                del item["layout"]
                found = True
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return found
