"""systemd's map of units to tokens against the sessions and files that are there."""

from __future__ import annotations

from collections import Counter

from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.handlers.systemd import MAP_TOKEN, SESSION, VERSION, Entry, UnitMap, map_of
from khotool.view.luo import Luo


@rule("HND621", "HND622", "HND623", "HND624", "HND625")
def check_units(context: Context) -> None:
    """What systemd will make of its own session."""
    luo = Luo(context.image)
    if luo.sessions.get(SESSION) is None:
        return
    found = map_of(context.image)
    if found is None:
        context.skip("HND621", f"/LUO/sessions[{SESSION}]", "the map of units is not captured")
        return
    if not found.usable:
        _report_unusable(context, found)
        return
    for entry in found.entries:
        _check_entry(context, luo, found, entry)
    _check_tokens(context, luo, found)


def _report_unusable(context: Context, found: UnitMap) -> None:
    """A map that systemd takes nothing from."""
    node = found.file.node
    if not found.layout:
        context.report("HND621", node, "the map of units is not a JSON object")
    elif found.version is None:
        context.report("HND621", node, "the map of units has no version that is a number")
    else:
        text = f"the map of units has version {found.version}; {VERSION} is the latest known"
        context.report("HND621", node, text, version=found.version)


def _check_entry(context: Context, luo: Luo, found: UnitMap, entry: Entry) -> None:
    """One entry: what it names exists."""
    node = found.file.node
    if entry.session:
        if luo.sessions.get(entry.session) is None:
            text = f"{entry.text}: there is no session {entry.session!r}"
            context.report("HND624", node, text)
        return
    files = luo.sessions[SESSION].files
    if entry.token == MAP_TOKEN:
        context.report("HND622", node, f"{entry.text}: token 0 is that of the map", token=MAP_TOKEN)
    elif entry.token is not None and files.get(entry.token) is None:
        text = f"{entry.text}: there is no file with token {entry.token:#x}"
        context.report("HND622", node, text, token=entry.token)


def _check_tokens(context: Context, luo: Luo, found: UnitMap) -> None:
    """Tokens of several entries, and files of none."""
    used = Counter(entry.token for entry in found.entries if entry.token is not None)
    for token, count in used.items():
        if count > 1:
            units = ", ".join(e.text for e in found.entries if e.token == token)
            text = f"token {token:#x} is that of {count} descriptors: {units[:400]}"
            context.report("HND625", found.file.node, text, token=token)
    for file in luo.sessions[SESSION].files:
        own = file.token
        if isinstance(own, int) and own != MAP_TOKEN and own not in used:
            context.report("HND623", file.node, f"no unit has token {own:#x}", token=own)
