"""Every command explains itself."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from khotool.cli.commands import Command, available, load
from khotool.cli.main import main
from khotool.cli.parser import EPILOG, command_parser, top_parser

COMMANDS = available()


def parsers(command: Command) -> Iterator[argparse.ArgumentParser]:
    """The parser of a command and those of its actions."""
    stack: list[argparse.ArgumentParser] = [command_parser(command)]
    while stack:
        parser = stack.pop()
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                stack.extend(action.choices.values())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_command_says_what_it_does(command: Command) -> None:
    """A command has one line of help."""
    assert command.help[0].islower()
    assert not command.help.endswith(".")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_command_has_examples(command: Command) -> None:
    """Its help ends with examples of itself."""
    epilog = str(getattr(load(command), "EPILOG", ""))
    shown = re.findall(r"khotool ([a-z-]+)", epilog)

    assert "examples:" in epilog
    assert command.name in shown


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_examples_parse(command: Command) -> None:
    """Every example is accepted by the parser of its command."""
    epilog = str(getattr(load(command), "EPILOG", ""))
    for line in epilog.splitlines():
        if not re.match(r"\s+khotool [a-z]", line):
            continue
        text = re.split(r"\s{3,}|\s[|>]\s|\s&&\s", line.strip())[0]
        name, *words = shlex.split(text)[1:]
        found = next(item for item in COMMANDS if item.name == name)
        parser = command_parser(found)
        parser.parse(words)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_argument_is_explained(command: Command) -> None:
    """Each argument has help, or choices that say it."""
    for parser in parsers(command):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                assert all(item.help for item in action._choices_actions), parser.prog
                continue
            assert action.help or action.choices, f"{parser.prog}: {action.option_strings}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_of_the_command(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """``khotool COMMAND --help`` prints to stdout and ends with 0."""
    assert main([command.name, "--help"]) == 0

    out, err = capsys.readouterr()
    assert out.startswith(f"usage: khotool {command.name}")
    assert err == ""


def test_top_help_lists_every_command() -> None:
    """``khotool --help`` names each command, and its examples name real ones."""
    text = top_parser().format_help()
    named = set(re.findall(r"^  khotool ([a-z-]+)", EPILOG, re.M))

    assert all(re.search(rf"^  {command.name} ", text, re.M) for command in COMMANDS)
    assert named <= {command.name for command in COMMANDS}
