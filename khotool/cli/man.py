"""``khotool man``: manual pages, made from the help of the commands."""

from __future__ import annotations

import argparse
from pathlib import Path

from khotool.cli.arguments import declare
from khotool.cli.options import add_output_options
from khotool.cli.output import note
from khotool.errors import InputError

EPILOG = """\
examples:
  khotool man ~/.local/share/man/man1       then: man khotool-dump
  sudo khotool man /usr/local/share/man/man1
"""
ARGUMENTS = """
folder DIR             directory to write them to; created if missing
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_output_options(parser, json=False, output=False)


def run(args: argparse.Namespace) -> int:
    written = write_pages(Path(args.folder))
    note(args, f"wrote {written} pages to {args.folder}; man -l {args.folder}/khotool.1")
    return 0


def write_pages(folder: Path) -> int:
    """Write all pages.

    Returns:
        How many there are.
    """
    from khotool.cli.commands import available
    from khotool.cli.parser import command_parser, top_parser
    from khotool.memory.atomic import replacing
    from khotool.render.man import man_page
    from khotool.version import version

    commands = available()
    names = [f"khotool-{command.name}" for command in commands]
    parsers = [top_parser(), *(command_parser(command) for command in commands)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for parser in parsers:
            name = parser.prog.replace(" ", "-")
            others = names if name == "khotool" else ["khotool"]
            with replacing(folder / f"{name}.1") as file:
                file.write(
                    "".join(f"{line}\n" for line in man_page(parser, version(), others)).encode()
                )
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; name a folder that can be written") from None
    return len(parsers)
