"""``khotool extract``: the bytes that were handed over."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import ProgressBar, note, print_json, refuse_same_file
from khotool.errors import InputError, KhotoolError, UsageError

if TYPE_CHECKING:
    from khotool.extract.folder import Folder
    from khotool.extract.plan import Plan
    from khotool.extract.sparse import Sink
    from khotool.extract.write import Tell, Written
    from khotool.limits import Progress
    from khotool.model.image import Image, Node

EPILOG = """\
examples:
  khotool extract vmcore '/LUO/sessions[vm-alpha]/files[0x1]' -o guest.ram
  khotool extract vmcore '/memblock/regions[trace]' -o trace.bin
  khotool extract vmcore /memblock -o - | fdtdump -
  khotool extract vmcore '/LUO/sessions[vm-alpha]' --all -o DIR
  khotool extract vmcore '/LUO/sessions[vm-alpha]/files[0x1]/data' --raw -o record.bin

Holes of a memfd stay holes. Bytes that were not captured are an error that lists them, unless
--fill tells what to write instead.
"""
SHOWN = 20
"""Notes about files of a folder that are written to stderr."""


class VerifyError(KhotoolError):
    """The SHA-256 of what was extracted is not the one the user gave."""

    exit_code = 1


def sha256(text: str) -> str:
    """A SHA-256 in hexadecimal."""
    text = text.lower().removeprefix("sha256:")
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected 64 hexadecimal digits")
    return text


ARGUMENTS = """
image IMAGE            capture, packed image or model to read
path [PATH] = /        what to extract, a path as dump prints it
--all                  extract all payload below PATH into a directory
--raw                  extract the bytes of the record itself, not its payload
--fill zero|pattern    what to write for bytes that were not captured
--verify SHA256        exit with 1 and write nothing if the contents do not match
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS, verify=sha256)
    add_output_options(parser, json="print a description of what was written as JSON")
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    if args.output is None:
        raise UsageError("give -o FILE, or -o - for standard output")
    if args.json and args.output == "-":
        raise UsageError("--json and -o - both write to standard output; name a file with -o")
    if args.all and (args.raw or args.verify or args.output == "-"):
        raise UsageError("--all excludes --raw, --verify and -o -: it writes a folder")
    refuse_same_file(args, [args.image])
    from khotool.cli.options import options_from
    from khotool.extract.select import payload_plan, raw_plan
    from khotool.handlers import payload_of
    from khotool.model.lookup import find_node
    from khotool.opening.load import load_image

    with ProgressBar(args) as report:
        image = load_image(args.image, options_from(args), report)
    node = find_node(image, args.path)
    if args.all:
        return _write_all(image, node, args)
    if args.raw:
        plan = raw_plan(image, node)
    else:
        plan = payload_of(image, node) or payload_plan(image, node)
    for text in plan.notes:
        note(args, f"note: {plan.path}: {text}")
    with ProgressBar(args) as report:
        done = _write_file(image, plan, args, _teller(report, plan.size))
    _describe(args, args.output, done)
    _print_document(args, done, plan.notes)
    return 0


def _teller(report: Progress | None, size: int) -> Tell | None:
    if report is None:
        return None
    return lambda at: report("Extracting", at, size)


def _write_file(image: Image, plan: Plan, args: argparse.Namespace, tell: Tell | None) -> Written:
    from khotool.extract.sparse import SparseFile, Stream
    from khotool.memory.atomic import replacing

    if args.output == "-":
        sys.stdout.flush()
        try:
            handle = sys.stdout.fileno()
        except (OSError, ValueError) as error:
            raise KhotoolError("standard output is not open; name a file with -o") from error
        return _verified(image, plan, Stream(handle), args, tell)
    if os.path.isdir(args.output):
        raise UsageError(f"-o {args.output}: this is a folder; name a file in it, or give --all")
    with replacing(args.output) as file:
        return _verified(image, plan, SparseFile(file.fileno()), args, tell)


def _verified(
    image: Image, plan: Plan, sink: Sink, args: argparse.Namespace, tell: Tell | None
) -> Written:
    from khotool.extract.sparse import Hashing
    from khotool.extract.write import write_plan

    if args.verify is None:
        return write_plan(plan, image.space, sink, args.fill, tell)
    import hashlib

    hashing = Hashing(sink, hashlib.sha256())
    done = write_plan(plan, image.space, hashing, args.fill, tell)
    found = hashing.hexdigest()
    if found is None:
        raise InputError(f"{plan.path}: its holes are too large to hash; leave out --verify")
    if found != args.verify:
        raise VerifyError(f"{plan.path}: SHA-256 is {found}, expected {args.verify}")
    return done


def _write_all(image: Image, node: Node, args: argparse.Namespace) -> int:
    from khotool.extract.folder import write_folder
    from khotool.handlers import payload_of

    with ProgressBar(args) as report:
        result = write_folder(
            image, node, Path(args.output), args.fill, report, payload_of, lambda one: one.note
        )
    _say(args, [f"note: {text}" for text in result.notes])
    files = [row for row in result.manifest["files"] if "file" in row]
    _describe(args, f"{args.output}: {len(files)} files", result.total)
    _print_document(args, result.total, [*result.notes, *result.failed])
    return _failed(args, result)


def _print_document(args: argparse.Namespace, done: Written, notes: Iterable[str]) -> None:
    if not args.json:
        return
    from khotool.document.dump import head

    document = {
        **head("extract"),
        "output": args.output,
        "path": args.path,
        "bytes": done.size,
        "data": done.data,
        "holes": done.holes,
        "missing": done.missing,
        "notes": list(notes),
    }
    print_json(document, args)


def _failed(args: argparse.Namespace, result: Folder) -> int:
    if not result.failed:
        return 0
    _say(args, [f"not written: {text}" for text in result.failed])
    raise InputError(
        f"{len(result.failed)} of {len(result.manifest['files'])} files have missing bytes and "
        "were not written; manifest.json lists them, --fill zero writes them all the same"
    )


def _say(args: argparse.Namespace, lines: list[str]) -> None:
    for text in lines[:SHOWN]:
        note(args, text)
    if len(lines) > SHOWN:
        note(args, f"and {len(lines) - SHOWN} more notes; manifest.json has them all")


def _describe(args: argparse.Namespace, where: str, done: Written) -> None:
    from khotool.extract.write import ranges_text

    where = "standard output" if where == "-" else where
    parts = f"{done.size} bytes, {done.data} data, {done.holes} holes, {done.missing} missing"
    note(args, f"wrote {where}: {parts}")
    if done.ranges:
        filled = "a pattern" if args.fill == "pattern" else "zeros"
        note(args, f"note: not captured, {filled} instead: {ranges_text(done.ranges)}")
