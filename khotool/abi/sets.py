"""Read the list of ABI sets, ``formats/sets.toml``."""

from __future__ import annotations

from khotool.abi.definition import AbiSet, Behaviour
from khotool.abi.load import STATUSES, definition_error, made_of
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
    return made_of(
        AbiSet,
        table,
        first=releases.text("first", ""),
        last=releases.text("last", ""),
        root_writer=table.choice("root_writer", WRITERS, "read-write"),
        layouts=table.named_texts("layouts"),
        entries=table.named_texts("entries"),
        status=table.choice("status", STATUSES, "merged"),
        behaviour=made_of(Behaviour, table.table("behaviour")),
    )
