"""``khotool explain``: one rule in full."""

from __future__ import annotations

import argparse

from khotool.cli.options import add_output_options
from khotool.cli.output import write_document, write_lines

EPILOG = """\
examples:
  khotool explain MEM302
  khotool explain referenced-not-preserved
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument("rule", metavar="RULE", help="id or slug, as 'khotool rules' lists them")
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Show what the rule checks, why, an example, what to do."""
    from khotool.check.catalogue import find_rule
    from khotool.render.lines import Line

    rule = find_rule(args.rule)
    if args.json:
        from khotool.cli.rules import rule_json

        write_document("explain", rule_json(rule), args)
        return 0
    lines = [Line().add(f"{rule.id} {rule.slug}", "name").add(f"  {rule.severity}", "dim")]
    rows = (("what", rule.what), ("why", rule.why), ("example", rule.example), ("do", rule.do))
    for label, text in rows:
        lines.append(Line(hang=" " * 9).add(f"{label:<9}", "label").add(text))
    write_lines(lines, args)
    return 0
