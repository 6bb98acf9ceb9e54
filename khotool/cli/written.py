"""What commands that write an image have in common."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from khotool.cli.output import note
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.encode.fresh import Built


def image_output(args: argparse.Namespace) -> str:
    """The file to write.

    Raises:
        UsageError: there is no -o, or it is a folder or standard output.
    """
    output = args.output
    if output is None:
        raise UsageError("an image is written to a file: give -o IMAGE")
    if output == "-":
        raise UsageError("-o -: an ELF image cannot be written to a pipe; name a file")
    if os.path.isdir(output):
        raise UsageError(f"-o {output}: this is a folder; name a file in it")
    return str(output)


def describe_written(args: argparse.Namespace, output: str, built: Built) -> None:
    """Say on stderr what was written, and the obvious next step."""
    size = os.path.getsize(output)
    note(args, f"wrote {output}: {size} bytes, root at {built.root:#x}; khotool dump {output}")
