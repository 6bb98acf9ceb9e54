"""``khotool rules``: the rule catalogue."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from khotool.cli.options import add_output_options
from khotool.cli.output import write_document, write_lines

if TYPE_CHECKING:
    from khotool.check.catalogue import Rule

EPILOG = """\
examples:
  khotool rules
  khotool rules --json | jq '.rules[].id'
  khotool explain MEM302
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare flags."""
    add_output_options(parser)


def rule_json(rule: Rule) -> dict[str, str]:
    """One rule."""
    return {
        "id": rule.id,
        "slug": rule.slug,
        "severity": str(rule.severity),
        "what": rule.what,
        "why": rule.why,
        "example": rule.example,
        "do": rule.do,
    }


def run(args: argparse.Namespace) -> int:
    """List the rules by family."""
    from khotool.check.catalogue import FAMILIES, rules
    from khotool.render.lines import Line

    if args.json:
        rows = [rule_json(rule) for rule in rules().values()]
        write_document("rules", {"rules": rows}, args)
        return 0
    lines = []
    for family, title in FAMILIES.items():
        lines.append(Line().add(f"{family}  {title}", "name"))
        for rule in rules().values():
            if rule.id.startswith(family):
                line = Line(lead="  ", hang=" " * 46).add(f"{rule.id}  ", "label")
                line.add(f"{rule.severity:<8} ", "dim").add(f"{rule.slug:<27} ")
                lines.append(line.add(rule.what, "dim"))
    write_lines(lines, args)
    return 0
