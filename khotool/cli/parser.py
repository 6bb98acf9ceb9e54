"""The argument parser: one level of commands, each parsed only by its own module."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import NoReturn

from khotool.cli.commands import COMMANDS, Command, available, load
from khotool.errors import UsageError

DESCRIPTION = "Decode, encode, diff and validate Linux kexec handover (KHO) and live update images."
EPILOG = """\
examples:
  khotool dump image.elf.xz                  the whole handover as a tree
  khotool dump --summary vmcore              the same in about ten lines
  khotool dump --json vmcore | jq .luo       JSON for scripts
  khotool pages --unowned vmcore             preserved pages without an owner (leaks)
  khotool identify vmcore 0x772000           what this address belongs to
  khotool check vmcore --kernel 7.3          would Linux 7.3 accept it?
  khotool tui vmcore                         browse it

IMAGE is an ELF core, a kdump, a raw or LiME memory file, a copy of /sys/kernel/debug/kho, or a
flattened device tree, compressed or not. 'khotool COMMAND --help' shows options and examples.

Exit codes: 0 success, 1 findings or differences, 2 usage error, 3 unreadable input, 4 internal
error, 130 interrupted.
"""


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and exiting."""
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Parse the words of a command; options may be between positional arguments."""
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
    """``; did you mean ...?`` if a known name is close, else an empty string."""
    from difflib import get_close_matches

    # Leading dashes would make all options look alike.
    names = {word.lstrip("-"): word for word in known}
    near = get_close_matches(name.lstrip("-"), names, 1, 0.7)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def _takes_the_rest(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction) or action.nargs in (
        argparse.REMAINDER,
        argparse.PARSER,
    )


def parsers_of(parser: argparse.ArgumentParser, words: Iterable[str]) -> Iterator[Parser]:
    """A parser and the parsers of the sub-commands that the words select."""
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
    """A parser without arguments, with the settings that all commands share."""
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
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_argument_group("commands")
    for command in available():
        # Never parsed: it only lists the command in the help.
        commands.add_argument(f"khotool_{command.name}", metavar=command.name, help=command.help)
    return parser


def find_command(name: str) -> Command:
    """The command of this name."""
    here = available()
    for command in here:
        if command.name == name:
            return command
    if any(command.name == name for command in COMMANDS):
        raise UsageError(f"command {name}: not part of this version; see 'khotool --help'")
    hint = nearest(name, [command.name for command in here])
    if not hint and ("/" in name or "." in name):
        hint = f"; the command comes first, as in 'khotool dump {name}'"
    raise UsageError(f"unknown command {name!r}" + (hint or "; see 'khotool --help'"))


def split(argv: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Split into options of ``khotool`` itself, the command's name, and the command's arguments."""
    for index, word in enumerate(argv):
        if not word.startswith("-"):
            return argv[:index], word, argv[index + 1 :]
    return argv, None, []
