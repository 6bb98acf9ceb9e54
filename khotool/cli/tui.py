"""``khotool tui``: explore an image in the terminal."""

from __future__ import annotations

import argparse
import sys

from khotool.cli.options import add_image_options, options_from
from khotool.errors import UsageError

NAME = "tui"
HELP = "explore an image in the terminal"
SWITCH = 0.0005
"""Seconds a thread may keep the interpreter while a second one waits for it."""
EPILOG = """\
examples:
  khotool tui image.elf.xz
  khotool tui before.elf after.elf

Keys: 1-5 modes, g goto, / find, enter follow, backspace back, e next finding, ctrl+p palette,
? help. Keys and theme are set in ~/.config/khotool/config.toml.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="capture to open")
    parser.add_argument("other", nargs="?", metavar="OTHER", help="capture to compare with")
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the app.

    Raises:
        UsageError: there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("tui needs a terminal; dump, pages and hex write to a pipe")
    from khotool.tui.app import KhotoolApp

    # Keys are handled at once even while a worker keeps the interpreter busy.
    sys.setswitchinterval(SWITCH)
    app = KhotoolApp(args.image, args.other, options_from(args))
    return app.run() or 0
