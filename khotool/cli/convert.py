"""``khotool convert``: the handover as a kernel of a different release would write it."""

from __future__ import annotations

import argparse

from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import ProgressBar, note, open_with_progress
from khotool.cli.written import add_memory_option, describe_written, image_output, memory_ranges

EPILOG = """\
examples:
  khotool convert linux-6.19.elf --to 7.3 -o as-7.3.elf
  khotool convert vmcore --to kho-v3 -o as-7.1.elf

What the other release cannot express is listed on stderr, and in 'lost' with --json.
"""
ARGUMENTS = """
image IMAGE            capture to read
--to ABI (required)    kernel release or root compatible, such as 7.3 or kho-v3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_memory_option(parser)
    add_output_options(parser, json="print a description of the new image as JSON")
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    output = image_output(args)
    image = open_with_progress(args.image, args)
    from khotool.encode.convert import convert_image
    from khotool.encode.segments import write_image

    with ProgressBar(args) as report:
        built = convert_image(image, args.to, report, memory_ranges(args))
        write_image(output, built)
    for line in built.lost:
        note(args, f"lost: {line}")
    describe_written(args, output, built, "convert")
    return 0
