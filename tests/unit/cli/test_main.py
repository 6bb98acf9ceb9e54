"""Exit codes and what goes to stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from khotool.cli import commands, dump
from khotool.cli.main import main
from khotool.cli.parser import command_parser
from khotool.cli.streams import Terminated
from khotool.errors import InputError

IMAGE = str(Path(__file__).parents[3] / "fixtures/real/linux-7.3.4/image.elf.xz")


def test_help_imports_nothing_heavy() -> None:
    """``--help`` lists every command without importing numpy, construct or rich."""
    code = (
        "import sys; from khotool.cli.main import main; main(['--help']); "
        "bad = {'numpy', 'construct', 'rich', 'textual', 'hexdump'} & set(sys.modules); "
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in commands.available():
        assert f"\n  {command.name} " in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` is one line."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("khotool ")


def test_module_runs() -> None:
    """``python -m khotool`` is the same program."""
    done = subprocess.run(
        [sys.executable, "-m", "khotool", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("khotool ")


@pytest.mark.parametrize("words", [[], ["nothing"], ["--nothing"], ["dump"], ["dump", "-x", "y"]])
def test_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is exit code 2, one line on stderr, nothing but help on stdout."""
    assert main(words) == 2
    err = capsys.readouterr().err
    if words:
        assert err.startswith("khotool: error: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize("command", commands.available(), ids=lambda c: c.name)
def test_every_command_has_help(
    command: commands.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command explains itself."""
    assert main([command.name, "--help"]) == 0
    assert f"usage: khotool {command.name}" in capsys.readouterr().out
    assert command_parser(command).description


def raising(error: BaseException) -> object:
    def run(_: object) -> int:
        raise error

    return run


@pytest.mark.parametrize(("cut_short", "code"), [(KeyboardInterrupt(), 130), (Terminated(15), 143)])
def test_a_failed_clean_up_hides_no_signal(
    cut_short: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a library raises while it cleans up after a signal is no bug of khotool's."""

    def run(_: object) -> int:
        try:
            raise cut_short
        finally:
            raise AttributeError("half done")

    monkeypatch.setattr(dump, "run", run)
    assert main(["dump", "x"]) == code
    assert capsys.readouterr().err in ("khotool: interrupted\n", "khotool: terminated\n")


def test_bug_is_an_apology(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unexpected exception is exit code 4 and one line with its class."""
    monkeypatch.delenv("KHOTOOL_DEBUG", raising=False)
    monkeypatch.setattr(dump, "run", raising(ValueError("odd\nthing")))
    assert main(["dump", "x"]) == 4
    err = capsys.readouterr().err
    assert "ValueError" in err
    assert "report" in err
    assert err.count("\n") == 1
    monkeypatch.setenv("KHOTOOL_DEBUG", "1")
    assert main(["dump", "x"]) == 4
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_and_closed_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is 130."""
    monkeypatch.setattr(dump, "run", raising(KeyboardInterrupt()))
    assert main(["dump", "x"]) == 130
    assert capsys.readouterr().err == "khotool: interrupted\n"


def test_error_line_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that an image or a path holds breaks the line or reaches the terminal raw."""
    monkeypatch.setattr(dump, "run", raising(InputError("a\nb\x1b[31m\udcff")))
    assert main(["dump", "x"]) == 3
    assert capsys.readouterr().err == "khotool: error: a\\nb\\x1b[31m\\udcff\n"


def test_closed_pipe_is_quiet() -> None:
    """A reader that leaves early is no error and leaves no noise."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "khotool", "dump", IMAGE],
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode == 0
