"""``khotool live``: the handover of the running host."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.dump import depth, document, lines, select
from khotool.cli.options import add_decoding_options, add_output_options, options_from, root
from khotool.cli.output import ProgressBar, note, write_json, write_lines, write_text
from khotool.errors import InputError, UsageError

if TYPE_CHECKING:
    from khotool.host.survey import Survey
    from khotool.model.image import Image

DIRECTIONS = ("in", "out")
"""Names of the roots of a running kernel, as debugfs has them."""
EPILOG = """\
examples:
  khotool live --why                  what this host lets khotool read, and what is missing
  sudo khotool live --booted && echo "this boot was a live update"
  sudo khotool live --summary         what it hands over, or was handed, in ten lines
  sudo khotool live --root out        the handover that is being prepared
  sudo khotool live '/LUO/sessions[vm-alpha]'
  sudo khotool live --json | jq .luo
  sudo khotool live --pack host.elf   the metadata as a small image, for every other command

The root and the entries come from /sys/kernel/debug/kho; sessions, files and the map of preserved
pages from memory: /proc/kcore, or /dev/mem where that is open. Nothing is written, no session is
touched, and /dev/liveupdate is not opened. The kernel goes on running meanwhile: what is read may
be older at the top than at the bottom.
"""
HOST = "/"
ARGUMENTS = """
path [PATH]            show only this part of the tree
what to show:
--why                  list what is needed to read the host, and what of it this host has
--booted               tell whether this boot was a live update; exit code 0 if it was
--summary              show about ten lines
--depth N              levels of the tree to show
--rows N               rows to list of each table
--dts                  print the root FDT, or the FDT at PATH, as device tree source
--pack FILE            write the metadata to a packed image instead of showing it
--anonymize            with --pack: replace names by hashes
"""
ARGUMENTS2 = """
reading the host:
--root in|out|ADDR     what the kernel received, what it will hand over, or the address of a root
--no-memory            read only debugfs, not memory
--scan                 search all memory for structures that nothing points to; slow
--debugfs DIR          the kho directory, if debugfs is not mounted at /sys/kernel/debug
--host DIR = /         root directory of the host as a container sees it (default: /)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = declare(parser, ARGUMENTS, depth=depth, rows=depth)
    add_output_options(parser, compact=True)
    group = declare(parser, ARGUMENTS2, root=root)
    add_decoding_options(group)
    parser.set_defaults(full=False, blobs=None, page_size=None, endian=None, base=None, scratch=[])


def run(args: argparse.Namespace) -> int:
    """Read the host and show what it hands over, or why it cannot be read."""
    refuse_contradictions(args)
    from khotool.host.files import Host
    from khotool.host.survey import survey
    from khotool.render.live import hints, live_document, why_lines

    found = survey(Host(Path(args.host)), args.debugfs, memory=not args.no_memory)
    if args.why:
        if args.json:
            write_json(live_document(found), args)
        else:
            write_lines(why_lines(found), args)
        return 0
    if args.booted:
        return booted(found, args)
    from khotool.cli.notes import strict_exit
    from khotool.host.live import open_live

    options = options_from(args)
    options.debugfs = None
    with ProgressBar(args) as report:
        image = open_live(found, options, scan=args.scan, progress=report)
    say_what_was_read(found, args)
    if args.pack is not None:
        return pack(image, args)
    show(image, found, args)
    for line in (*image.info.notes, *hints(image, found, scanned=args.scan)):
        note(args, line)
    return strict_exit(image, args)


def refuse_contradictions(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other or name a folder that does not exist."""
    if args.booted:
        refuse_beside_booted(args)
    if sum((args.summary, args.dts, args.json, args.pack is not None)) > 1:
        raise UsageError("--summary, --json, --dts and --pack exclude each other")
    if args.anonymize and args.pack is None:
        raise UsageError("--anonymize needs --pack")
    if args.no_memory and (args.scan or args.pack is not None or isinstance(args.root, int)):
        raise UsageError("--no-memory excludes --scan, --pack and --root ADDR, which read memory")
    if isinstance(args.root, str) and args.root not in DIRECTIONS:
        raise UsageError(f"--root {args.root}: expected in, out or a root's address")
    refuse_missing_folders(args)


def refuse_missing_folders(args: argparse.Namespace) -> None:
    """Refuse folders of a host that do not exist."""
    if not Path(args.host).is_dir():
        raise InputError(f"--host {args.host}: no such folder; it is the root of a host's files")
    if args.debugfs is not None and not Path(args.debugfs).is_dir():
        raise InputError(f"--debugfs {args.debugfs}: no such folder; name the kho folder itself")


def refuse_beside_booted(args: argparse.Namespace) -> None:
    """Refuse options that cannot be combined with ``--booted``."""
    if args.path or any((args.why, args.summary, args.dts, args.pack, args.root)):
        raise UsageError("--booted excludes PATH, --why, --summary, --dts, --pack and --root")


def booted(found: Survey, args: argparse.Namespace) -> int:
    """Say whether this boot was a live update, and what it took over.

    Returns:
        0 if it was, 1 if not.
    """
    from khotool.host.booted import boot_of
    from khotool.render.live import booted_json, booted_lines, live_document

    options = options_from(args)
    options.debugfs = None
    boot = boot_of(found, options, scan=args.scan)
    if args.json:
        write_json(live_document(found) | {"booted": booted_json(boot)}, args)
    else:
        write_lines(booted_lines(boot), args)
    return 0 if boot.live_update else 1


def show(image: Image, found: Survey, args: argparse.Namespace) -> None:
    """Show the image, or the part of it that PATH names."""
    node = select(image, args.path)
    if args.dts:
        from khotool.render.dts import dts_text

        write_text(dts_text(image, node), args)
    elif args.json:
        from khotool.render.live import live_document

        write_json(live_document(found, document(image, node, args)), args)
    else:
        write_lines(lines(image, node, args), args)


def say_what_was_read(found: Survey, args: argparse.Namespace) -> None:
    """One line about the sources, and one for each that is missing."""
    note(args, f"running kernel {found.release or 'unknown'}: read {' and '.join(found.sources)}")
    if found.state is not None:
        note(args, f"/sys/kernel/liveupdate/state says {found.state}")
    for check in found.missing():
        note(args, f"missing: {check.title}: {check.found}: {check.why}; {check.remedy}")


def pack(image: Image, args: argparse.Namespace) -> int:
    """Write the metadata as an image."""
    from khotool.cli.written import describe_written
    from khotool.encode.pack import pack_image
    from khotool.encode.segments import write_image
    from khotool.model.image import UNPLACED

    span = image.tree.span
    if span is None or span.address >= UNPLACED:
        raise InputError(
            f"{image.info.path}: the root's address is not known, so the image would have no root; "
            "copy debugfs instead: cp -r /sys/kernel/debug/kho kho-copy"
        )
    built = pack_image(image, anonymize=args.anonymize)
    write_image(args.pack, built)
    for line in built.lost:
        note(args, line)
    describe_written(args, args.pack, built)
    return 0
