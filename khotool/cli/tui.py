"""``khotool tui``: explore an image in the terminal."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import add_image_options, options_from
from khotool.cli.output import note
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.limits import OpenOptions

SWITCH = 0.0005
"""Seconds that a thread may hold the interpreter while another one waits for it."""
LOOPBACK = "127.0.0.1"
EPILOG = """\
examples:
  khotool tui image.elf.xz
  khotool tui before.elf after.elf
  khotool tui image.elf.xz --serve 8000          then open http://127.0.0.1:8000

Keys: 1-7 modes, g goto, / find, enter follow, backspace back, e next finding, ctrl+p palette,
? help. Keys and theme are set in ~/.config/khotool/config.toml.
"""
ARGUMENTS = """
image [IMAGE]          capture to open
other [OTHER]          capture to compare with
--serve [HOST:]PORT    show it in a browser; HOST is this machine alone (127.0.0.1) unless given
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS, serve=address)
    add_image_options(parser)


def address(text: str) -> tuple[str, int]:
    """``PORT`` or ``HOST:PORT``; a host of colons is in brackets."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r}: expected [HOST:]PORT such as 8000")
    return host.strip("[]") or LOOPBACK, int(port)


def flags(text: str) -> OpenOptions:
    """Options of the flags of ``add_image_options`` in one string."""
    parser = argparse.ArgumentParser(prog="", add_help=False, exit_on_error=False)
    add_image_options(parser)
    try:
        found, left = parser.parse_known_args(shlex.split(text))
    except (argparse.ArgumentError, ValueError) as error:
        raise UsageError(str(error)) from None
    if left:
        raise UsageError(f"unknown option {left[0]!r}")
    return options_from(found)


def run(args: argparse.Namespace) -> int:
    if args.serve is not None:
        return _serve(args)
    # The server starts the program with a driver that talks to the browser.
    served = "TEXTUAL_DRIVER" in os.environ
    if not served and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("tui needs a terminal; dump, pages and hex write to a pipe")
    from khotool.tui.app import KhotoolApp

    # Keep keys responsive while a worker thread is busy.
    sys.setswitchinterval(SWITCH)
    app = KhotoolApp(args.image, args.other, options_from(args), parse=flags, fixed=served)
    return app.run() or 0


def _serve(args: argparse.Namespace) -> int:
    """Serve the program to browsers: a process for each, all with the same images."""
    try:
        from textual_serve.server import Server
    except ImportError:
        raise UsageError("--serve needs textual-serve: pip install 'khotool[serve]'") from None
    from khotool.tui.commands import flags_of

    host, port = args.serve
    images = [os.path.abspath(name) for name in (args.image, args.other) if name is not None]
    if not images:
        raise UsageError("--serve needs an IMAGE: a browser cannot choose files of this machine")
    words = [sys.executable, "-m", "khotool", "tui", *images, *flags_of(options_from(args))]
    if host not in (LOOPBACK, "::1", "localhost"):
        note(args, f"anyone who can reach {host}:{port} can read the image; there is no password")
    Server(shlex.join(words), host, port, title="khotool").serve()
    return 0
