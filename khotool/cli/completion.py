"""``khotool completion``: a script that completes commands and flags in a shell."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from khotool.cli.commands import available
from khotool.cli.parser import command_parser

NAME = "completion"
HELP = "print a completion script for a shell"
EPILOG = """\
examples:
  eval "$(khotool completion bash)"                                        in ~/.bashrc
  eval "$(khotool completion zsh)"                                         in ~/.zshrc
  khotool completion fish > ~/.config/fish/completions/khotool.fish
"""


@dataclass(frozen=True, slots=True)
class Flags:
    """Words that may follow a command.

    Args:
        name: of the command.
        help: one line.
        flags: long and short flags with their help.
        choices: values by flag, where they are fixed.
        words: actions of a command that has some.
    """

    name: str
    help: str
    flags: dict[str, str]
    choices: dict[str, list[str]]
    words: dict[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from khotool.cli.output import write_text

    commands = [flags_of(command.name) for command in available()]
    write_text({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](commands), args)
    return 0


def flags_of(name: str) -> Flags:
    """Flags of a command, from its parser."""
    command = next(command for command in available() if command.name == name)
    flags: dict[str, str] = {}
    choices: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    stack: list[argparse.ArgumentParser] = [command_parser(command)]
    while stack:
        for action in stack.pop()._actions:
            values = [str(value) for value in action.choices or ()]
            if isinstance(action, argparse._SubParsersAction):
                helps = {item.dest: item.help or "" for item in action._choices_actions}
                words.update({word: helps.get(word, "") for word in values})
                stack.extend(action.choices.values())
            elif not action.option_strings:
                words.update(dict.fromkeys(values, ""))
            for option in action.option_strings:
                flags.setdefault(option, action.help or "")
                if values:
                    choices[option] = values
    return Flags(name, command.help, flags, choices, words)


def bash(commands: list[Flags]) -> str:
    """Script for bash."""
    names = " ".join(command.name for command in commands)
    cases = []
    values: dict[str, str] = {}
    for command in commands:
        words = " ".join([*command.words, *command.flags])
        cases.append(f'    {command.name}) words="{words}" ;;')
        values.update({flag: " ".join(found) for flag, found in command.choices.items()})
    given = [
        f'    {flag}) COMPREPLY=($(compgen -W "{found}" -- "$word")); return ;;'
        for flag, found in sorted(values.items())
    ]
    return "\n".join(
        [
            "_khotool() {",
            '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words',
            '  if [ "$COMP_CWORD" -eq 1 ]; then',
            f'    COMPREPLY=($(compgen -W "{names} --help --version" -- "$word")); return',
            "  fi",
            '  case "$before" in',
            *given,
            "  esac",
            '  case "${COMP_WORDS[1]}" in',
            *cases,
            "  esac",
            '  case "$word" in',
            '    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;',
            '    *) COMPREPLY=($(compgen -W "${words//-[^ ]*/}" -- "$word")',
            '                  $(compgen -f -- "$word")) ;;',
            "  esac",
            "}",
            "complete -o filenames -F _khotool khotool",
        ]
    )


def zsh(commands: list[Flags]) -> str:
    """Script for zsh."""
    names = " ".join(f"'{c.name}:{_zsh(c.help)}'" for c in commands)
    cases = []
    for command in commands:
        given = [f"'{word}:{_zsh(text)}'" for word, text in command.words.items()]
        flags = []
        for flag, text in command.flags.items():
            found = command.choices.get(flag)
            value = f":value:({' '.join(found)})" if found else ""
            flags.append(f"'*{flag}[{_zsh(text)}]{value}'")
        first = f"'1: :(({' '.join(w.strip(chr(39)) for w in given)}))' " if given else ""
        cases.append(f"    {command.name}) _arguments {first}{' '.join(flags)} '*:file:_files' ;;")
    return "\n".join(
        [
            "#compdef khotool",
            "_khotool() {",
            "  if (( CURRENT == 2 )); then",
            f"    local -a commands=({names})",
            "    _describe command commands; return",
            "  fi",
            "  local name=$words[2]",
            "  shift words; (( CURRENT-- ))",
            '  case "$name" in',
            *cases,
            "  esac",
            "}",
            'if [ "$funcstack[1]" = _khotool ]; then _khotool; else compdef _khotool khotool; fi',
        ]
    )


def _zsh(text: str) -> str:
    for char in "[]:\\":
        text = text.replace(char, "\\" + char) if char != "\\" else text
    return text.replace("'", "").replace("%%", "%").replace("(", "").replace(")", "")


def fish(commands: list[Flags]) -> str:
    """Script for fish."""
    lines = ["complete -c khotool -n __fish_use_subcommand -l help -d 'show help'"]
    for command in commands:
        text = command.help.replace("'", "")
        lines.append(f"complete -c khotool -n __fish_use_subcommand -a {command.name} -d '{text}'")
        here = f"complete -c khotool -n '__fish_seen_subcommand_from {command.name}'"
        for word, text in command.words.items():
            lines.append(f"{here} -a {word} -d '{_fish(text)}'")
        for flag, text in command.flags.items():
            kind = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            found = command.choices.get(flag)
            value = f" -x -a '{' '.join(found)}'" if found else ""
            lines.append(f"{here} {kind} -d '{_fish(text)}'{value}")
    return "\n".join(lines)


def _fish(text: str) -> str:
    return text.replace("%%", "%").replace("\\", "\\\\").replace("'", "\\'")
