"""Entry point: find the command, run it, turn every outcome into an exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from khotool.errors import KhotoolError

# Before numpy is imported: no command multiplies matrices, and the threads take time to start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main(argv: Sequence[str] | None = None) -> int:
    """Run khotool.

    Args:
        argv: arguments after the program's name; None for those of the process.

    Returns:
        The exit code; see docs/reference/cli.md.
    """
    # Everything is imported inside, so that an early Ctrl-C is met by the handlers below.
    try:
        return _main(argv)
    except KeyboardInterrupt:
        _say("khotool: interrupted")
        _drop_output()
        return 130
    finally:
        if argv is None and "duckdb" not in sys.modules:
            # Skip the final collection as the process ends anyway, except with duckdb, which
            # complains about objects that are left.
            gc.freeze()


def _main(argv: Sequence[str] | None) -> int:
    from khotool.cli.streams import Stopped, Terminated, prepare
    from khotool.errors import KhotoolError

    if argv is None:
        prepare()
    try:
        code = _run(list(argv) if argv is not None else sys.argv[1:])
        sys.stdout.flush()
        return code
    except SystemExit as leave:
        # argparse leaves this way after --help.
        return _quiet_flush(leave.code if isinstance(leave.code, int) else 0)
    except Terminated as end:
        return _terminated(end.number)
    except BrokenPipeError:
        _drop_output()
        return 0
    except KhotoolError as error:
        return _failed(error)
    except Stopped as error:
        _fail(str(error))
        return 3
    except MemoryError:
        _fail("out of memory; lower --limit bytes=N, or ask for less with PATH or --summary")
        return 3
    except Exception as error:
        # Cleaning up in a library, argparse for one, can fail halfway through what was cut short.
        cause = error.__context__
        while cause is not None and not isinstance(cause, (KeyboardInterrupt, Terminated)):
            cause = cause.__context__
        if isinstance(cause, KeyboardInterrupt):
            raise cause from None
        return _bug(error) if cause is None else _terminated(cause.number)


def _run(words: list[str]) -> int:
    from khotool.cli.parser import command_parser, find_command, split, top_parser
    from khotool.errors import UsageError
    from khotool.limits import Limits

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
        raise UsageError(f"unknown option {before[0]}: put options after the command; see --help")
    if name == "help":
        if not rest:
            top.print_help()
            return 0
        command_parser(find_command(rest[0])).print_help()
        return 0
    command = find_command(name)
    parser = command_parser(command)
    from khotool.cli.commands import load
    from khotool.cli.settings import parse_with_settings
    from khotool.cli.standard_input import take_standard_input

    args = parse_with_settings(parser, command.name, rest)
    take_standard_input(args)
    run = load(command).run
    chosen = getattr(args, "limit", None)
    try:
        if isinstance(chosen, Limits) and (chosen.seconds or chosen.memory or chosen.written):
            from khotool.cli.budget import within

            with within(chosen):
                return run(args)
        return run(args)
    finally:
        _tell_problems(quiet=getattr(args, "quiet", False))


def _tell_problems(*, quiet: bool) -> None:
    """Warn of faulty plugins and definitions, and of files that changed; after all output."""
    lost = sys.modules.get("khotool.memory.lost")
    for line in lost.changes() if lost is not None else ():
        if not quiet:
            print(f"khotool: warning: {one_line(line)}", file=sys.stderr)
    plugins = sys.modules.get("khotool.plugins")
    if plugins is None:
        return
    for problem in plugins.take_problems():
        if not quiet:
            print(f"khotool: warning: {one_line(problem)}", file=sys.stderr)


def _quiet_flush(code: int) -> int:
    from khotool.errors import KhotoolError

    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return 0
    except KhotoolError as error:
        return _failed(error)
    return code


def _failed(error: KhotoolError) -> int:
    from khotool.cli.streams import StreamError

    for line in error.lines:
        _fail(line)
    if isinstance(error, StreamError):
        _drop_output()
    return error.exit_code


def _drop_output() -> None:
    from khotool.cli.streams import silence_stdout

    silence_stdout()


def _fail(message: str) -> None:
    """Print an error on one line of stderr."""
    _say(f"khotool: error: {one_line(message)}")


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def one_line(message: str) -> str:
    """The message with everything that is not printable escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)


def _terminated(number: int) -> int:
    _say("khotool: terminated")
    _drop_output()
    return 128 + number


def _bug(error: Exception) -> int:
    if os.environ.get("KHOTOOL_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
        return 4
    _fail(bug_line(error))
    return 4


def bug_line(error: Exception) -> str:
    """The message for an unexpected exception."""
    kind = type(error).__name__
    return (
        f"sorry, this is a bug in khotool ({kind}: {str(error)[:200]}); please report it to "
        f"{_issues()} with this line, the command and 'khotool --version'; "
        "KHOTOOL_DEBUG=1 shows where"
    )


def _issues() -> str:
    return project_url("Issues") or "the maintainers of your copy"


def project_url(name: str) -> str:
    """An address of ``[project.urls]`` of pyproject.toml; empty if there is none."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("khotool").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    known = dict(url.split(", ", 1) for url in urls if ", " in url)
    return str(known.get(name, ""))
