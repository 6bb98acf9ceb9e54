"""``khotool rules``: the rule catalogue."""

from __future__ import annotations

import argparse

from khotool.cli.options import add_output_options
from khotool.cli.output import write_document, write_lines

EPILOG = """\
examples:
  khotool rules
  khotool rules --json | jq '.rules[].id'
  khotool explain MEM302
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    from khotool.check.catalogue import rules
    from khotool.render.rules import rule_json, rules_lines

    if args.json:
        write_document("rules", {"rules": [rule_json(rule) for rule in rules().values()]}, args)
    else:
        write_lines(rules_lines(), args)
    return 0
