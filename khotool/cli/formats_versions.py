"""``khotool formats versions``: the strings that a kernel accepts, without booting it."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from khotool.cli.arguments import declare
from khotool.cli.options import add_formats_option, add_limit_option, add_output_options
from khotool.cli.output import note, write_document, write_text
from khotool.errors import UsageError

HELP = "list the strings that a kernel can take over"
ARGUMENTS = """
file [VMLINUX]         the kernel's ELF file; may be .xz, .gz or .zst
--kernel RELEASE       release of FILE if it does not tell; without FILE, what is known of it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_formats_option(parser)
    add_limit_option(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    from khotool.abi.registry import load_registry
    from khotool.authoring.versions import versions_of
    from khotool.authoring.vmlinux import VERSIONS, open_vmlinux
    from khotool.render.text import visible

    if args.file is None and args.kernel is None:
        raise UsageError("give the VMLINUX of a kernel, or --kernel RELEASE")
    registry = load_registry(args.formats)
    with ExitStack() as stack:
        kernel = stack.enter_context(open_vmlinux(args.file)) if args.file is not None else None
        found = versions_of(kernel, args.kernel, registry)
        del kernel
    if args.json:
        write_document(
            "formats-versions",
            {
                "file": args.file,
                "release": found.release,
                "source": "khotool" if found.abi else "section",
                "set": found.abi or None,
                "strings": [
                    {"string": text, "formats": list(formats)} for text, formats in found.strings
                ],
            },
            args,
        )
        return 0
    if found.abi:
        missing = f"the kernel has no section {VERSIONS}: " if args.file is not None else ""
        note(
            args,
            f"{missing}these are the strings of set {found.abi}, as khotool knows release "
            f"{found.release}",
        )
    shown = [(visible(text), ", ".join(formats)) for text, formats in found.strings]
    width = max((len(text) for text, _ in shown), default=0)
    lines = [f"{text.ljust(width)}  {formats or 'no definition'}" for text, formats in shown]
    write_text("\n".join(lines or ["no strings"]) + "\n", args)
    return 0
