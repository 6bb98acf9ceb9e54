"""Entry point: find the command, run it, turn every outcome into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from khotool.cli.parser import arguments, command_parser, find_command, split, top_parser
from khotool.errors import KhotoolError, UsageError

# Before numpy is imported: no command multiplies matrices, and the threads take time to start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ISSUES = "the project's issue tracker"


def main(argv: Sequence[str] | None = None) -> int:
    """Run khotool.

    Args:
        argv: arguments behind the program's name; None for those of the process.

    Returns:
        The exit code; see docs/reference/cli.md.
    """
    words = list(argv) if argv is not None else arguments()
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except SystemExit as leave:
        # argparse leaves this way behind --help.
        return _quiet_flush(leave.code if isinstance(leave.code, int) else 0)
    except KeyboardInterrupt:
        print("khotool: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return _closed_pipe()
    except KhotoolError as error:
        for line in error.lines:
            _fail(line)
        return error.exit_code
    except MemoryError:
        _fail("out of memory; lower --limit bytes=N, or ask for less with PATH or --summary")
        return 3
    except Exception as error:
        return _bug(error)


def _run(words: list[str]) -> int:
    before, name, rest = split(words)
    top = top_parser()
    if name is None or before:
        if any(word in ("-h", "--help") for word in before) or not words:
            top.print_help()
            return 0 if words else 2
        if "--version" in before:
            from khotool.version import version

            print(f"khotool {version()}")
            return 0
        raise UsageError(f"unknown flag {before[0]}: flags come behind the command; see --help")
    if name == "help":
        if not rest:
            top.print_help()
            return 0
        command_parser(find_command(rest[0])).print_help()
        return 0
    command = find_command(name)
    parser = command_parser(command)
    args = parser.parse_intermixed_args(rest) if _plain(parser) else parser.parse_args(rest)
    from khotool.cli.commands import load

    try:
        return load(command).run(args)
    finally:
        _tell_problems(quiet=getattr(args, "quiet", False))


def _tell_problems(*, quiet: bool) -> None:
    """What is wrong with installed packages and the user's folders, behind all other output."""
    plugins = sys.modules.get("khotool.plugins")
    if plugins is None:
        return
    for problem in plugins.take_problems():
        if not quiet:
            print(f"khotool: warning: {one_line(problem)}", file=sys.stderr)


def _plain(parser: object) -> bool:
    """True if flags may stand between positional arguments: not with sub-commands."""
    import argparse

    actions = getattr(parser, "_actions", [])
    return not any(
        isinstance(action, argparse._SubParsersAction)
        or action.nargs in (argparse.REMAINDER, argparse.PARSER)
        for action in actions
    )


def _quiet_flush(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed_pipe()
    return code


def _closed_pipe() -> int:
    """Keep the interpreter from complaining about the closed stdout as it leaves."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    return 0


def _fail(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    print(f"khotool: error: {one_line(message)}", file=sys.stderr)


def one_line(message: str) -> str:
    """The message with everything that is not printable escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)


def _bug(error: Exception) -> int:
    if os.environ.get("KHOTOOL_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
        return 4
    kind = type(error).__name__
    _fail(
        f"sorry, this is a bug in khotool ({kind}: {str(error)[:200]}); please report it to "
        f"{ISSUES} with this line, the command and 'khotool --version'; KHOTOOL_DEBUG=1 shows where"
    )
    return 4
