"""What the tables of a scan hold: one declaration for writing, documentation and queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from khotool.records import dataclass

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
Rows = dict[str, list[Row]]
"""Rows of one image by table."""

Type = Literal["text", "integer", "number", "time", "labels", "orders"]
"""``integer`` is int64, ``time`` a UTC timestamp in milliseconds, ``labels`` a map of text to text,
``orders`` a map of page orders to numbers of blocks."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Args:
        doc: what it holds and its unit; a clause without capital and full stop.
    """

    name: str
    type: Type
    doc: str


_IMAGE = Column("image", "text", "name of the image: its path, URL, or TAR!MEMBER")

TABLES: dict[str, tuple[Column, ...]] = {
    "images": (
        _IMAGE,
        Column("digest", "text", "SHA-256 of its bytes, in hexadecimal"),
        Column("bytes", "integer", "size of the file in bytes"),
        Column("taken", "time", "when the file was last written"),
        Column("error", "text", "why it could not be read; null for an image that was"),
        Column("error_kind", "text", "unreadable, time, memory, crash or internal; null without"),
        Column("release", "text", "release of the kernel that wrote the handover"),
        Column("machine", "text", "machine, as the ELF header names it"),
        Column("page_size", "integer", "bytes of a page"),
        Column("compatible", "text", "string of the KHO root"),
        Column("phase", "text", "live, finalized, frozen, incoming, consumed or unknown"),
        Column("preserved_pages", "integer", "pages in the preserved-page map; null without a map"),
        Column("owned_pages", "integer", "of these, pages that have an owner"),
        Column("unowned_pages", "integer", "of these, pages without an owner: leaks"),
        Column("unpreserved_pages", "integer", "pages that are referenced but not preserved"),
        Column("double_owned_pages", "integer", "pages with more than one owner"),
        Column("sessions", "integer", "number of sessions; null without live update state"),
        Column("files", "integer", "number of files in all sessions"),
        Column("errors", "integer", "findings of severity error"),
        Column("warnings", "integer", "findings of severity warning"),
        Column("notes", "integer", "findings of severity note"),
        Column("seconds", "number", "time that decoding, checking and judging took"),
        Column("scanned", "time", "when it was scanned"),
        Column("khotool", "text", "version of khotool that scanned it"),
        Column("settings", "text", "digest of the scan's settings; others mean a new scan"),
        Column("labels", "labels", "what --label found in the name"),
    ),
    "entries": (
        _IMAGE,
        Column("name", "text", "name of the entry of the KHO root"),
        Column("address", "text", "physical address of its blob, hexadecimal; null if not known"),
        Column("size", "integer", "bytes of its blob; null if not known"),
        Column("format", "text", "id of its definition; null for an unknown format"),
    ),
    "sessions": (
        _IMAGE,
        Column("name", "text", "name of the session"),
        Column("files", "integer", "number of its files"),
        Column("bytes", "integer", "preserved memory that its files own, in bytes"),
    ),
    "files": (
        _IMAGE,
        Column("session", "text", "name of its session"),
        Column("token", "text", "token, hexadecimal"),
        Column("handler", "text", "compatible string of its handler"),
        Column("format", "text", "id of the definition that reads it; null for an unknown handler"),
        Column("bytes", "integer", "preserved memory that it owns, in bytes"),
        Column("folios", "integer", "folios that it names; null where it names none"),
        Column("orders", "orders", "preserved ranges that it owns: blocks by page order"),
    ),
    "findings": (
        _IMAGE,
        Column("rule", "text", "id of the rule"),
        Column("slug", "text", "name of the rule"),
        Column("severity", "text", "error, warning or note"),
        Column("path", "text", "where in the image"),
        Column("address", "text", "physical address, hexadecimal; null where there is none"),
        Column("evidence", "text", "what was found"),
    ),
    "verdicts": (
        _IMAGE,
        Column("kernel", "text", "release that was asked for"),
        Column("outcome", "text", "what this kernel would do, as khotool check says it"),
        Column("stage", "text", "first stage with this outcome; null for accept"),
        Column("reason", "text", "what the kernel prints there, or why; null for accept"),
    ),
    "owners": (
        _IMAGE,
        Column("owner", "text", "path of the owner; null for pages without an owner"),
        Column("bytes", "integer", "preserved memory in bytes"),
    ),
}
"""Tables by name; each is ``NAME.parquet``, and a view of that name in a query."""


def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema of a table; every column may be null but ``image``."""
    import pyarrow as pa

    types: dict[Type, pa.DataType] = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "time": pa.timestamp("ms"),
        "labels": pa.map_(pa.string(), pa.string()),
        "orders": pa.map_(pa.int32(), pa.int64()),
    }
    return pa.schema(
        pa.field(
            column.name,
            types[column.type],
            nullable=column is not _IMAGE,
            metadata={"description": column.doc},
        )
        for column in TABLES[table]
    )


def arrow_rows(table: str, rows: list[Row]) -> pa.RecordBatch:
    """Rows as Arrow has them.

    Args:
        rows: by column name; times in milliseconds since 1970 UTC, maps as objects with text keys.
    """
    import pyarrow as pa

    schema = arrow_schema(table)
    columns = []
    for column, arrow in zip(TABLES[table], schema, strict=True):
        values = [row.get(column.name) for row in rows]
        if column.type == "text":
            values = [None if v is None else _utf8(v) for v in values]
        elif column.type == "labels":
            values = [None if v is None else sorted(v.items()) for v in values]
        elif column.type == "orders":
            values = [
                None if v is None else sorted((int(k), n) for k, n in v.items()) for v in values
            ]
        columns.append(pa.array(values, arrow.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _utf8(text: str) -> str:
    """A text without what UTF-8 cannot have: half characters of a name or message."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
