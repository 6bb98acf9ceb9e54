"""What commands that write an image have in common."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import area
from khotool.cli.output import note, print_json
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.encode.fresh import Built
    from khotool.model.image import Span


def image_output(args: argparse.Namespace) -> str:
    """The file to write."""
    output = args.output
    if output is None:
        raise UsageError("an image is written to a file: give -o IMAGE")
    if output == "-":
        raise UsageError("-o -: an ELF image cannot be written to a pipe; name a file")
    if os.path.isdir(output):
        raise UsageError(f"-o {output}: this is a folder; name a file in it")
    return str(output)


def describe_written(
    args: argparse.Namespace, output: str, built: Built, command: str = ""
) -> None:
    """Say on stderr what was written, and the obvious next step; with --json, also on stdout.

    Args:
        command: whose document that is; empty for one that has none.
    """
    size = os.path.getsize(output)
    formats = "".join(f" --formats {shlex.quote(folder)}" for folder in args.formats)
    again = f"khotool dump {shlex.quote(output)}{formats}"
    note(args, f"wrote {output}: {size} bytes, root at {built.root:#x}; {again}")
    if command and args.json:
        from khotool.document.dump import head

        document = {"output": output, "bytes": size, "root": hex(built.root), "lost": built.lost}
        print_json({**head(command), **document}, args)


MEMORY_OPTION = """
--memory START+SIZE...
                       physical memory to use (repeatable; default: where the memory of the model
                       is)
"""


def add_memory_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the memory of a fresh layout."""
    declare(parser, MEMORY_OPTION, memory=area)


def memory_ranges(args: argparse.Namespace) -> list[Span]:
    """Ranges of ``--memory``; none to keep to where the model's memory is."""
    from khotool.model.image import Span

    return [Span(start, size) for start, size in args.memory]
