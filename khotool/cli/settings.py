"""Settings of a project as defaults of options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from khotool.cli.parser import Parser, parsers_of

SETTINGS: dict[str, tuple[str, str]] = {
    "select": ("select", "check"),
    "ignore": ("ignore", "check"),
    "fail_on": ("fail-on", "check"),
    "suppress": ("suppressions", "check"),
    "policy": ("policy", "check"),
    "kernel": ("kernels", "check"),
    "formats": ("formats", ""),
    "color": ("color", ""),
    "ascii": ("ascii", ""),
    "pager": ("pager", ""),
}
"""Key of the configuration by option; with the only command that it is for, if there is one."""
BEFORE = ("formats",)
"""Lists that go before what is given: of two folders with the same definition, the later wins."""


def parse_with_settings(parser: Parser, command: str, words: list[str]) -> argparse.Namespace:
    """Parse a command line, with the project's settings as defaults."""
    taken: dict[str, tuple[argparse.Action, Any]] = {}
    for part in parsers_of(parser, words):
        for action in part._actions:
            key, only = SETTINGS.get(action.dest, ("", ""))
            if action.option_strings and key and only in ("", command):
                taken[action.dest] = action, action.default
                # An option that is given is then not what it is by default.
                action.default = None
    args = parser.parse(words)
    values = _configured() if taken else {}
    for name, (action, default) in taken.items():
        given = getattr(args, name)
        value = values.get(SETTINGS[name][0])
        if value is None:
            value = default
        elif name in BEFORE:
            given = [*value, *(given or ())]
        elif isinstance(value, list) and not isinstance(action, argparse._AppendAction):
            value = value[0] if value else default
        setattr(args, name, value if given is None else given)
    return args


def _configured() -> dict[str, Any]:
    # The reader is imported only if there is a configuration, which is seldom.
    folder = Path.cwd()
    if not any(
        (parent / name).exists()
        for parent in (folder, *folder.parents)
        for name in ("khotool.toml", "pyproject.toml")
    ):
        return {}
    from khotool.config.project import find_configuration

    return dict(find_configuration(folder).values)
