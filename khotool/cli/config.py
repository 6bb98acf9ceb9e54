"""``khotool config``: the settings that apply, and where they come from."""

from __future__ import annotations

import argparse
from pathlib import Path

from khotool.cli.options import add_output_options
from khotool.cli.output import write_document, write_lines

EPILOG = """\
examples:
  khotool config
  khotool config --json
  khotool schema config > khotool.schema.json      for editors that validate TOML

Settings come from khotool.toml or from [tool.khotool] of pyproject.toml, the nearest one from the
working directory upwards. Options on the command line override them:

  select = ["MEM", "LUO"]       ignore = ["MEM305"]        fail-on = "warning"
  kernels = ["7.2", "7.3"]      formats = ["./formats"]    color = "never"
  ascii = true                  pager = false              policy = "policy.toml"
  suppressions = ["known.toml"]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    from khotool.config.project import KEYS, find_configuration
    from khotool.render.lines import Line
    from khotool.render.text import visible

    found = find_configuration(Path.cwd())
    rows = [(key, found.values.get(key), found.origin(key)) for key in KEYS]
    if args.json:
        listed = [{"key": key, "value": value, "from": origin} for key, value, origin in rows]
        write_document("config", {"settings": listed}, args)
        return 0
    lines = []
    width = max(map(len, KEYS))
    for key, value, origin in rows:
        shown = "-" if value is None else text(value)
        line = Line(hang=" " * (width + 2)).add(f"{key:<{width}}  ", "key").add(visible(shown))
        lines.append(line.add(f"  {visible(origin)}", "dim"))
    write_lines(lines, args)
    return 0


def text(value: object) -> str:
    """A value as people write it, without quotes."""
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
