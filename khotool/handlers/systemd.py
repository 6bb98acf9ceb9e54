"""systemd's convention: token 0 of its session is a memfd of JSON that names the other tokens.

The JSON maps the path of a control group to a list of ``{"type": "fd", "name": NAME,
"fd_index": TOKEN}`` and ``{"type": "luo_session", "name": NAME, "session_name": SESSION}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from khotool.errors import InputError
from khotool.extract.memfd import contents_of, memfd_plan
from khotool.extract.sparse import Buffer
from khotool.extract.write import write_plan
from khotool.handlers.protocol import Handler
from khotool.model.image import Image, Node

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
    session = next((node for node in _sessions(image) if node.key == SESSION), None)
    file = None if session is None else _file(session, MAP_TOKEN)
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
        for session in _sessions(image) if names else ():
            key = session.key or ""
            if (key, None) in names:
                yield session, names[key, None]
            if key == SESSION:
                yield from _file_names(session, names)


def _file_names(session: Node, names: Names) -> Iterator[tuple[Node, str]]:
    """The names of the files of systemd's own session."""
    for file in _files(session):
        token = file.value_of("token")
        if token == MAP_TOKEN:
            yield file, "systemd's map of units to tokens"
        elif isinstance(token, int) and (SESSION, token) in names:
            yield file, names[SESSION, token]


def _sessions(image: Image) -> list[Node]:
    entry = image.entry("LUO")
    sessions = None if entry is None else entry.get("sessions")
    return [] if sessions is None else sessions.elements()


def _files(session: Node) -> list[Node]:
    files = session.get("files")
    return [] if files is None else files.elements()


def _file(session: Node, token: int) -> Node | None:
    return next((file for file in _files(session) if file.value_of("token") == token), None)


class _Collect:
    """Keeps what is written; the size was checked before."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    # The methods of a sink.
    def data(self, buffers: Sequence[Buffer]) -> None:
        self.parts += [bytes(buffer) for buffer in buffers]

    def hole(self, length: int) -> None:
        self.parts.append(bytes(length))

    def finish(self) -> None:
        return


def _read(image: Image, file: Node) -> bytes | None:
    """Contents of the map's file; None if they are not all there, too long or no JSON object."""
    found = contents_of(file)
    if found is None:
        return None
    size = found[0].value_of("size")
    if not isinstance(size, int) or not 0 < size <= MOST_BYTES:
        return None
    sink = _Collect()
    try:
        write_plan(memfd_plan(image, *found), image.space, sink)
    except (InputError, ValueError):
        return None
    data = b"".join(sink.parts).rstrip(b"\0")
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
