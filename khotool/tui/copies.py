"""The place under the cursor in forms to copy or to write to a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from khotool.absent import Absent
from khotool.errors import KhotoolError
from khotool.model.image import Image, Span
from khotool.tui.describe import facts, value_line
from khotool.tui.memory_view import address_text, read_span
from khotool.tui.place import Place, span_of
from khotool.tui.session import Session
from khotool.tui.text import plain, size_text
from khotool.tui.work import Cancelled, Stop

MAX_BYTES = 1 << 16
"""Bytes of an image copied to a clipboard."""
MAX_TEXT = 1 << 20
"""Characters of JSON copied to a clipboard."""
SHORT = 64
"""Elements up to which an array is made as a whole."""
PIECES = 512
"""Pieces of JSON that are written at once."""
RAW_PIECE = 1 << 20
"""Bytes of an image that are written at once."""
EXPORTS = ("json", "dts", "raw", "payload")
"""Forms of a file; the last one is not made here."""


def copy_text(session: Session, what: str, stop: Stop = lambda: False) -> str:
    """The cursor as ``value``, ``path``, ``address``, ``hex``, ``c``, ``json`` or ``markdown``.

    Raises:
        KhotoolError: there is nothing of that kind here, or too much of it for a clipboard.
        Cancelled: ``stop`` said so.
    """
    if what == "json":
        return _json_text(session, stop)
    return _QUICK[what](session)


def _value(session: Session) -> str:
    place = session.cursor.place
    value = place.value if place is not None else None
    if place is None or value is None or isinstance(value, (bytes, Absent)):
        return _hex(session)
    return value if isinstance(value, str) else plain(value_line(place.field, value)[:1])


def _path(session: Session) -> str:
    return _place(session).path


def _address(session: Session) -> str:
    if session.cursor.address is None:
        raise KhotoolError("this place has no address")
    return address_text(session.cursor.address)


def _hex(session: Session) -> str:
    return _bytes(session).hex(" ")


def _c_array(session: Session) -> str:
    data = _bytes(session)
    rows = [data[i : i + 12] for i in range(0, len(data), 12)]
    text = ",\n\t".join(", ".join(f"0x{byte:02x}" for byte in row) for row in rows)
    return f"static const unsigned char bytes[{len(data)}] = {{\n\t{text}\n}};"


def _markdown(session: Session) -> str:
    place = _place(session)
    found = facts(place, session.image, session.view, [])
    rows = [f"| {label} | {plain(line)} |" for label, line in found]
    return "\n".join([f"`{place.path}`", "", "| | |", "| --- | --- |", *rows])


def _json_text(session: Session, stop: Stop) -> str:
    text: list[str] = []
    size = 0
    for chunk in json_text(_place(session), stop):
        text.append(chunk)
        size += len(chunk)
        if size > MAX_TEXT:
            raise KhotoolError(
                f"more than {size_text(MAX_TEXT)} of JSON, too much for a clipboard; "
                "X writes it to a file"
            )
    return "".join(text)


_QUICK = {
    "value": _value,
    "path": _path,
    "address": _address,
    "hex": _hex,
    "c": _c_array,
    "markdown": _markdown,
}


def _place(session: Session) -> Place:
    if session.cursor.place is None:
        raise KhotoolError("no field here; select one first")
    return session.cursor.place


def _bytes(session: Session) -> bytes:
    span = session.cursor.span
    if span is None:
        raise KhotoolError("this place has no bytes")
    return read_span(session.image, Span(span.address, min(span.size, MAX_BYTES)))


def json_text(place: Place, stop: Stop) -> Iterator[str]:
    """A place and what is below it as JSON, piece by piece; long arrays are read as they go.

    Raises:
        Cancelled: ``stop`` said so.
    """
    from khotool.document.dump import node_json, row_json
    from khotool.render.json import Rows, json_chunks

    def checked(elements: Iterable[object]) -> Iterator[object]:
        for number, element in enumerate(elements):
            if number % 256 == 0 and stop():
                raise Cancelled
            yield element

    def array(elements: Iterable[object]) -> object:
        parts = checked(elements)
        head = list(islice(parts, SHORT))
        return head if len(head) < SHORT else Rows(chain(head, parts))

    document: object
    if place.row >= 0:
        document = row_json(place.node, place.row)
        if place.label and isinstance(document, dict):
            document = document.get(place.label)
    else:
        document = node_json(place.node, rows=sys.maxsize, array=array)
    yield from json_chunks(document)


def export_chunks(session: Session, form: str, stop: Stop) -> Iterator[bytes]:
    """The file of the place under the cursor, as ``json``, ``dts`` or ``raw``, piece by piece.

    Raises:
        KhotoolError: there is nothing of that kind here.
        Cancelled: ``stop`` said so.
    """
    if form == "raw":
        yield from _raw_chunks(session)
    elif form == "dts":
        from khotool.render.dts import dts_text

        place = _place(session)
        top = place.node if place.node.parent is not None else None
        yield _encoded(dts_text(session.image, top))
    else:
        text: list[str] = []
        for chunk in json_text(_place(session), stop):
            text.append(chunk)
            if len(text) >= PIECES:
                yield _encoded("".join(text))
                text.clear()
        yield _encoded("".join(text))


def findings_chunks(image: Image, path: str, form: str, stop: Stop) -> Iterator[bytes]:
    """All findings as ``check`` writes them: ``findings``, as ``--json``, or a ``baseline``.

    Args:
        path: of the image, as it was given.
    """
    from khotool.check.known import baseline_document
    from khotool.check.run import check_with_skips
    from khotool.document.dump import head
    from khotool.render.findings import Checked, checked_json
    from khotool.render.json import json_chunks

    findings, skipped = check_with_skips(image)
    if form == "baseline":
        yield json.dumps(baseline_document([findings]), indent=1).encode() + b"\n"
        return
    document = {**head("check"), **checked_json(Checked(path, findings, skipped))}
    yield from map(_encoded, json_chunks(document))


def _raw_chunks(session: Session) -> Iterator[bytes]:
    place, span = session.cursor.place, session.cursor.span
    if place is not None and place.row < 0 and place.node.target is not None:
        span = place.node.target
    if span is None and place is not None:
        span = span_of(place)
    if span is None:
        raise KhotoolError("this place has no bytes")
    for start in range(span.address, span.end, RAW_PIECE):
        yield read_span(session.image, Span(start, min(RAW_PIECE, span.end - start)))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
