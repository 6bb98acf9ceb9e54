"""``khotool encode``: an image from a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from khotool.cli.arguments import declare
from khotool.cli.options import add_formats_option, add_limit_option, add_output_options
from khotool.cli.output import ProgressBar, note, refuse_same_file
from khotool.cli.written import add_memory_option, describe_written, image_output, memory_ranges

EPILOG = """\
examples:
  khotool dump --json --full vmcore > model.json
  khotool encode model.json -o same.elf                 same addresses, bit for bit
  khotool encode model.json --mode fresh -o moved.elf   new addresses
  khotool encode model.json --mode fresh --memory 0x40000000+1G -o there.elf
  khotool encode manifest.toml -o synthetic.elf         from a manifest

A manifest describes a handover (sessions, files, regions); docs/reference/manifest.md explains
every key. A minimal one:

  abi = "7.3"
  [[session]]
  name = "vm"
  [[session.file]]
  token = 1
  size = "2M"
"""
ARGUMENTS = """
model MODEL            full dump (JSON) or manifest (TOML, JSON)
--mode preserve|fresh  keep the addresses of the model or allocate new ones (default: as the model
                       says)
--abi-set RELEASE      write the formats of this kernel release, such as 7.3
--blobs DIR            directory with the payload that dump --blobs wrote (default: as the model
                       says)
--contents DIR...      directory that a manifest may read contents from, besides its own
                       (repeatable)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_formats_option(parser)
    add_memory_option(parser)
    add_limit_option(parser)
    add_output_options(parser, json="a document about the image on stdout")


def run(args: argparse.Namespace) -> int:
    output = image_output(args)
    refuse_same_file(args, [args.model])
    from khotool.abi.registry import load_registry
    from khotool.encode.segments import write_image
    from khotool.manifest.making import Making
    from khotool.opening.models import build_model, read_model

    registry = load_registry(args.formats)
    making = Making.of_author(Path(args.model).parent, [Path(name) for name in args.contents])
    with ProgressBar(args) as report:
        built = build_model(
            read_model(args.model),
            registry,
            mode=args.mode,
            abi=args.abi_set,
            blobs=args.blobs,
            memory=memory_ranges(args),
            progress=report,
            making=making,
            short_rows=args.limit.short_rows,
        )
        write_image(output, built)
    for line in built.lost:
        note(args, f"not taken over: {line}")
    describe_written(args, output, built, "encode")
    return 0
