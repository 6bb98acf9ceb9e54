"""``khotool formats new``: a first definition to fill in."""

from __future__ import annotations

import argparse
import re

from khotool.cli.arguments import declare
from khotool.cli.options import add_output_options
from khotool.cli.output import note, write_text
from khotool.errors import UsageError

HELP = "write the beginning of a definition"
KINDS = ("file", "flb", "entry", "structure")
"""Kinds that a record describes; the others follow one that exists."""
RECORD = """\
struct {name} {{
\tu32 version;     /* layout of what follows */
\tu32 flags;       /* reserved, 0 */
\tu64 state;       /* memory that holds the state */
\tu64 state_size;  /* length of that memory */
}} __packed;
"""
HEADING = """\
# Replace the members by those of the kernel's header, comments included, and size by its bytes.
# [struct.{name}.fields] says what a number means, where there is more to say than the comment.
# 'khotool formats check FILE' reports every mistake, 'khotool schema definition' helps an editor.
# If the kernel has the struct already: khotool formats import HEADER|VMLINUX STRUCT
"""
ARGUMENTS = """
id NAME                compatible string that the kernel matches, such as acme-nic-v1
--kind file|flb|entry|structure = file  kind of the definition (default: file)
--struct NAME          name of the record (default: from NAME)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_output_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    from khotool.abi.definition import Kind
    from khotool.abi.registry import load_registry
    from khotool.authoring.c_header import HeaderDrafter
    from khotool.render.draft import header_draft_text

    name = args.struct or struct_name(args.id)
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise UsageError(f"{name!r} is not the name of a struct in C; give one with --struct")
    if not args.id or not args.id.isprintable() or len(args.id) > 47:
        raise UsageError(f"{args.id!r}: a string has 1 to 47 printable characters")
    drafter = HeaderDrafter(RECORD.format(name=name), "example", load_registry([]))
    drafter.draft(name)
    text = header_draft_text(drafter, args.id, Kind(args.kind), "example")
    # The heading of a draft names its source; this one has none.
    body = text[text.index("\nid = ") + 1 :] if not text.startswith("id = ") else text
    write_text(HEADING.format(name=name) + body, args)
    if args.output not in (None, "-"):
        note(args, f"wrote {args.output}; khotool formats check {args.output}")
    return 0


def struct_name(identifier: str) -> str:
    """The record of a string, as kernels name theirs: ``acme-nic-v1`` has ``acme_nic_ser``."""
    plain = re.sub(r"[-_]?v\d+$", "", identifier)
    return re.sub(r"\W+", "_", plain, flags=re.ASCII).strip("_") + "_ser"
