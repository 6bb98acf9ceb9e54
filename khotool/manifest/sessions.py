"""The live update orchestrator of a manifest: sessions, their files, and FLBs."""

from __future__ import annotations

from typing import Any

from khotool.abi.definition import AbiSet, Definition, Kind
from khotool.abi.registry import Registry
from khotool.handover.values import EntryValue, Handle
from khotool.manifest.entries import identity
from khotool.manifest.fields import FORMAT, FieldReader
from khotool.manifest.memory_file import MEMORY
from khotool.structured import Table

NAME = 47
"""Bytes of the string of a file handler or FLB."""
SESSION = 63
"""Bytes of the name of a session."""


def luo(reader: FieldReader, root: Table, identifier: str) -> EntryValue:
    """The orchestrator's entry, which a kernel that has one always writes.

    Args:
        identifier: of the definition by which the set writes it.
    """
    sessions = [_session(reader, table) for table in root.tables("session")]
    files = sum(len(session["files"]) for session in sessions)
    flbs = [_flb(reader, table, files) for table in root.tables("flb")]
    values: dict[str, Any] = {"sessions": sessions, "flbs": flbs}
    labels = reader.content_labels(reader.registry.get(identifier))
    if "liveupdate_number" in labels or "liveupdate_number" in root:
        values["liveupdate_number"] = root.integer("liveupdate_number", 1, sizes=True)
    if flbs and identifier == "luo-v1" and "luo-flb-v1" not in reader.abi.nodes:
        root["flb"].mistake(f"set {reader.abi.id} does not carry FLBs")
    if "sessions" not in labels:
        # An orchestrator without sessions is described as an entry of its own.
        for key in ("session", "flb"):
            if key in root:
                root[key].mistake(f"{identifier} has no sessions; use [[entry]]")
        values = {key: value for key, value in values.items() if key in labels}
    return EntryValue("LUO", identifier, values)


def _flb(reader: FieldReader, table: Table, files: int) -> dict[str, Any]:
    """One file-lifecycle-bound object."""
    name = identity(table, NAME)
    result: dict[str, Any] = {"name": name, "count": table.integer("count", files, sizes=True)}
    if "fields" in table:
        definition = reader.handler(Kind.FLB, name, table)
        if definition is None:
            table["fields"].mistake(f"no definition of {name!r:.60}")
            table.table("fields").know(*table.table("fields"))
        else:
            values = reader.content(definition, table.table("fields"))
            result["data"] = Handle(values, format=definition.id)
    elif "data" in table:
        result["data"] = table.integer("data", sizes=True)
    return result


def _session(reader: FieldReader, table: Table) -> dict[str, Any]:
    """One session."""
    files = [_file(reader, item) for item in table.tables("file")]
    return {"name": identity(table, SESSION), "files": files}


def _file(reader: FieldReader, table: Table) -> dict[str, Any]:
    """One preserved file."""
    usual = usual_handler(reader.abi, reader.registry)
    named = "handler" in table or not usual
    handler = table.text("handler", limit=NAME) if named else usual
    result: dict[str, Any] = {"handler": handler, "token": table.integer("token", sizes=True)}
    definition = reader.handler(Kind.FILE, handler, table)
    if definition is None:
        result["data"] = Handle(None, table.integer("data", 0, sizes=True))
        for key in ("fields", *MEMORY):
            if key in table and handler:
                table[key].mistake(f"no definition says what this is in a file of {handler!r:.60}")
        table.table("fields").know(*table.table("fields"))
        return result
    if "data" in table or definition.content in ("none", "literal"):
        literal = table.integer("data", 0, sizes=True)
        result["data"] = Handle(None, literal, definition.id)
        return result
    result["data"] = Handle(_contents(reader, definition, table), format=definition.id)
    return result


def usual_handler(abi: AbiSet, registry: Registry) -> str:
    """The string of the handler that a set's files have unless they say otherwise, or nothing."""
    if not abi.files:
        return ""
    return registry.get(abi.files[0]).match["compatible"][0]


def _contents(reader: FieldReader, definition: Definition, table: Table) -> dict[str, Any]:
    """Values of what the handle of a file leads to."""
    table.know(*MEMORY, "fields", "data", FORMAT)
    values = reader.content(definition, table.table("fields"))
    if "folios" in reader.content_labels(definition) and "folios" not in values:
        return values | reader.memory_file(definition, table)
    for key in MEMORY:
        if key in table:
            table[key].mistake(f"no effect: the fields of {definition.id} say what is preserved")
    return values
