"""``khotool formats btf``: hold definitions against a kernel's own type information."""

from __future__ import annotations

import argparse

from khotool.cli.arguments import declare
from khotool.cli.options import (
    add_formats_option,
    add_limit_option,
    add_output_options,
    add_page_size_option,
)
from khotool.cli.output import write_document, write_text
from khotool.errors import InputError, UsageError

HELP = "compare the definitions of a kernel with its BTF"
ARGUMENTS = """
file FILE              vmlinux, or a BTF section such as /sys/kernel/btf/vmlinux; may be .xz, .gz or
                       .zst
--kernel RELEASE       compare with the ABI set of this release (default: the set that fits best)
"""
ARGUMENTS2 = """
--base FILE            BTF of the kernel, if FILE is that of a module (split BTF)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_page_size_option(parser)
    add_formats_option(parser)
    declare(parser, ARGUMENTS2)
    add_limit_option(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Compare; 1 if anything differs."""
    from khotool.abi.geometry import Geometry
    from khotool.abi.registry import load_registry
    from khotool.abi.releases import unknown_release
    from khotool.authoring.compare_btf import compare_set, nearest_set
    from khotool.authoring.vmlinux import read_btf

    registry = load_registry(args.formats)
    btf = read_btf(args.file, args.base)
    abi = (
        nearest_set(btf, registry, Geometry(args.page_size))
        if args.kernel is None
        else registry.set_for(args.kernel)
    )
    if abi is None:
        raise UsageError(unknown_release(args.kernel, registry.sets))
    compared, differences = compare_set(btf, abi, registry, Geometry(args.page_size))
    if args.kernel is None and compared <= len({d.struct for d in differences if not d.field}):
        why = "has hardly a struct of KHO; was it built with CONFIG_KEXEC_HANDOVER?"
        raise InputError(f"{args.file}: this kernel {why} --kernel RELEASE compares it anyway")
    if args.json:
        rows = [
            {"format": d.definition, "struct": d.struct, "field": d.field, "message": d.message}
            for d in differences
        ]
        write_document(
            "formats-btf", {"set": abi.id, "structs": compared, "differences": rows}, args
        )
    else:
        from khotool.render.text import plural

        lines = [
            f"{d.definition}  {d.struct}{'.' if d.field else ''}{d.field}  {d.message}"
            for d in differences
        ]
        guessed = "" if args.kernel else ", which fits best"
        lines.append(
            f"{plural(compared, 'struct')} of set {abi.id}{guessed}: "
            f"{plural(len(differences), 'difference')}"
        )
        write_text("\n".join(lines) + "\n", args)
    return 1 if differences else 0
