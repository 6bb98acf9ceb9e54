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
        module: the module with ``add_arguments`` and ``run``; if it is missing, so is the command.
    """

    name: str
    help: str
    module: str


class CommandModule(Protocol):
    """The module of a command.

    ``EPILOG``, if there, ends the command's help.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare positional arguments and flags."""

    def run(self, args: argparse.Namespace) -> int:
        """Run the command and return its exit code."""


def _command(name: str, text: str) -> Command:
    return Command(name, text, f"khotool.cli.{name.replace('-', '_')}")


COMMANDS: tuple[Command, ...] = (
    _command("dump", "show an image as a tree, with every pointer followed"),
    _command("pages", "list preserved memory: ranges, orders, owners, totals"),
    _command("identify", "tell what a physical address belongs to"),
    _command("hex", "show bytes annotated field by field"),
    _command("check", "find faults and predict what a kernel would do"),
    _command("diff", "compare two images"),
    _command("encode", "build an image from a full dump or a manifest"),
    _command("extract", "extract the contents of a memfd, region or sub-tree"),
    _command("pack", "write a small image without payload, to share or archive"),
    _command("convert", "rewrite an image for another kernel release"),
    _command("fixture", "build and check synthetic images from recipes"),
    _command("fuzz", "write damaged copies of an image to test decoders and kernels"),
    _command("capture", "take a real image: boot a kernel in QEMU and let it hand over"),
    _command("boot", "boot real kernels on images and compare what they restore"),
    _command("test-kernel", "test live update of a kernel build; KTAP output"),
    _command("report", "write a self-contained HTML report"),
    _command("fleet", "scan many images into tables and query them"),
    _command("tui", "browse, compare and edit images in the terminal"),
    _command("live", "inspect the running host"),
    _command("formats", "list, show, check and create ABI definitions"),
    _command("rules", "list the rules that check applies"),
    _command("explain", "explain a rule: what it means and what to do"),
    _command("graph", "show dependencies between files, devices and FLBs"),
    _command("schema", "print the JSON Schema of an output or input document"),
    _command("config", "show the settings in effect and where they come from"),
    _command("man", "write man pages"),
    _command("completion", "print a completion script for a shell"),
)


def available() -> list[Command]:
    """Commands whose module exists, in the order of the table."""
    return [command for command in COMMANDS if find_spec(command.module) is not None]


def load(command: Command) -> CommandModule:
    """Import the module of a command."""
    return cast(CommandModule, import_module(command.module))
