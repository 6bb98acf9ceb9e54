"""The argument parser: one level of commands, each parsed only by its own module."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import NoReturn

from khotool.cli.commands import COMMANDS, Command, available, load
from khotool.errors import UsageError

DESCRIPTION = "Decode, encode, diff and validate Linux kexec handover (KHO) and live update images."
EPILOG = """\
examples:
  khotool dump image.elf.xz                  the whole handover as a tree
  khotool dump --summary vmcore              ten lines
  khotool dump --json vmcore | jq .luo       for scripts
  khotool pages --unowned vmcore             preserved pages that nothing reaches
  khotool identify vmcore 0x772000           what is at this address

exit codes: 0 done, 1 findings or differences, 2 usage, 3 input, 4 internal error, 130 interrupted
IMAGE is a core file, a kdump, raw or LiME memory, a copy of /sys/kernel/debug/kho, or one device
tree; each may be compressed. 'khotool COMMAND --help' shows the flags and examples of a command.
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are khotool's one line with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing usage and leaving."""
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Parse the words of a command; options may be between positional arguments.

        Raises:
            UsageError: with the nearest option for one that is not known.
        """
        if any(_takes_the_rest(action) for action in self._actions):
            args, extra = self.parse_known_args(words)
        else:
            args, extra = self.parse_known_intermixed_args(words)
        unknown = next((word for word in extra if word.startswith("-")), None)
        if unknown is not None:
            name = unknown.partition("=")[0]
            chosen = list(parsers_of(self, words))
            known = [o for parser in chosen for o in parser._option_string_actions]
            chosen[-1].error(f"unknown option {name}{nearest(name, known)}")
        if extra:
            self.error(f"unexpected argument {extra[0]!r}")
        return args

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        hint = nearest(str(value), names) or f"; expected one of {', '.join(names)}"
        raise argparse.ArgumentError(action, f"unknown value {value!r}{hint}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion, if a known name is near."""
    # Dashes are no likeness.
    names = {word.lstrip("-"): word for word in known}
    near = get_close_matches(name.lstrip("-"), names, 1, 0.7)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def _takes_the_rest(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction) or action.nargs in (
        argparse.REMAINDER,
        argparse.PARSER,
    )


def parsers_of(parser: argparse.ArgumentParser, words: Iterable[str]) -> Iterator[Parser]:
    """A parser, and those of the actions that words name."""
    while isinstance(parser, Parser):
        yield parser
        inner = next(
            (a for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None
        )
        name = next((w for w in words if inner is not None and w in inner.choices), None)
        if inner is None or name is None:
            return
        parser = inner.choices[name]


def make_parser(prog: str, description: str, epilog: str = "") -> Parser:
    """An empty parser in khotool's style."""
    return Parser(
        prog=prog,
        description=description,
        epilog=epilog or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def command_parser(command: Command) -> Parser:
    """The parser of one command; imports its module."""
    module = load(command)
    text = command.help[0].upper() + command.help[1:] + "."
    parser = make_parser(f"khotool {command.name}", text, getattr(module, "EPILOG", ""))
    module.add_arguments(parser)
    return parser


def top_parser() -> Parser:
    """The parser of ``khotool`` itself: ``--help`` and ``--version``; knows commands by name."""
    parser = make_parser("khotool", DESCRIPTION, EPILOG)
    parser.usage = "khotool [-h] [--version] COMMAND ..."
    parser.add_argument("--version", action="store_true", help="show the version and leave")
    commands = parser.add_argument_group("commands")
    for command in available():
        # An argument that is never parsed; it is there for the help.
        commands.add_argument(f"khotool_{command.name}", metavar=command.name, help=command.help)
    return parser


def find_command(name: str) -> Command:
    """The command of this name.

    Raises:
        UsageError: there is none, or this version does not have it.
    """
    here = available()
    for command in here:
        if command.name == name:
            return command
    if any(command.name == name for command in COMMANDS):
        raise UsageError(f"command {name}: not part of this version; see 'khotool --help'")
    near = get_close_matches(name, [command.name for command in here], n=1)
    if near:
        hint = f"did you mean '{near[0]}'?"
    elif "/" in name or "." in name:
        hint = f"a command comes first, such as 'khotool dump {name}'"
    else:
        hint = "see 'khotool --help'"
    raise UsageError(f"unknown command {name!r}; {hint}")


def split(argv: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Flags of ``khotool`` itself, the command's name, and the command's own arguments."""
    for index, word in enumerate(argv):
        if not word.startswith("-"):
            return argv[:index], word, argv[index + 1 :]
    return argv, None, []
