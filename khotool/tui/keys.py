"""Keys: one table of ids, what is bound to each, and what a user's file changes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from khotool.records import dataclass, field


@dataclass(frozen=True, slots=True)
class Key:
    """One binding.

    Args:
        id: stable name, as the ``[keys]`` table of the config file uses it.
        keys: names of keys, separated by commas.
        action: method of the screen or app, without ``action_``.
        label: one or two words for the footer.
        help: one sentence.
        where: screens it works in, separated by commas: ``explore``, ``findings``, ``pages``,
            ``diff``, ``formats``; or ``all``.
        footer: whether the footer shows it.
    """

    id: str
    keys: str
    action: str
    label: str
    help: str
    where: str = "all"
    footer: bool = False

    def works_in(self, mode: str) -> bool:
        """Whether a mode has this key."""
        return self.where == "all" or mode in self.where.split(",")


FOUND = "explore,findings"
MAPPED = "explore,pages"
LINKED = "explore,findings,pages,sessions"
KEYS: tuple[Key, ...] = (
    Key("mode.1", "1", "mode('explore')", "Explore", "tree and bytes of the image"),
    Key("mode.2", "2", "mode('findings')", "Findings", "what is wrong"),
    Key("mode.3", "3", "mode('pages')", "Pages", "the map of physical memory"),
    Key("mode.4", "4", "mode('diff')", "Diff", "what changed between two images"),
    Key("mode.5", "5", "mode('formats')", "Formats", "the ABI definitions"),
    Key("mode.6", "6", "mode('verdict')", "Verdict", "what each kernel would do with the image"),
    Key("mode.7", "7", "mode('sessions')", "Sessions", "files, bytes and pages of each session"),
    Key("ref.follow", "enter", "follow", "Follow", "open, or follow the pointer", "explore", True),
    Key("history.back", "backspace,alt+left", "back", "Back", "where the cursor was", "all", True),
    Key("history.forward", "alt+right", "forward", "Forward", "undo Back"),
    Key("ref.links", "u", "links", "Links", "what points here, owner, bit of the map", LINKED),
    Key("goto.open", "g", "run('goto')", "Goto", "address, page, offset, path, rule", "all", True),
    Key("find.open", "/", "find", "Find", "names, values, bytes; in Diff changes", "all", True),
    Key("find.next", "n", "find_next(1)", "Next", "next hit; in Diff the next change"),
    Key("find.prev", "N", "find_next(-1)", "Previous", "previous hit or change"),
    Key("finding.next", "e", "finding(1)", "Finding", "go to the next finding", "all", True),
    Key("finding.prev", "E", "finding(-1)", "Finding", "go to the previous finding"),
    Key("region.next", "}", "region(1)", "Region", "next decoded stretch; in Pages range", MAPPED),
    Key("region.prev", "{", "region(-1)", "Region", "previous decoded stretch or range", MAPPED),
    Key("pane.jump", ";", "jump", "Panes", "go to a pane by its letter"),
    Key("pane.zoom", "z", "zoom", "Zoom", "one pane on the whole screen, and back", "all", True),
    Key("pane.inspector", "i", "inspector", "Field", "show or hide the lower pane", "explore"),
    Key("pane.tab", "t", "tab", "Tab", "Field, Rows, Findings in the lower pane", "explore", True),
    Key("view.gutter", "a", "gutter", "Address", "form of addresses; in Diff: compare them"),
    Key("tree.wider", ">", "resize_tree(5)", "Wider", "a larger tree", "explore"),
    Key("tree.narrower", "<", "resize_tree(-5)", "Narrower", "a smaller tree", "explore"),
    Key("view.radix", "x", "radix", "Radix", "hexadecimal, decimal, binary", "explore"),
    Key("view.width", "w", "width", "Width", "8, 16, 32 bytes per row, or what fits", "explore"),
    Key("mark.set", "m", "mark", "Mark", "keep the place as a bookmark, or drop it", "explore"),
    Key("mark.list", "apostrophe", "run('marks')", "Marks", "list of bookmarks"),
    Key("copy.value", "y", "copy('value')", "Copy", "copy the value, or the line of a list"),
    Key("copy.path", "Y", "copy('path')", "Copy path", "copy the path"),
    Key("tree.filter", "f", "filter", "Filter", "show only what matches, or one owner"),
    Key("image.open", "o", "run('open')", "Open", "open an image"),
    Key("image.options", "O", "run('options')", "Options", "root, page size, ABI, limits; reopen"),
    Key("copy.command", "c", "copy('command')", "Command", "copy the command for this", FOUND),
    Key("image.reload", "r", "run('reload')", "Reload", "read the image again"),
    Key("limit.raise", "L", "run('raise')", "Raise", "read on beyond a limit"),
    Key("export", "X", "export", "Export", "write this, or all findings, to a file", FOUND),
    Key("edit.stage", "s", "edit", "Set", "stage a change to the value or bytes", "explore"),
    Key("edit.undo", "U", "run('undo')", "Undo", "take back the latest staged change"),
    Key("edit.list", "C", "run('staged')", "Changes", "list the staged changes"),
    Key("edit.write", "W", "run('write')", "Write", "write the changed image to a new file"),
    Key("help", "?", "help", "Help", "the keys of this screen", "all", True),
    Key("findings.severity", "s", "severity", "Severity", "least severity", "findings", True),
    Key("findings.show", "enter", "show", "Show", "show it in Explore", "findings", True),
    Key("sessions.sort", "s", "sort", "Sort", "by the next column", "sessions", True),
    Key("sessions.show", "enter", "show", "Show", "show it in Explore", "sessions", True),
    Key("pages.show", "enter", "show", "Show", "show the range in Explore", "pages", True),
    Key("pages.fit", "0", "fit", "All", "all of memory on the screen", "pages"),
    Key("diff.swap", "S", "swap", "Swap", "explore the second image, or the first", "diff", True),
    Key("diff.show", "enter", "show", "Show", "show the change in Explore", "diff", True),
    Key("diff.second", "B", "show_second", "Show B", "show it in the second image", "diff", True),
    Key("diff.unchanged", "u", "unchanged", "Unchanged", "fold equal rows, or show them", "diff"),
    Key("diff.compare", "c", "compare", "Compare with", "open an image to compare", "diff", True),
    Key("formats.compare", "v", "compare", "Compare", "compare two definitions", "formats", True),
    Key("cancel", "escape", "cancel", "Cancel", "stop the work, leave zoom or filter"),
    Key("quit", "q", "quit", "Quit", "leave"),
)


WIDGET_IDS = frozenset(
    {"nav.up", "nav.down", "nav.left", "nav.right", "nav.pageup", "nav.pagedown", "nav.top"}
    | {"nav.bottom", "tree.toggle", "list.choose", "pages.finer", "pages.coarser", "app.quit"}
)
"""Ids of keys that belong to a pane, not to a screen."""


@dataclass(slots=True)
class Config:
    """What the config file says.

    Args:
        keys: names of keys by id.
        theme: name of a theme, empty for the default.
        problems: sentences about the file: clashes, unknown ids.
    """

    keys: dict[str, str] = field(default_factory=dict)
    theme: str = ""
    problems: list[str] = field(default_factory=list)


SPELLED = {
    "/": "slash",
    "?": "question_mark",
    "'": "apostrophe",
    ";": "semicolon",
    "}": "right_curly_bracket",
    "{": "left_curly_bracket",
    "+": "plus",
    "<": "less_than_sign",
    ">": "greater_than_sign",
    "-": "minus",
    " ": "space",
}
"""Names that Textual has for characters."""


def spell(keys: str) -> str:
    """Names of keys as Textual knows them, without blanks."""
    if keys in SPELLED:
        return SPELLED[keys]
    parts = (part.strip() for part in keys.split(","))
    return ",".join(SPELLED.get(part, part) for part in parts if part)


def load_config(path: Path) -> Config:
    """Read ``config.toml``; a missing file is an empty one, a wrong one is reported."""
    config = Config()
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return config
    except (OSError, ValueError) as error:
        config.problems.append(f"{path.name}: {error}")
        return config
    theme = document.get("theme", "")
    config.theme = theme if isinstance(theme, str) else ""
    table = document.get("keys", {})
    if not isinstance(table, dict):
        config.problems.append(f"{path.name}: [keys] is not a table")
        return config
    known = {key.id for key in KEYS} | WIDGET_IDS
    for name, value in table.items():
        if name not in known:
            config.problems.append(f"{path.name}: keys.{name!r} is not the id of a key")
        elif not isinstance(value, str) or not spell(value):
            config.problems.append(f"{path.name}: keys.{name!r} is not the name of a key")
        else:
            config.keys[name] = spell(value)
    config.problems.extend(clashes(config.keys))
    return config


def clashes(changed: Mapping[str, str]) -> list[str]:
    """Keys that mean two things in one screen, as sentences."""
    taken: dict[tuple[str, str], str] = {}
    found: list[str] = []
    for key in KEYS:
        for name in spell(changed.get(key.id, key.keys)).split(","):
            for place in key.where.split(","):
                other = taken.get((name, place)) or taken.get((name, "all"))
                if other is not None:
                    found.append(f"key {name!r} is both {other} and {key.id}")
                taken.setdefault((name, place), key.id)
    return found
