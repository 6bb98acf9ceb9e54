"""systemd's convention: token 0 of its session is a memfd of JSON that names the other tokens.

systemd v261 and later write ``{"version": 1, "state": {"kexecsCount": N}, "units": {UNIT:
{"fdstore": [...]}}}``, with entries ``{"type": "fd", "name": NAME, "token": TOKEN}`` and ``{"type":
"luo_session", "name": NAME, "sessionName": SESSION}`` (src/shared/luo-util.h). The first posting
mapped the path of a control group to such a list, with ``fd_index`` and ``session_name``, and had
no version; it was never released.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from khotool.errors import InputError
from khotool.extract.memfd import memfd_plan
from khotool.extract.sparse import Collected
from khotool.extract.write import write_plan
from khotool.handlers.protocol import Handler
from khotool.model.image import Image, Node
from khotool.records import dataclass
from khotool.view.luo import File, Luo, Session

SESSION = "systemd"
MAP_TOKEN = 0
VERSION = 1
"""Latest version of the map; systemd takes nothing from a later one."""
MOST_BYTES = 4 << 20
"""Bytes of JSON that are read; a host has a few thousand units."""
MOST_NAMES = 100_000
LONGEST = 128
"""Characters of a unit or a name that are kept."""
FIRST, RELEASED = "cgroups", "units"
"""The two layouts: by control group, as first posted, and by unit, since v261."""

Names = dict[tuple[str, int | None], str]
"""(session, token) to a name; token None is the session itself. Untrusted text."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A descriptor in the file descriptor store of a unit; untrusted text.

    Args:
        token: of a file in systemd's session; None for a session of its own.
        session: name of that session; empty for a file.
    """

    unit: str
    name: str
    token: int | None = None
    session: str = ""

    @property
    def text(self) -> str:
        """Unit and name, cut to a sensible length."""
        unit = self.unit[:LONGEST]
        return f"{unit}: {self.name[:LONGEST]}" if self.name else unit


@dataclass(frozen=True, slots=True)
class UnitMap:
    """systemd's map, as far as it has the expected shape.

    Args:
        file: the memfd that holds it.
        layout: ``units`` or ``cgroups``; empty for contents that are not a JSON object.
        version: as stored; None where there is none that is a number.
        kexecs: live updates before this one; None where the map does not count them.
    """

    file: File
    layout: str
    version: int | None = None
    kexecs: int | None = None
    entries: tuple[Entry, ...] = ()

    @property
    def usable(self) -> bool:
        """True for a map that systemd takes descriptors from."""
        return self.layout == FIRST or (self.version is not None and self.version <= VERSION)


def map_of(image: Image) -> UnitMap | None:
    """systemd's map; None where there is none, or its contents are not captured."""
    session = Luo(image).sessions.get(SESSION)
    file = None if session is None else session.files.get(MAP_TOKEN)
    data = None if file is None else _read(image, file)
    if file is None or data is None:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return UnitMap(file, "")
    if not isinstance(document, dict):
        return UnitMap(file, "")
    if "version" not in document and "units" not in document:
        return UnitMap(file, FIRST, entries=_some(_entries_by_group(document)))
    state = document.get("state")
    version = _number(document.get("version"))
    kexecs = _number(state.get("kexecsCount")) if isinstance(state, dict) else None
    return UnitMap(file, RELEASED, version, kexecs, _some(_entries_by_unit(document)))


def names_of(found: UnitMap | None) -> Names:
    """Names that systemd gave to the files and sessions of its map, which are not checked."""
    names: Names = {}
    for entry in found.entries if found is not None else ():
        place = (SESSION, entry.token) if entry.token is not None else (entry.session, None)
        names.setdefault(place, entry.text)
    return names


class Systemd(Handler):
    """The handler for sessions of systemd."""

    name = "systemd"

    def annotate(self, image: Image) -> Iterator[tuple[Node, str]]:
        """The names of files and sessions."""
        found = map_of(image)
        names = names_of(found)
        if found is not None and found.layout:
            yield found.file.node, "systemd's map of units to tokens" + _of_version(found)
        for session in Luo(image).sessions if names else ():
            key = session.node.key or ""
            if (key, None) in names:
                yield session.node, names[key, None]
            if key == SESSION:
                yield from _file_names(session, names)


def _of_version(found: UnitMap) -> str:
    version = "" if found.version is None else f", version {found.version}"
    return version + ("" if found.kexecs is None else f", written after {found.kexecs} kexecs")


def _file_names(session: Session, names: Names) -> Iterator[tuple[Node, str]]:
    """The names of the files of systemd's own session."""
    for file in session.files:
        token = file.token
        if isinstance(token, int) and token != MAP_TOKEN and (SESSION, token) in names:
            yield file.node, names[SESSION, token]


def _read(image: Image, file: File) -> bytes | None:
    """Contents of the map's file; None if they are not all there, or too long."""
    folios = file.folios
    if folios is None:
        return None
    size = file.size
    if not isinstance(size, int) or not 0 < size <= MOST_BYTES:
        return None
    sink = Collected()
    try:
        write_plan(memfd_plan(folios), image.space, sink)
    except InputError:
        return None
    return sink.bytes().rstrip(b"\0")


def _some(entries: Iterator[Entry]) -> tuple[Entry, ...]:
    return tuple(entry for _, entry in zip(range(MOST_NAMES), entries, strict=False))


def _entries_by_unit(document: dict[str, object]) -> Iterator[Entry]:
    """Entries of the released layout; what has another shape is left out, as systemd does."""
    units = document.get("units")
    for unit, held in units.items() if isinstance(units, dict) else ():
        store = held.get("fdstore") if isinstance(held, dict) else None
        yield from _entries(unit, store, "token", "sessionName")


def _entries_by_group(document: dict[str, object]) -> Iterator[Entry]:
    """Entries of the layout as first posted."""
    for group, store in document.items():
        unit = group.rstrip("/").rpartition("/")[2] or group
        yield from _entries(unit, store, "fd_index", "session_name")


def _entries(unit: str, store: object, token: str, session: str) -> Iterator[Entry]:
    for item in store if isinstance(store, list) else ():
        if not isinstance(item, dict):
            continue
        name = item.get("name")
        text = name if isinstance(name, str) else ""
        number, other = _number(item.get(token)), item.get(session)
        if item.get("type") == "fd" and number is not None:
            yield Entry(unit, text, number)
        elif item.get("type") == "luo_session" and isinstance(other, str) and other:
            yield Entry(unit, text, session=other)


def _number(value: object) -> int | None:
    """An integer of 64 bits, which True and False are not."""
    return value if type(value) is int and 0 <= value < 1 << 64 else None
