"""``khotool pack``: a small image that can be attached to a report."""

from __future__ import annotations

import argparse

from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import note, open_with_progress
from khotool.cli.written import describe_written, image_output

EPILOG = """\
examples:
  khotool pack vmcore -o small.elf                 metadata only: no guest memory leaves the host
  khotool pack vmcore -o small.elf --anonymize     and no names that users chose
  khotool pack vmcore -o whole.elf --payload       with memfd contents and reserved regions

The packed image dumps and checks like the original.
"""
ARGUMENTS = """
image IMAGE            capture to read
--payload              keep the payload too (guest memory!)
--anonymize            replace the names of sessions and regions by hashes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_output_options(parser, json="print a description of the new image as JSON")
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    output = image_output(args)
    image = open_with_progress(args.image, args)
    from khotool.check.rules.lists import after_list_ends
    from khotool.encode.pack import pack_image
    from khotool.encode.segments import write_image

    also = after_list_ends(image)
    built = pack_image(image, payload=args.payload, anonymize=args.anonymize, also=also)
    write_image(output, built)
    for line in built.lost:
        note(args, line)
    describe_written(args, output, built, "pack")
    return 0
