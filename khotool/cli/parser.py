"""The argument parser: one level of commands, each parsed only by its own module."""

from __future__ import annotations

import argparse
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
        name = self.prog if self.prog != "khotool" else "khotool"
        raise UsageError(f"{message}; see '{name} --help'")


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
    from difflib import get_close_matches

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
