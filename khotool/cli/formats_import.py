"""``khotool formats import``: draft a definition from a kernel's types, or from a C header."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import add_limit_option, add_output_options
from khotool.cli.output import note, refuse_same_file, write_text
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.abi.registry import Registry

HELP = "draft a definition from structs of a kernel's BTF, or of a C header"
ARGUMENTS = """
file FILE              vmlinux, a BTF section (may be .xz, .gz or .zst), or a C header; not with
                       --btf
struct [STRUCT]...     structs to import, the record itself first; embedded ones are included
--btf FILE             the same as FILE, for use before or after the structs
--id ID = ""           id of the definition (default: name of the struct)
--kind KIND = structure  root, entry, node, file, flb, structure or boot (default: structure)
--formats DIR...       directory with definitions whose structs may be embedded (repeatable)
--base FILE            BTF of the kernel, if FILE is that of a module (split BTF)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_limit_option(parser)
    add_output_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    from khotool.abi.definition import Kind
    from khotool.abi.registry import load_registry

    if args.kind not in [str(kind) for kind in Kind]:
        raise UsageError(f"--kind {args.kind}: expected one of {', '.join(Kind)}")
    file, names = args.btf, [args.file, *args.struct]
    if file is None:
        file, names = names[0], names[1:]
    if not names:
        raise UsageError(f"{file}: name a struct to draft, such as luo_ser")
    refuse_same_file(args, [file])
    registry = load_registry(args.formats)
    if file.endswith((".h", ".c")):
        text, uses = _from_header(file, names, args, registry)
    else:
        text, uses = _from_btf(file, names, args, registry)
    write_text(text, args)
    for name, owner in sorted(uses.items()):
        note(args, f"struct {name} is defined by {owner}; holds names the struct of its elements")
    return 0


def _from_btf(
    file: str, names: list[str], args: argparse.Namespace, registry: Registry
) -> tuple[str, dict[str, str]]:
    """A draft, and the definitions of structs that it uses, by struct."""
    from khotool.abi.definition import Kind
    from khotool.authoring.draft import Drafter
    from khotool.authoring.vmlinux import open_vmlinux, read_btf
    from khotool.render.draft import draft_text, split_known, with_uses

    base = None if args.base is None else read_btf(args.base)
    with open_vmlinux(file) as kernel:
        drafter = Drafter(kernel.btf(base))
        release = kernel.release() if kernel.elf else None
    wanted = [drafter.draft(name).name for name in names]
    structs, uses = split_known(drafter.done.values(), wanted, registry)
    source = os.path.basename(file)
    text = draft_text(structs, args.id or wanted[0], Kind(args.kind), release, source)
    return with_uses(text, uses.values()), uses


def _from_header(
    file: str, names: list[str], args: argparse.Namespace, registry: Registry
) -> tuple[str, dict[str, str]]:
    """As ``_from_btf``."""
    from khotool.abi.definition import Kind
    from khotool.authoring.c_header import MAX_HEADER, HeaderDrafter
    from khotool.memory.regular import read_regular
    from khotool.render.draft import header_draft_text

    raw = read_regular(file, limit=MAX_HEADER, advice="name a header that exists")
    drafter = HeaderDrafter(raw.decode("utf-8", "replace"), os.path.basename(file), registry)
    for name in names:
        drafter.draft(name)
    # The content comes first, even if an earlier struct embeds it.
    drafter.done = {name: drafter.done[name] for name in dict.fromkeys([*names, *drafter.done])}
    source = os.path.basename(file)
    return header_draft_text(drafter, args.id or names[0], Kind(args.kind), source), drafter.uses
