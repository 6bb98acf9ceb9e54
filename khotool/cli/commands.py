"""The table of commands: names and one line of help, so that ``--help`` imports none of them."""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from khotool.records import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Args:
        name: as typed.
        help: one line, as ``khotool --help`` shows it.
        module: where ``add_arguments`` and ``run`` are; a command without module is not offered.
    """

    name: str
    help: str
    module: str


class CommandModule(Protocol):
    """What a module of a command holds.

    ``NAME`` and ``HELP`` repeat the table; ``EPILOG``, if there, ends the command's help.
    """

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare positional arguments and flags."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit code."""
        ...


def _command(name: str, text: str) -> Command:
    return Command(name, text, f"khotool.cli.{name.replace('-', '_')}")


COMMANDS: tuple[Command, ...] = (
    _command("dump", "show everything in an image as a tree"),
    _command("pages", "list the preserved memory: ranges, order, owner"),
    _command("identify", "say all that a physical address is"),
    _command("hex", "show bytes field by field"),
    _command("check", "look for faults, and say what a kernel would do"),
    _command("diff", "compare two images"),
    _command("encode", "make an image from a full dump or a manifest"),
    _command("extract", "write out the contents of a memfd, region or sub-tree"),
    _command("pack", "make a small image: metadata, and payload only on request"),
    _command("convert", "write a handover in a different ABI version"),
    _command("fixture", "build and check synthetic images from their recipes"),
    _command("fuzz", "write damaged copies of an image, with what was changed"),
    _command("capture", "take a real image: run a kernel that preserves what a manifest says"),
    _command("boot", "boot real kernels on images, and say what came back"),
    _command("test-kernel", "test the live update of a kernel, with KTAP output"),
    _command("report", "write a report on an image as one HTML page"),
    _command("fleet", "scan many images into tables, and ask about all of them"),
    _command("tui", "explore an image in the terminal"),
    _command("live", "look at the running host"),
    _command("formats", "list and show the ABI definitions"),
    _command("rules", "list the rules of check"),
    _command("explain", "explain one rule"),
    _command("graph", "show what files, devices and FLBs need of each other"),
    _command("schema", "print the JSON Schema of a document"),
    _command("config", "show the settings that apply, and where they come from"),
    _command("man", "write manual pages"),
    _command("completion", "print a completion script for a shell"),
)


def available() -> list[Command]:
    """Commands whose module exists, in the order of the table."""
    return [command for command in COMMANDS if find_spec(command.module) is not None]


def load(command: Command) -> CommandModule:
    """Import the module of a command."""
    return cast(CommandModule, import_module(command.module))
