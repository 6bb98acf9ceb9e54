"""Write the generated parts of the documentation, or say which are out of date.

Run it from a checkout: ``python docs/generate.py``; ``--check`` changes nothing and exits with 1
if a file would change. Generated are: the pages of formats, rules, keys and commands, the table of
the README, and the picture of a dump.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from reference_pages import (
    code,
    definition_page,
    index_page,
    kernel_table,
    rule_pages,
    table,
)

from khotool.abi.registry import Registry, shipped_registry
from khotool.cli.commands import Command, available, load
from khotool.cli.parser import command_parser
from khotool.fleet.tables import TABLES
from khotool.tui.keys import KEYS

ROOT = Path(__file__).resolve().parent.parent
PICTURED = "fixtures/real/linux-7.3.4/image.elf.xz"
PICTURE = "docs/pictures/dump.svg"
PICTURE_WIDTH = 100
NAMES = {
    "slash": "/",
    "question_mark": "?",
    "apostrophe": "'",
    "semicolon": ";",
    "right_curly_bracket": "}",
    "left_curly_bracket": "{",
    "plus": "+",
    "minus": "-",
}
BEGIN, END = "<!-- generated: {} -->", "<!-- end -->"
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
    }}
    .{unique_id}-title {{
        font-family: system-ui, sans-serif;
        font-size: 18px;
        font-weight: bold;
    }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})"
       clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""
"""Form of a picture; it names fonts that systems have, and fetches none."""


def main() -> int:
    """Write what differs; with ``--check`` only name it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 on a change")
    args = parser.parse_args()
    pages = generated()
    stale = [path for path, text in pages.items() if current(path) != text]
    surplus = sorted(set(existing()) - set(pages))
    if pictured() != printed(color=False):
        stale.append(PICTURE)
    for path in stale:
        print(f"{path}: {'differs' if args.check else 'written'}")
    for path in surplus:
        print(f"{path}: {'has no source' if args.check else 'removed'}")
    if args.check:
        return 1 if stale or surplus else 0
    for path in stale:
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(picture() if path == PICTURE else pages[path], encoding="utf-8")
    for path in surplus:
        (ROOT / path).unlink()
    return 0


def current(path: str) -> str | None:
    """What a file holds; None if there is none."""
    target = ROOT / path
    return target.read_text(encoding="utf-8") if target.exists() else None


def existing() -> Iterator[str]:
    """Files in folders that hold generated pages only."""
    for folder in ("docs/reference/formats", "docs/reference/rules"):
        for path in (ROOT / folder).glob("*.md"):
            yield path.relative_to(ROOT).as_posix()


def generated() -> dict[str, str]:
    """Text of every generated page by path; the picture is made apart, see ``picture``."""
    registry = shipped_registry()
    pages = {"docs/reference/formats/index.md": index_page(registry)}
    for definition in registry:
        pages[f"docs/reference/formats/{definition.id}.md"] = definition_page(registry, definition)
    pages.update({f"docs/reference/rules/{name}": text for name, text in rule_pages().items()})
    pages["docs/reference/fleet.md"] = between(
        "docs/reference/fleet.md", "tables", "\n".join(fleet_text())
    )
    pages["docs/reference/cli.md"] = between(
        "docs/reference/cli.md", "commands", "\n".join(commands_text())
    )
    pages["docs/reference/keys.md"] = "\n".join(keys_text()) + "\n"
    kernels = kernel_table(registry, "docs/reference/formats/", tested_kernels(registry))
    pages["README.md"] = between("README.md", "kernels", "\n".join(kernels))
    return pages


def fleet_text() -> Iterator[str]:
    """The tables of a scan, column by column."""
    for name, columns in TABLES.items():
        yield f"### {name}"
        yield ""
        rows = [(code(column.name), column.type, column.doc) for column in columns]
        yield from table(("column", "type", "holds"), rows)
        yield ""


def between(path: str, name: str, text: str) -> str:
    """A file with the part between two markers replaced."""
    begin = BEGIN.format(name)
    before, found, rest = (current(path) or "").partition(begin)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise SystemExit(f"{path}: no part {begin} ... {END}")
    return f"{before}{begin}\n\n{text.strip()}\n\n{END}{after}"


def tested_kernels(registry: Registry) -> dict[str, list[str]]:
    """Kernels of which ``fixtures/real`` holds a capture, by id of their set."""
    tested: dict[str, list[str]] = {}
    for path in sorted((ROOT / "fixtures/real").glob("*/provenance.toml")):
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        abi = registry.set_for(told["kernel"])
        page = f"{told['page_size'] >> 10}K pages"
        if abi is not None:
            name = f"{told['kernel']} {told['architecture']} {page}"
            tested.setdefault(abi.id, []).append(name)
    return {key: sorted(set(names)) for key, names in tested.items()}


# -- commands --------------------------------------------------------------------------------


def commands_text() -> Iterator[str]:
    """Every command with its arguments, flags and examples, from its parser."""
    commands = available()
    rows = [(f"[`khotool {c.name}`](#khotool-{c.name})", c.help) for c in commands]
    yield from table(("command", "does"), rows)
    for command in commands:
        yield ""
        yield from command_text(command)
    for title, flags in flags_text().items():
        yield ""
        yield f"### Flags: {title}"
        yield ""
        yield from table(("flag", "meaning"), flags)


