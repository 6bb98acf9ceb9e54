"""``khotool explain``: one rule in full."""

from __future__ import annotations

import argparse

from khotool.cli.arguments import declare
from khotool.cli.options import add_output_options
from khotool.cli.output import write_document, write_lines

EPILOG = """\
examples:
  khotool explain MEM302
  khotool explain referenced-not-preserved
"""
ARGUMENTS = """
rule RULE              id or slug, as 'khotool rules' lists them
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    from khotool.check.catalogue import find_rule
    from khotool.render.rules import rule_json, rule_lines

    rule = find_rule(args.rule)
    if args.json:
        write_document("explain", rule_json(rule), args)
    else:
        write_lines(rule_lines(rule), args)
    return 0
