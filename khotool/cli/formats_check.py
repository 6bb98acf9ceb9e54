"""``khotool formats check``: validate definition files."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from khotool.cli.arguments import declare
from khotool.cli.options import add_limit_option, add_output_options
from khotool.cli.output import write_document, write_text
from khotool.errors import UsageError
from khotool.records import replace

HELP = "validate definition files: file, line, reason"
ARGUMENTS = """
folder [DIR]...        directories of definitions, or single files (default: all that khotool uses)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_limit_option(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check; 2 if a definition is wrong."""
    from khotool.abi.registry import Registry, builtin_formats, load_registry
    from khotool.abi.sources import user_folders
    from khotool.abi.validate import check_folder
    from khotool.structured import Mistake

    mistakes: list[Mistake] = []
    files = 0
    if not args.folder:
        files, mistakes = check_folder(builtin_formats(), Registry([]))
    for name in args.folder or user_folders():
        if not Path(name).exists():
            raise UsageError(f"{name}: no such folder of definitions")
        number, found = check_folder(Path(name), load_registry())
        files += number
        folder = name if Path(name).is_dir() else os.path.dirname(name)
        mistakes += [replace(one, file=os.path.join(folder, one.file)) for one in found]
    if args.json:
        rows = [
            {
                "file": one.file,
                "line": one.line,
                "column": one.column,
                "where": one.key,
                "message": one.message,
            }
            for one in mistakes
        ]
        write_document("formats-check", {"files": files, "faults": rows}, args)
    else:
        from khotool.render.text import plural, visible

        lines = [str(one) for one in mistakes]
        lines.append(f"{plural(files, 'definition')} checked, {plural(len(mistakes), 'mistake')}")
        write_text("\n".join(map(visible, lines)) + "\n", args)
    return 2 if mistakes else 0
