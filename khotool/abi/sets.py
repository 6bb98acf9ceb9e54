"""Read the list of ABI sets, ``formats/sets.toml``."""

from __future__ import annotations

from khotool.abi.definition import AbiSet, Behaviour
from khotool.abi.load import STATUSES, definition_error
from khotool.records import fields
from khotool.structured import Document, StructuredError, Table, read_document

WRITERS = ("sequential", "read-write")


def load_sets(text: bytes, source: str) -> list[AbiSet]:
    """Parse the list of ABI sets.

    Raises:
        DefinitionError: as ``load_definition``.
    """
    try:
        document = read_document(text, source)
        sets = read_sets(document)
        document.finish()
    except StructuredError as error:
        raise definition_error(error) from None
    return sets


def read_sets(document: Document) -> list[AbiSet]:
    """Read a list of ABI sets; mistakes are noted in the document."""
    return [_set(table) for table in document.root.tables("set")]


def _set(table: Table) -> AbiSet:
    releases = table.table("releases")
    return AbiSet(
        id=table.text("id"),
        first=releases.text("first", ""),
        last=releases.text("last", ""),
        root=table.text("root"),
        root_writer=table.choice("root_writer", WRITERS, "read-write"),
        layouts=table.named_texts("layouts"),
        entries=table.named_texts("entries"),
        nodes=table.texts("nodes"),
        files=table.texts("files"),
        flbs=table.texts("flbs"),
        status=table.choice("status", STATUSES, "merged"),
        behaviour=_behaviour(table.table("behaviour")),
    )


def _behaviour(table: Table) -> Behaviour:
    return Behaviour(
        **{key.name: table.boolean(key.name, bool(key.default)) for key in fields(Behaviour)}
    )
