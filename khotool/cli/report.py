"""``khotool report``: one HTML page about an image."""

from __future__ import annotations

import argparse

from khotool.cli.arguments import declare
from khotool.cli.kernels import add_kernel_options, asked_kernels, known_memory
from khotool.cli.options import add_image_options, add_output_options
from khotool.cli.output import note, open_with_progress, write_text
from khotool.errors import UsageError

EPILOG = """\
examples:
  khotool report vmcore -o report.html
  khotool report vmcore --kernel 7.3 -o report.html      and what that kernel would do
  khotool report vmcore --kernel 7.1 --kernel next -o report.html       several, as a matrix

The page is complete in itself: it loads nothing, and can be mailed or attached.
"""
ARGUMENTS = """
image IMAGE            capture to read
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_kernel_options(parser.add_argument_group("verdicts"))
    add_output_options(parser, json=False)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    if args.output is None:
        raise UsageError("a report is a page for a browser: give -o report.html")
    image = open_with_progress(args.image, args)
    from khotool.check.kernels import verdict_document
    from khotool.check.kernels.policy import read_policy
    from khotool.check.run import check_image
    from khotool.render.report_html import report_page

    policy = read_policy(args.policy) if args.policy is not None else None
    kernels = asked_kernels(args, image.registry)
    verdicts = [verdict_document(image, kernel, policy, known_memory(args)) for kernel in kernels]
    write_text(report_page(image, check_image(image), verdicts), args)
    note(args, f"wrote {args.output}; open it in a browser")
    return 0
