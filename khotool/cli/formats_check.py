"""``khotool formats check``: validate definition files."""

from __future__ import annotations

import argparse
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
        help="folders of definitions (default: shipped ones)",
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check; 2 if a definition is wrong."""
    from khotool.abi.registry import Registry, builtin_formats, load_registry
    from khotool.abi.validate import check_folder

    faults = []
    files = 0
    for name in args.folder:
        if not Path(name).is_dir():
            raise UsageError(f"{name}: no such folder of definitions")
        number, found = check_folder(Path(name), load_registry())
        files += number
        faults += found
    if not args.folder:
        files, faults = check_folder(builtin_formats(), Registry([]))
    if args.json:
        from khotool.render.document import head

        rows = [
            {"file": f.source, "line": f.line, "where": f.where, "message": f.message}
            for f in faults
        ]
        write_json({**head("formats-check"), "files": files, "faults": rows}, args)
    else:
        lines = [f"{f.source}:{f.line}: {f.where}: {f.message}" for f in faults]
        lines.append(f"{files} definitions checked, {len(faults)} faults")
        write_text("\n".join(lines) + "\n", args)
    return 2 if faults else 0
