"""Manual pages from the help of commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

SECTION = 1


def man_page(
    parser: argparse.ArgumentParser, version: str, others: Iterable[str] = ()
) -> Iterator[str]:
    """Lines of a page in the macros of man(7).

    Args:
        parser: of the command; sub-commands become sections of the page.
        others: pages to see also.
    """
    name = parser.prog.replace(" ", "-")
    about = (parser.description or "").strip().rstrip(".")
    yield f'.TH "{_text(name.upper())}" {SECTION} "" "khotool {version}" "User Commands"'
    yield ".SH NAME"
    yield f"{_text(name)} \\- {_text(about[:1].lower() + about[1:])}"
    yield ".SH SYNOPSIS"
    yield from _usage(parser)
    if about:
        yield ".SH DESCRIPTION"
        yield f"{_text(about)}."
    yield from _groups(parser, ".SH")
    yield from _actions(parser)
    if parser.epilog:
        yield ".SH NOTES"
        yield ".nf"
        yield from (_line(line) for line in parser.epilog.strip().splitlines())
        yield ".fi"
    pages = list(others)
    if pages:
        yield ".SH SEE ALSO"
        yield ", ".join(f"\\fB{_text(page)}\\fR({SECTION})" for page in pages)


def _usage(parser: argparse.ArgumentParser) -> Iterator[str]:
    words = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield f"\\fB{_text(parser.prog)}\\fR {_text(words.removeprefix(parser.prog).strip())}"


def _groups(parser: argparse.ArgumentParser, heading: str) -> Iterator[str]:
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help is not argparse.SUPPRESS
            and not isinstance(action, argparse._SubParsersAction)
        ]
        if not actions:
            continue
        yield f'{heading} "{_text((group.title or "").upper())}"'
        for action in actions:
            yield ".TP"
            yield f".B {_text(_names(action))}"
            yield _line(" ".join(_help(parser, action).split()))


def _actions(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        helps = {item.dest: item.help or "" for item in action._choices_actions}
        yield ".SH ACTIONS"
        for name, inner in action.choices.items():
            yield f'.SS "{_text(name)}"'
            yield from _usage(inner)
            yield ".PP"
            yield _line(helps.get(name, ""))
            yield from _groups(inner, ".SS")


def _names(action: argparse.Action) -> str:
    """Option strings with their value, or the name of a positional argument."""
    value = action.metavar or (
        "{" + ",".join(str(choice) for choice in action.choices) + "}" if action.choices else None
    )
    shown = value if isinstance(value, str) else action.dest.upper()
    if not action.option_strings:
        return shown
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {shown}"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _line(text: str) -> str:
    """A line of text; one that begins like a request gets an empty escape first."""
    return ("\\&" if text[:1] in (".", "'") else "") + _text(text)


def _text(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
