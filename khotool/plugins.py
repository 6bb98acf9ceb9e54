"""Packages installed beside khotool: what they offer, and what is wrong with them.

A package that does not load is a problem to be told, never the end of the work: whoever wants
to read an image may not be who installed it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from khotool.installed import may_offer
from khotool.records import dataclass

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_problems: dict[str, None] = {}


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point of an installed package.

    Args:
        name: of the entry point.
        package: name and version of the distribution.
    """

    name: str
    package: str
    entry: EntryPoint

    def load(self) -> object | None:
        """What the entry point names; None, and a problem reported, if it does not load."""
        try:
            loaded: object = self.entry.load()
        # A package of somebody else fails in ways of its own.
        except (Exception, SystemExit) as error:
            self.report(said(error))
            return None
        return loaded

    def report(self, why: str) -> None:
        """Tell that this entry point is of no use, and why."""
        report(f"package {self.package}: {self.entry.group} {self.name!r}: {why}; not used")


@cache
def plugins(group: str) -> tuple[Plugin, ...]:
    """Entry points of a group, by package and name, so that the order is always the same."""
    if not may_offer(group):
        return ()
    from importlib.metadata import entry_points

    try:
        found = entry_points(group=group)
    except Exception as error:  # Metadata of any package may be damaged.
        report(f"installed packages cannot be listed: {said(error)}")
        return ()
    rows = []
    for entry in found:
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown"
        rows.append(Plugin(entry.name, package, entry))
    return tuple(sorted(rows, key=lambda plugin: (plugin.package, plugin.name)))


def said(error: BaseException) -> str:
    """An error of somebody else's code in one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def report(problem: str) -> None:
    """Keep a sentence about installed packages or the user's folders until it is taken."""
    _problems[problem] = None


def take_problems() -> list[str]:
    """Sentences reported since the last call, each once."""
    found = list(_problems)
    _problems.clear()
    return found
