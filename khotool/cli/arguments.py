"""How commands declare their arguments: as a table that reads like their help.

Each row has an argument, two or more blanks, and its help, which may go on in indented rows::

    image IMAGE            capture to read
    path [PATH]            show only this part of the tree
    places RECIPE|DIR...   recipes, or directories that contain them
    -n, --count N = 10     number of images to write (default: 10)
    --to ABI (required)    kernel release or root compatible
    --select RULES...      apply only these rules (repeatable)
    --fail-on error|never  values to choose from are in small letters
    what to show:
    --summary              an option without a value, in a group of the help

``options:`` goes back to the group without a heading.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

_ROW = re.compile(
    r"(?P<name>-[^\s,]+(, -[^\s,]+)*|\w+)( (?P<value>[^\s(]+?)(?P<many>\.\.\.)?)?"
    r"( = (?P<default>\S+))?( \((?P<required>required)\))?"
)


def declare(
    parser: argparse._ActionsContainer, table: str, **types: Callable[[str], Any]
) -> argparse._ActionsContainer:
    """Add the arguments of a table.

    Args:
        types: what makes a value of its text, by the name that the argument has in Python.

    Returns:
        The group that the last row is in.
    """
    group = parser
    for row in filter(None, re.sub(r"\n +", "  ", table).splitlines()):
        what, _, text = row.partition("  ")
        if what.endswith(":"):
            group = parser if what == "options:" else parser.add_argument_group(what[:-1])
            continue
        names, settings = _settings(what)
        dest = names[-1].lstrip("-").replace("-", "_")
        if dest in types:
            settings["type"] = types[dest]
            if "default" in settings and settings.get("action") != "append":
                settings["default"] = types[dest](settings["default"])
        group.add_argument(*names, help=" ".join(text.split()), **settings)
    return group


def _settings(what: str) -> tuple[list[str], dict[str, Any]]:
    """Names of an argument, and what else ``add_argument`` takes of its first column."""
    found = _ROW.fullmatch(what)
    assert found is not None, what
    name, value, many, default = found.group("name", "value", "many", "default")
    if value is None:
        return name.split(", "), {"action": "store_true"}
    settings: dict[str, Any] = {"default": default.strip('"')} if default else {}
    option = name.startswith("-")
    maybe = not option and value.startswith("[") and value.endswith("]")
    if maybe:
        value = value[1:-1]
    if option and many:
        settings |= {"action": "append", "default": []}
    elif many or maybe:
        settings["nargs"] = ("*" if maybe else "+") if many else "?"
    if "|" in value and value.islower():
        settings["choices"] = tuple(value.split("|"))
    else:
        settings["metavar"] = value
    return name.split(", "), settings | ({"required": True} if found["required"] else {})
