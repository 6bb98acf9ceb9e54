"""``khotool formats import``: draft a definition from a kernel's type information."""

from __future__ import annotations

import argparse
import os

from khotool.cli.options import add_output_options
from khotool.cli.output import note, refuse_same_file, write_text
from khotool.errors import UsageError

HELP = "draft a definition from structs of a kernel's BTF"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="vmlinux, or a BTF section; may be .xz, .gz or .zst; left out with --btf",
    )
    parser.add_argument(
        "struct",
        metavar="STRUCT",
        nargs="*",
        help="structs, the content first; what they embed comes with them",
    )
    parser.add_argument("--btf", metavar="FILE", help="FILE, in front of or behind the structs")
    parser.add_argument(
        "--id", metavar="ID", default="", help="id of the definition (default: name of the struct)"
    )
    parser.add_argument(
        "--kind",
        metavar="KIND",
        default="structure",
        help="root, entry, node, file, flb, structure or boot (structure)",
    )
    parser.add_argument(
        "--formats",
        metavar="DIR",
        action="append",
        default=[],
        help="further definitions whose structs may be embedded (repeat)",
    )
    add_output_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    """Draft."""
    from khotool.abi.definition import Kind
    from khotool.abi.registry import load_registry
    from khotool.authoring.draft import Drafter
    from khotool.authoring.vmlinux import open_vmlinux
    from khotool.render.draft import draft_text, split_known, with_uses

    if args.kind not in [str(kind) for kind in Kind]:
        raise UsageError(f"--kind {args.kind}: expected one of {', '.join(Kind)}")
    file, names = args.btf, [args.file, *args.struct]
    if file is None:
        file, names = names[0], names[1:]
    if not names:
        raise UsageError(f"{file}: name a struct to draft, such as luo_ser")
    refuse_same_file(args, [file])
    registry = load_registry(args.formats)
    with open_vmlinux(file) as kernel:
        drafter = Drafter(kernel.btf())
        release = kernel.release() if kernel.elf else None
    wanted = [drafter.draft(name).name for name in names]
    structs, uses = split_known(drafter.done.values(), wanted, registry)
    identifier = args.id or wanted[0]
    source = os.path.basename(file)
    text = draft_text(structs, identifier, Kind(args.kind), release, source)
    write_text(with_uses(text, uses.values()), args)
    for name, owner in sorted(uses.items()):
        note(args, f"struct {name} is taken from {owner}; holds says what its array is made of")
    return 0
