"""The place under the cursor in forms to copy or to write to a file."""

from __future__ import annotations

from khotool.absent import Absent
from khotool.errors import KhotoolError
from khotool.memory.space import MemoryFault
from khotool.model.image import Image, Span
from khotool.tui.describe import facts, value_line
from khotool.tui.memory_view import MemoryView, address_text
from khotool.tui.place import Place, span_of
from khotool.tui.session import Session
from khotool.tui.text import plain

MAX_BYTES = 1 << 16
"""Bytes copied to a clipboard."""
EXPORTS = ("json", "dts", "raw")
"""Forms of a file."""


def copy_text(session: Session, what: str) -> str:
    """The cursor as ``value``, ``path``, ``address``, ``hex``, ``c``, ``json`` or ``markdown``.

    Raises:
        KhotoolError: there is nothing of that kind here.
    """
    cursor = session.cursor
    place = cursor.place
    if what == "path":
        if place is None:
            raise KhotoolError("no field here; select one first")
        return place.path
    if what == "address":
        if cursor.address is None:
            raise KhotoolError("this place has no address")
        return address_text(cursor.address)
    if what == "value":
        value = place.value if place is not None else None
        if place is None or value is None or isinstance(value, (bytes, Absent)):
            return _bytes(session).hex(" ")
        return value if isinstance(value, str) else plain(value_line(place.field, value)[:1])
    if what == "hex":
        return _bytes(session).hex(" ")
    if what == "c":
        data = _bytes(session)
        rows = [data[i : i + 12] for i in range(0, len(data), 12)]
        text = ",\n\t".join(", ".join(f"0x{byte:02x}" for byte in row) for row in rows)
        return f"static const unsigned char bytes[{len(data)}] = {{\n\t{text}\n}};"
    if place is None:
        raise KhotoolError("no field here; select one first")
    if what == "json":
        return json_text(place)
    return _markdown(place, session.image, session.view)


def _bytes(session: Session) -> bytes:
    span = session.cursor.span
    if span is None:
        raise KhotoolError("this place has no bytes")
    return read_span(session.image, Span(span.address, min(span.size, MAX_BYTES)))


def read_span(image: Image, span: Span) -> bytes:
    """Bytes of a span.

    Raises:
        KhotoolError: some are not in the capture.
    """
    try:
        return bytes(image.space.read(span.address, span.size))
    except MemoryFault as fault:
        raise KhotoolError(f"{fault.address:#x} is not captured") from None


def json_text(place: Place) -> str:
    """A place and what is below it as JSON."""
    from khotool.render.document import node_json, row_json
    from khotool.render.json import json_chunks

    document: object
    if place.row >= 0:
        document = row_json(place.node, place.row)
        if place.label and isinstance(document, dict):
            document = document.get(place.label)
    else:
        document = node_json(place.node, rows=1 << 20)
    return "".join(json_chunks(document))


def _markdown(place: Place, image: Image, view: MemoryView) -> str:
    rows = [f"| {label} | {plain(line)} |" for label, line in facts(place, image, view, [])]
    return "\n".join([f"`{place.path}`", "", "| | |", "| --- | --- |", *rows])


def export_bytes(session: Session, form: str) -> bytes:
    """The file of the place under the cursor, as ``json``, ``dts`` or ``raw``.

    Raises:
        KhotoolError: there is nothing of that kind here.
    """
    place = session.cursor.place
    if form == "raw":
        span = session.cursor.span
        if place is not None and place.row < 0 and place.node.target is not None:
            span = place.node.target
        if span is None and place is not None:
            span = span_of(place)
        if span is None:
            raise KhotoolError("this place has no bytes")
        return read_span(session.image, span)
    if place is None:
        raise KhotoolError("no field here; select one first")
    if form == "dts":
        from khotool.render.dts import dts_text

        top = place.node if place.node.parent is not None else None
        return dts_text(session.image, top).encode("utf-8", "backslashreplace")
    return json_text(place).encode("utf-8", "backslashreplace")
