"""Tables of arguments: every form, and what is no form."""

from __future__ import annotations

import argparse

import pytest

from khotool.cli.arguments import declare
from khotool.cli.parser import make_parser

TABLE = """
image IMAGE            capture to read
path [PATH] = /        a part of it
-n, --count N = 10     how many
--to ABI (required)    release
--select RULES...      only these,
                       separated by commas
--label NAME=REGEX...
                       an equals sign is a part of the value's name
--fail-on error|never  one of these
more:
--id ID = ""           empty unless given
-q, --quiet            no notes
options:
--full                 all
"""


def parsed(*words: str) -> argparse.Namespace:
    parser = make_parser("test", "")
    declare(parser, TABLE, count=int)
    return parser.parse(list(words))


def test_every_form() -> None:
    """Values, defaults, lists, choices and flags are what their row says."""
    least = parsed("a", "--to", "7.3")
    assert (least.image, least.path, least.count, least.to) == ("a", "/", 10, "7.3")
    assert (least.select, least.label, least.fail_on, least.id) == ([], [], None, "")
    assert not least.quiet
    assert not least.full
    most = parsed("a", "b", "-n", "2", "--to=x", "--label", "h=.*", "--select=m", "-q", "--full")
    assert (most.path, most.count, most.label, most.select) == ("b", 2, ["h=.*"], ["m"])
    assert most.quiet
    assert most.full


def test_help_and_groups() -> None:
    """Help goes on in indented rows; a heading begins a group, ``options:`` goes back."""
    parser = make_parser("test", "")
    last = declare(parser, TABLE)
    assert last is parser
    text = " ".join(parser.format_help().split())
    assert "--select RULES only these, separated by commas" in text
    assert "--label NAME=REGEX an equals sign" in text
    assert text.index("--full all") < text.index("more:") < text.index("empty unless")


def test_a_row_of_no_form() -> None:
    """A mistake in a table is found by whoever runs the command first."""
    with pytest.raises(AssertionError, match="--n N M"):
        declare(make_parser("test", ""), "--n N M  two values")
