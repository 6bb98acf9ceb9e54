"""Completion of a command line: commands, options, values, ids, paths of an image."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from khotool.cli.commands import available
from khotool.cli.parser import Parser, command_parser, parsers_of

if TYPE_CHECKING:
    from khotool.model.image import Image, Node

Candidate = tuple[str, str]
"""A word and its description."""
FILES = "file"
FOLDERS = "folder"
PATHS = "path"
"""Instead of words: the shell completes names of files, or of folders. Paths of an image grow."""
PATIENCE = 5
"""Seconds of CPU time that reading an image for its paths may take."""
BY_METAVAR = {
    "DIR": FOLDERS,
    "FILE": FILES,
    "IMAGE": FILES,
    "MODEL": FILES,
    "A": FILES,
    "B": FILES,
    "VMLINUX": FILES,
    "MANIFEST": FILES,
    "RECIPE|DIR": FILES,
    "OTHER": FILES,
    "PATH|ADDR[+LEN]": PATHS,
    "PATH": PATHS,
    "RULE": "rule",
    "RULES": "rules",
    "ID": "format",
    "ID[=LAYOUT]": "format",
    "RELEASE": "release",
    "KERNEL": "release",
    "ABI": "release",
    "SHELL": "",
}
"""What an argument takes, by the name that the help shows for it."""


def complete(words: list[str]) -> tuple[str, list[Candidate]]:
    """What may come in the place of the last word.

    Args:
        words: those after ``khotool``; the last is what is typed so far.

    Returns:
        ``file`` or ``folder`` if the shell is to add names of files, ``path`` if a word may go on
        without a blank, and the words that fit.
    """
    *before, typed = words or [""]
    commands = {command.name: command for command in available()}
    if not before or before[0] == "help":
        listed = [(name, command.help) for name, command in commands.items()]
        return "", _fit([*listed, ("--help", "show help"), ("--version", "")], typed)
    if before[0] not in commands:
        return FILES, []
    parser = command_parser(commands[before[0]])
    parser = list(parsers_of(parser, before[1:]))[-1]
    assert isinstance(parser, Parser)
    action = _option(parser, before[-1])
    given = _positional_words(parser, before[1:])
    if action is None and typed.startswith("-") and typed != "-":
        flags = parser._option_string_actions.items()
        return "", _fit([(name, _help(option)) for name, option in flags], typed)
    if action is None:
        action = _next(parser, given)
    return _values(action, typed, given) if action is not None else (FILES, [])


def _option(parser: Parser, word: str) -> argparse.Action | None:
    """The option that takes a value, if the word is one."""
    action = parser._option_string_actions.get(word)
    return action if action is not None and action.nargs != 0 else None


def _positional_words(parser: Parser, words: list[str]) -> list[str]:
    """Words that are neither options nor their values, without sub-actions."""
    found: list[str] = []
    taken = False
    for word in words:
        if taken:
            taken = False
        elif word.startswith("-") and word != "-":
            taken = "=" not in word and _option(parser, word) is not None
        else:
            found.append(word)
    return found[len(parser.prog.split()) - 2 :]


def _next(parser: Parser, given: list[str]) -> argparse.Action | None:
    """The positional argument that comes next."""
    left = len(given)
    for action in parser._actions:
        if action.option_strings:
            continue
        if left == 0 or action.nargs in ("+", "*"):
            return action
        left -= 1
    return None


def _values(action: argparse.Action, typed: str, given: list[str]) -> tuple[str, list[Candidate]]:
    """Values of an argument."""
    if isinstance(action, argparse._SubParsersAction):
        helps = {item.dest: item.help or "" for item in action._choices_actions}
        return "", _fit([(name, helps.get(name, "")) for name in action.choices], typed)
    if action.choices:
        return "", _fit([(str(choice), "") for choice in action.choices], typed)
    name = action.metavar if isinstance(action.metavar, str) else ""
    kind = BY_METAVAR.get(name, "")
    if action.dest in ("old", "new") and action.help and action.help.startswith("id o"):
        kind = "format"
    if kind in (FILES, FOLDERS):
        return kind, []
    return kind if kind == PATHS else "", list(_named(kind, typed, given))


def _named(kind: str, typed: str, given: list[str]) -> Iterator[Candidate]:
    if kind == PATHS:
        yield from paths(given[0], typed) if given else ()
    elif kind in ("rule", "rules"):
        yield from _rules(typed, several=kind == "rules")
    elif kind in ("format", "release"):
        from khotool.abi.registry import load_registry

        registry = load_registry([])
        if kind == "format":
            yield from _fit([(d.id, d.title) for d in registry], typed)
        else:
            names = dict.fromkeys(s.first for s in registry.sets.values() if s.first)
            yield from _fit([(name, "") for name in names], typed)


def _rules(typed: str, *, several: bool) -> Iterator[Candidate]:
    """Ids and slugs; of a list with commas, of its last part."""
    from khotool.check.catalogue import FAMILIES, rules

    head, comma, last = typed.rpartition(",") if several else ("", "", typed)
    known = [(name, text) for name, text in FAMILIES.items()] if several else []
    known += [(rule.id, rule.slug) for rule in rules().values()]
    if last[:1].islower():
        known = [(rule.slug, rule.what) for rule in rules().values()]
    yield from ((head + comma + name, text) for name, text in _fit(known, last))


def paths(image: str, typed: str) -> list[Candidate]:
    """Paths in an image that continue what is typed, one level at a time.

    Nothing, rather than a complaint between the words of a command line, where it cannot be read.
    """
    from khotool.errors import KhotoolError

    old = signal.signal(signal.SIGPROF, _give_up)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        with contextlib.suppress(KhotoolError, OSError, _TooLong):
            return [(node.path, "") for node in _below(_open(image), typed)]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
    return []


class _TooLong(BaseException):
    """Reading the image took longer than anyone waits for a completion."""


def _give_up(*_: object) -> None:
    raise _TooLong


def _open(image: str) -> Image:
    from khotool.limits import OpenOptions
    from khotool.opening.load import load_image

    return load_image(image, OpenOptions(), None)


def _below(image: Image, typed: str) -> list[Node]:
    """Nodes whose path begins with what is typed; of a single one, also what it has."""
    level = [image.tree]
    while True:
        children = [child for node in level for child in node.children]
        fitting = [node for node in children if node.path.startswith(typed)]
        if len(fitting) == 1 and fitting[0].path == typed:
            return fitting[0].children or fitting
        if fitting:
            return fitting
        level = [node for node in children if typed.startswith(node.path)]
        if not level:
            return []


def _fit(known: Iterable[Candidate], typed: str) -> list[Candidate]:
    return [(word, text) for word, text in known if word.startswith(typed)]


def _help(action: argparse.Action) -> str:
    return "" if action.help in (None, argparse.SUPPRESS) else str(action.help)
