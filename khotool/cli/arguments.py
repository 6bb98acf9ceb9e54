"""How commands declare their options: the forms that most of them have."""

from __future__ import annotations

import argparse
from typing import Any


def flag(parser: argparse._ActionsContainer, *names: str, help: str) -> None:
    """Add an option without a value."""
    parser.add_argument(*names, action="store_true", help=help)


def option(
    parser: argparse._ActionsContainer, name: str, metavar: str, help: str, **settings: Any
) -> None:
    """Add an option with a value; the settings are those of ``add_argument``."""
    parser.add_argument(name, metavar=metavar, help=help, **settings)


def repeatable(
    parser: argparse._ActionsContainer, name: str, metavar: str, help: str, **settings: Any
) -> None:
    """Add an option that may be given several times; its value is a list."""
    option(parser, name, metavar, help, action="append", default=[], **settings)
