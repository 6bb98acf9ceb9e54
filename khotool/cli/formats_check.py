"""``khotool formats check``: validate definition files."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from khotool.cli.options import add_output_options
from khotool.cli.output import write_json, write_text
from khotool.errors import UsageError

HELP = "validate definition files: file, line, reason"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument(
        "folder",
        metavar="DIR",
        nargs="*",
        help="folders of definitions, or single files (default: shipped ones and the user's)",
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check; 2 if a definition is wrong."""
    from khotool.abi.registry import Registry, builtin_formats, load_registry
    from khotool.abi.sources import user_folders
    from khotool.abi.validate import Fault, check_folder

    faults: list[Fault] = []
    files = 0
    if not args.folder:
        files, faults = check_folder(builtin_formats(), Registry([]))
    for name in args.folder or user_folders():
        if not Path(name).exists():
            raise UsageError(f"{name}: no such folder of definitions")
        number, found = check_folder(Path(name), load_registry())
        files += number
        folder = name if Path(name).is_dir() else os.path.dirname(name)
        faults += [replace(fault, source=os.path.join(folder, fault.source)) for fault in found]
    if args.json:
        from khotool.render.document import head

        rows = [
            {"file": f.source, "line": f.line, "where": f.where, "message": f.message}
            for f in faults
        ]
        write_json({**head("formats-check"), "files": files, "faults": rows}, args)
    else:
        from khotool.render.text import plural, visible

        lines = [
            f"{f.source}:{f.line}: {f'{f.where}: ' if f.where else ''}{f.message}" for f in faults
        ]
        lines.append(f"{plural(files, 'definition')} checked, {plural(len(faults), 'fault')}")
        write_text("\n".join(map(visible, lines)) + "\n", args)
    return 2 if faults else 0
