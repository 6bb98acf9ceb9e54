"""Read definition files: TOML whose structs are laid out in C."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, cast

from khotool.abi.c_layout import Layout as CLayout
from khotool.abi.c_layout import Member, parse_layout
from khotool.abi.consistency import consistency_mistakes
from khotool.abi.definition import (
    Allocate,
    Condition,
    Definition,
    Field,
    FieldType,
    Holds,
    Kind,
    Layout,
    NodeType,
    Null,
    Reference,
    Shape,
    Struct,
)
from khotool.abi.names import NameSets, read_name_sets, shared_names
from khotool.abi.types import parse_type
from khotool.errors import DefinitionError
from khotool.records import dataclass, field, fields
from khotool.structured import Document, StructuredError, Table, Value, read_document
from khotool.structured.values import REQUIRED

MAX_BYTES = 1 << 20
"""Bytes of a definition file."""
MAX_STRUCT = 1 << 20
"""Bytes of a struct."""
STATUSES = ("merged", "queued", "development", "historical", "experimental", "local")
ROLES = (
    "address",
    "pfn",
    "page-index",
    "count",
    "bytes",
    "pages",
    "order",
    "token",
    "handle",
    "flags",
    "counter",
    "checksum",
    "magic",
    "position",
    "bits",
    "name",
    "kernel-pointer",
    "bdf",
)
PACKED = ("sequential", "read-write", "open")
NULLS = ("error", "empty", "allowed", "handler")
LOWEST = -(1 << 63)
"""Lowest integer of a definition."""
T = TypeVar("T")
READ: dict[str, Callable[[Table, str, Any], Any]] = {
    "str": lambda table, key, default: table.text(key, default),
    "bool": lambda table, key, default: table.boolean(key, default),
    "int": lambda table, key, default: table.integer(key, default),
    "int | None": lambda table, key, _: table.optional_integer(key, least=LOWEST),
    "tuple[str, ...]": lambda table, key, _: table.texts(key),
}
"""How a field of a data class is read from a key of the same name, by its type as written."""
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(slots=True)
class DefinitionFile:
    """A definition with the document that it was read from.

    Args:
        definition: with harmless values in the place of wrong ones, if there are mistakes.
        names: flag sets, enums and constants that its fields refer to.
        lines: line of each member within its struct's layout, counted from 1.
    """

    document: Document
    names: NameSets
    lines: dict[tuple[str, str], int] = field(default_factory=dict)
    definition: Definition = field(init=False)

    def add_mistake(self, path: tuple[str | int, ...], message: str) -> None:
        """Note a mistake; one about a member without a meaning is put at its line of C."""
        if len(path) == 4 and path[0] == "struct" and path[2] == "fields":
            struct, member = str(path[1]), str(path[3])
            meanings = self.document.root.table("struct").table(struct).table("fields")
            if member not in meanings and (struct, member) in self.lines:
                line = self.lines[struct, member]
                self.document.add(("struct", struct, "layout"), f"{member}: {message}", line=line)
                return
        self.document.add(path, message)


def load_definition(text: bytes, source: str) -> Definition:
    """Parse and validate one definition file.

    Args:
        text: the TOML document, UTF-8.
        source: name used in errors.

    Raises:
        DefinitionError: has all mistakes of the file, each with line and key.
    """
    try:
        file = read_definition(read_document(text, source, limit=MAX_BYTES))
        file.document.finish()
    except StructuredError as error:
        raise definition_error(error) from None
    return file.definition


def definition_error(error: StructuredError) -> DefinitionError:
    """The mistakes of a document as those of a definition."""
    first = error.mistakes[0]
    where = f"{first.file}:{first.line}" if first.line else first.file
    text = str(error).removeprefix(f"{where}: ")
    return DefinitionError(where, text, [str(mistake) for mistake in error.mistakes])


def read_definition(document: Document) -> DefinitionFile:
    """Read one definition; its mistakes are noted in the document."""
    top = document.root
    file = DefinitionFile(document, read_name_sets(top))
    releases = top.table("releases")
    structs = top.named_tables("struct")
    fdt = top.table("fdt") if "fdt" in top else None
    file.definition = made_of(
        Definition,
        top,
        id=top.text("id"),
        title=top.text("title"),
        kind=Kind(top.choice("kind", Kind)),
        content=top.text("content"),
        status=top.choice("status", STATUSES),
        header=top.text("header", ""),
        first=releases.text("first", ""),
        last=releases.text("last", ""),
        doc=top.text("doc", "").strip(),
        source=document.name,
        match={key: _match(value) for key, value in top.table("match").values()},
        limits=top.named_integers("limits", least=LOWEST),
        literals=top.named_integers("literals", least=LOWEST),
        depends=top.named_texts("depends"),
        allocate=made_of(Allocate, top.table("allocate")) if "allocate" in top else None,
        probe=tuple(_condition(table) for table in top.tables("probe")),
        scratch=top.choice("scratch", ("array", "region"), "array"),
        packed_tree=top.choice("packed_tree", PACKED, "sequential"),
        unverified=top.text("unverified", "").strip(),
        pinned=top.text("pinned", "").strip(),
        verified=top.text("verified", "").strip(),
        layouts={name: _layout(table, name) for name, table in top.named_tables("layouts").items()},
        structs={name: _struct(file, table, name) for name, table in structs.items()},
        fdt=_node(file, fdt) if fdt is not None else None,
    )
    document.close_tables()
    for path, message in consistency_mistakes(file.definition, document.is_wrong):
        file.add_mistake(path, message)
    return file


def made_of(made: type[T], table: Table, /, **given: Any) -> T:
    """A data class whose fields are keys of a table, but for those that are given."""
    for one in fields(made):  # type: ignore[arg-type]
        if one.name not in given:
            default = one.default if isinstance(one.default, str | int) else REQUIRED
            given[one.name] = READ[str(one.type)](table, one.name, default)
    return made(**given)


def _match(value: Value) -> tuple[str, ...]:
    return (value.raw,) if isinstance(value.raw, str) else value.texts()


def _condition(table: Table) -> Condition:
    if not table:
        table.mistake("a probe condition needs at least one key")
    equals = table.get("equals")
    return made_of(
        Condition,
        table,
        handle=table.choice("handle", ("zero", "address"), ""),
        map=table.choice("map", ("root",), ""),
        equals=_equals(equals) if equals is not None else None,
    )


def _equals(value: Value) -> int | str:
    return value.raw if isinstance(value.raw, str) else value.integer(least=LOWEST)


def _layout(table: Table, name: str) -> Layout:
    releases = table.table("releases")
    return Layout(
        name=name,
        doc=table.text("doc", ""),
        first=releases.text("first", ""),
        last=releases.text("last", ""),
        parameters={
            key: value.raw if isinstance(value.raw, str) else value.integer()
            for key, value in table.table("parameters").values()
        },
    )


# -- structs ---------------------------------------------------------------------------------


def _struct(file: DefinitionFile, table: Table, name: str) -> Struct:
    tag = name if _IDENTIFIER.fullmatch(name) else "unnamed"
    if tag != name:
        table.mistake(f"{name!r:.60} is not the name of a struct in C")
    text = table["layout"]
    layout = parse_layout(text.text(), tag, file.names.constants)
    for problem in layout.problems:
        text.mistake(problem.text, line=problem.line, column=problem.column)
    meanings = table.named_tables("fields")
    members = [_member(file, member, meanings, table, name) for member in layout.members]
    known = _names_of(layout)
    for member, meaning in meanings.items():
        if member not in known:
            meaning.ignore()
            if not text.is_wrong:
                meaning.unknown(f"struct {name} has no member {member!r:.60}", known, member)
    return made_of(
        Struct,
        table,
        name=name,
        fields=tuple(members),
        size=_size(table),
        doc=table.text("doc", layout.doc),
        packed=table.boolean("packed", layout.packed is not False),
    )


def _names_of(layout: CLayout) -> list[str]:
    return [part.name for member in layout.members for part in member.parts or (member,)]


def _size(table: Table) -> int | Literal["page"]:
    value = table.get("size")
    if value is not None and value.raw == "page":
        return "page"
    if value is None:
        table.integer("size")
        return 1
    if type(value.raw) is not int or not 0 < value.raw <= MAX_STRUCT:
        value.mistake(f"expected a number of bytes from 1 to {MAX_STRUCT}, or 'page'")
        return 1
    return value.raw


def _member(
    file: DefinitionFile, member: Member, meanings: dict[str, Table], struct: Table, owner: str
) -> Field:
    if not member.parts:
        file.lines[owner, member.name] = member.line
        table = meanings.get(member.name) or _empty(struct, member.name)
        return _field(file, table, member.name, member.type, member.doc, fill=member.fill)
    parts = []
    for part in member.parts:
        file.lines[owner, part.name] = part.line
        table = meanings.get(part.name) or _empty(struct, part.name)
        parts.append(_field(file, table, part.name, None, part.doc, width=part.width))
    return Field(name=member.name, type=member.type, parts=tuple(parts))


def _empty(struct: Table, name: str) -> Table:
    """The meaning of a member that none is written for."""
    return struct.table("fields").table(name)


def _field(
    file: DefinitionFile,
    table: Table,
    name: str,
    kind: FieldType | None,
    doc: str,
    *,
    width: int | str = 0,
    fill: bool = False,
    of_tree: bool = False,
) -> Field:
    """A field by its meaning.

    Args:
        of_tree: it is a property.
    """
    return made_of(
        Field,
        table,
        name=name,
        type=kind,
        doc=doc,
        alias=table.text("as", ""),
        role=table.choice("role", ROLES, ""),
        points_to=_reference(table.table("points_to")) if "points_to" in table else None,
        null=cast("Null", table.choice("null", NULLS, "error")),
        holds=made_of(Holds, table.table("holds")) if "holds" in table else None,
        parts=(),
        width=width,
        in_place=table.boolean("in_place") if width else False,
        fill="page" if fill else "",
        layout=table.text("layout", "") if of_tree else "",
        optional=table.boolean("optional") if of_tree else False,
        flags=_named(table, "flags", file.names.flags),
        enum=_named(table, "enum", file.names.enums),
    )


def _named(table: Table, key: str, sets: Mapping[str, dict[str, int]]) -> dict[str, int]:
    """A set of names: that of a name in this file, else one that khotool ships, or a table."""
    value = table.get(key)
    if value is None:
        return {}
    if not isinstance(value.raw, str):
        return table.named_integers(key, least=LOWEST)
    shared = shared_names().flags if key == "flags" else shared_names().enums
    found = sets.get(value.raw, shared.get(value.raw))
    if found is None:
        value.unknown(f"{key} {value.raw!r:.60} is not defined", {**shared, **sets})
        return {}
    return dict(found)


def _reference(table: Table) -> Reference:
    return made_of(Reference, table, shape=Shape(table.choice("shape", Shape)))


# -- trees -----------------------------------------------------------------------------------


def _node(file: DefinitionFile, table: Table) -> NodeType:
    named = table.table("name") if "name" in table else None
    others = table.table("any_property") if "any_property" in table else None
    return made_of(
        NodeType,
        table,
        properties=_properties(file, table.table("properties")),
        nodes={name: _node(file, child) for name, child in table.named_tables("node").items()},
        any_node=_node(file, table.table("nodes")) if "nodes" in table else None,
        any_property=_property(file, others, others.text("name", "")) if others else None,
        name=_property(file, named, named.text("name", "name")) if named else None,
        alias=table.text("as", ""),
    )


def _properties(file: DefinitionFile, table: Table) -> tuple[Field, ...]:
    """Properties by name; several tables of one name are that of several layouts."""
    found: list[Field] = []
    for name, value in table.values():
        rows = value.tables() if isinstance(value.raw, list) else [value.table()]
        found += [_property(file, row, name) for row in rows]
    return tuple(found)


def _property(file: DefinitionFile, table: Table, name: str) -> Field:
    value = table["type"]
    text = value.text()
    kind = FieldType("bytes", "bytes")
    if not value.is_wrong:
        try:
            kind = parse_type(text)
        except ValueError as error:
            value.mistake(str(error))
    return _field(file, table, name, kind, table.text("doc", ""), of_tree=True)