def command_text(command: Command) -> Iterator[str]:
    """One command: arguments, flags by group, sub-commands, examples."""
    yield f"### khotool {command.name}"
    yield ""
    yield f"{command.help[0].upper()}{command.help[1:]}."
    yield from parser_text(command_parser(command), f"khotool {command.name}")
    epilog = str(getattr(load(command), "EPILOG", ""))
    if epilog:
        yield ""
        yield "```text"
        yield epilog.strip()
        yield "```"


SHARED = ("output", "reading the image")
"""Groups of flags that many commands have; they are described once."""


def parser_text(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    """Arguments of a parser, then those of its sub-commands."""
    shared = []
    for group in parser._action_groups:
        title = group.title or ""
        actions = [a for a in group._group_actions if a.dest != "help"]
        if title in SHARED:
            shared.append(title)
            continue
        plain = [a for a in actions if not isinstance(a, argparse._SubParsersAction)]
        if plain:
            yield ""
            yield from table(("argument", "meaning"), [action_row(a) for a in plain])
    if shared:
        yield ""
        links = " and ".join(f"[{title}](#flags-{title.replace(' ', '-')})" for title in shared)
        yield f"Also: the flags of {links}."
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {item.dest: item.help or "" for item in action._choices_actions}
            for word, sub in action.choices.items():
                yield ""
                yield f"#### {name} {word}"
                yield ""
                text = helps.get(word, "")
                yield f"{text[:1].upper()}{text[1:]}."
                yield from parser_text(sub, f"{name} {word}")


def action_row(action: argparse.Action) -> tuple[str, str]:
    """One argument as a row."""
    if not action.option_strings:
        metavar = action.metavar if isinstance(action.metavar, str) else None
        name = metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
        optional = action.nargs in ("?", "*")
        return code(f"[{name}]" if optional else name), text_of(action)
    value = ""
    if action.nargs != 0:
        given = "|".join(map(str, action.choices)) if action.choices else action.metavar
        value = f" {given or action.dest.upper()}"
    return ", ".join(code(f"{option}{value}") for option in action.option_strings), text_of(action)


def text_of(action: argparse.Action) -> str:
    """Help of an argument, as its parser would print it."""
    text = (action.help or "").replace("%%", "%")
    return text.replace("%(default)s", str(action.default))


def flags_text() -> dict[str, list[tuple[str, str]]]:
    """Rows of the shared groups of flags, by title."""
    found: dict[str, list[tuple[str, str]]] = {}
    for command in available():
        for group in command_parser(command)._action_groups:
            title = group.title or ""
            if title in SHARED:
                rows = found.setdefault(title, [])
                rows += [row for row in map(action_row, group._group_actions) if row not in rows]
    return found


# -- keys ------------------------------------------------------------------------------------


def keys_text() -> Iterator[str]:
    """Keys of the TUI by screen, from its table."""
    yield "# Keys of the TUI"
    yield ""
    yield "`?` shows the keys of the current screen."
    yield "The id is what the `[keys]` table of `~/.config/khotool/config.toml` changes."
    for where in dict.fromkeys(key.where for key in KEYS):
        yield ""
        yield (
            "## Everywhere"
            if where == "all"
            else f"## {' and '.join(map(str.capitalize, where.split(',')))}"
        )
        yield ""
        rows = [
            (", ".join(code(shown(name)) for name in key.keys.split(",")), key.help, code(key.id))
            for key in KEYS
            if key.where == where
        ]
        yield from table(("key", "does", "id"), rows)


def shown(name: str) -> str:
    """A key as it is printed on a keyboard."""
    return NAMES.get(name, name)


# -- picture ---------------------------------------------------------------------------------


def picture() -> str:
    """``khotool dump`` of a capture as SVG."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    console = Console(
        record=True,
        width=PICTURE_WIDTH,
        file=StringIO(),
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
    )
    for line in printed(color=True):
        console.print(Text.from_ansi(line), soft_wrap=True)
    svg = console.export_svg(
        title=f"khotool dump {PICTURED}", code_format=SVG, unique_id="khotool-dump"
    )
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def pictured() -> list[str]:
    """Lines of the picture, without empty ones.

    Its text is compared, not its bytes: these depend on the version of rich.
    """
    text = current(PICTURE)
    if text is None:
        return []
    rows: dict[float, list[tuple[float, str]]] = {}
    for node in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in node.attrib:
            place = (float(node.attrib["x"]), node.text or "")
            rows.setdefault(float(node.attrib["y"]), []).append(place)
    width = 12.2
    lines = []
    for _, pieces in sorted(rows.items()):
        line = ""
        for x, piece in sorted(pieces):
            line = line.ljust(round(x / width)) + piece.replace("\xa0", " ")
        lines.append(line.rstrip())
    return [line for line in lines if line]


def printed(*, color: bool) -> list[str]:
    """What the pictured command prints, without empty lines unless in colour."""
    import contextlib
    import os
    from io import BytesIO, TextIOWrapper

    from khotool.cli.main import main as khotool

    here = os.getcwd()
    buffer = BytesIO()
    os.chdir(ROOT)
    try:
        with contextlib.redirect_stdout(TextIOWrapper(buffer, encoding="utf-8")) as out:
            khotool(["dump", PICTURED, "--color", "always" if color else "never"])
            out.flush()
            lines = [line.rstrip() for line in buffer.getvalue().decode().splitlines()]
    finally:
        os.chdir(here)
    return lines if color else [line for line in lines if line]


if __name__ == "__main__":
    sys.exit(main())
