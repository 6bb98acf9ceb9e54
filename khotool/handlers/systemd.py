"""systemd's convention: token 0 of its session is a memfd of JSON that names the other tokens.

The JSON maps the path of a control group to a list of ``{"type": "fd", "name": NAME,
"fd_index": TOKEN}`` and ``{"type": "luo_session", "name": NAME, "session_name": SESSION}``.
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
from khotool.view.luo import File, Luo, Session

SESSION = "systemd"
MAP_TOKEN = 0
MOST_BYTES = 4 << 20
"""Bytes of JSON that are read; a host has a few thousand units."""
MOST_NAMES = 100_000
LONGEST = 128
"""Characters of a unit or a name that are kept."""

Names = dict[tuple[str, int | None], str]
"""(session, token) to a name; token None is the session itself. Untrusted text."""


def names_of(image: Image) -> Names:
    """Names that systemd gave to the files and sessions it handed over.

    Nothing here is checked against the sessions. Bytes that are missing, too many or no such
    JSON give no names.
    """
    session = Luo(image).sessions.get(SESSION)
    file = None if session is None else session.files.get(MAP_TOKEN)
    data = None if file is None else _read(image, file)
    if data is None:
        return {}
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    names: Names = {}
    for place, name in _entries(document):
        if len(names) >= MOST_NAMES:
            break
        names.setdefault(place, name)
    return names


class Systemd(Handler):
    """The handler for sessions of systemd."""

    name = "systemd"

    def annotate(self, image: Image) -> Iterator[tuple[Node, str]]:
        """The names of files and sessions."""
        names = names_of(image)
        for session in Luo(image).sessions if names else ():
            key = session.node.key or ""
            if (key, None) in names:
                yield session.node, names[key, None]
            if key == SESSION:
                yield from _file_names(session, names)


def _file_names(session: Session, names: Names) -> Iterator[tuple[Node, str]]:
    """The names of the files of systemd's own session."""
    for file in session.files:
        if file.token == MAP_TOKEN:
            yield file.node, "systemd's map of units to tokens"
        elif isinstance(file.token, int) and (SESSION, file.token) in names:
            yield file.node, names[SESSION, file.token]


def _read(image: Image, file: File) -> bytes | None:
    """Contents of the map's file; None if they are not all there, too long or no JSON object."""
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
    data = sink.bytes().rstrip(b"\0")
    return data if data.lstrip()[:1] == b"{" else None


def _entries(document: object) -> Iterator[tuple[tuple[str, int | None], str]]:
    """Place and name of everything in the map that has the expected shape."""
    if not isinstance(document, dict):
        return
    for group, items in document.items():
        unit = group.rstrip("/").rpartition("/")[2] or group
        for item in items if isinstance(items, list) else ():
            if not isinstance(item, dict):
                continue
            name = item.get("name")
            text = f"{unit[:LONGEST]}: {name[:LONGEST]}" if isinstance(name, str) else unit
            index, session = item.get("fd_index"), item.get("session_name")
            if item.get("type") == "fd" and type(index) is int and 0 <= index < 1 << 64:
                yield (SESSION, index), text[: 2 * LONGEST + 2]
            elif item.get("type") == "luo_session" and isinstance(session, str):
                yield (session, None), text[: 2 * LONGEST + 2]
