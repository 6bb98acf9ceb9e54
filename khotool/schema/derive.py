"""JSON Schema from typed dictionaries."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from enum import StrEnum
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from khotool.absent import Reason
from khotool.records import dataclass

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PLAIN = {str: "string", int: "integer", bool: "boolean", float: "number", type(None): "null"}

Schema = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Says:
    """Further keywords of a schema, for ``Annotated``."""

    keywords: tuple[tuple[str, object], ...]


def says(**keywords: object) -> Says:
    """Keywords such as ``pattern`` or ``minimum``."""
    return Says(tuple(keywords.items()))


def one_of(names: typing.Iterable[object]) -> Says:
    """One of some strings."""
    return says(enum=tuple(str(name) for name in names))


Hex = Annotated[str, says(pattern="^0x[0-9a-f]+$")]
"""An address, token or other 64-bit handle."""
Size = Annotated[int, says(minimum=0)]
"""Bytes, pages, or some other count."""


class Absent(typing.TypedDict):
    """A value that could not be read."""

    absent: Annotated[str, one_of(Reason)]
    detail: str


class Free(typing.TypedDict):
    """An object whose keys depend on a definition."""


EXTENDED: set[type] = set()
"""Typed dictionaries with further keys, which depend on something in them."""


def extended(kind: type[T]) -> type[T]:
    """Mark a typed dictionary as one with further keys."""
    EXTENDED.add(kind)
    return kind


class Head(typing.TypedDict):
    """What every document starts with."""

    schema: str
    khotool: Annotated[str, "version of khotool that wrote the document"]


def schema_of(root: type, *, identifier: str = "", closed: bool = False) -> Schema:
    """The JSON Schema of a typed dictionary.

    Args:
        identifier: value of the key ``schema``, for documents that khotool writes.
        closed: keys that are not declared are mistakes. For documents that people write, and in
            tests; those that khotool writes may gain keys within a version.
    """
    maker = _Maker(closed)
    made = maker.table(root)
    if identifier:
        made["properties"]["schema"] = {"const": identifier}
    return {"$schema": DIALECT, "title": identifier or root.__name__, **made, "$defs": maker.found}


class _Maker:
    """Collects the schemas of named types on the way."""

    def __init__(self, closed: bool) -> None:
        self.closed = closed
        self.found: dict[str, Schema] = {}

    def table(self, kind: type) -> Schema:
        """A typed dictionary; one without keys takes any."""
        doc, _, about = (inspect.getdoc(kind) or "").partition("\n\nArgs:\n")
        made: Schema = {"type": "object"}
        if doc:
            made["description"] = " ".join(doc.split())
        properties: dict[str, Schema] = {}
        required = []
        told, optional = _described(about), _with_default(kind)
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            needed = getattr(kind, "__total__", name not in optional)
            if get_origin(hint) in (NotRequired, Required):
                needed, hint = get_origin(hint) is Required, get_args(hint)[0]
            # Keys such as `as` and `fail-on` are not names in Python.
            key = name.rstrip("_").replace("__", "-")
            parts = [part for part in get_args(hint) if part is not type(None)]
            if told and isinstance(hint, types.UnionType):
                # In a data class None is a key that is not given.
                hint = Union[tuple(parts)]  # noqa: UP007
            properties[key] = self.of(hint) | told.get(name, {})
            if needed:
                required.append(key)
        if properties:
            made["properties"] = properties
            if required:
                made["required"] = required
            if self.closed and kind not in EXTENDED:
                made["additionalProperties"] = False
        return made

    def of(self, hint: Any) -> Schema:
        """The schema of any type."""
        if hint in PLAIN:
            return {"type": PLAIN[hint]}
        if typing.is_typeddict(hint) or dataclasses.is_dataclass(hint):
            return self.named(hint)
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            return {"enum": [str(value) for value in hint]}
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self.of(inner[0]) | _keywords(inner[1:])
        if origin is Literal:
            # Data classes have an empty string where a document has no key.
            return {"enum": [value for value in inner if value != ""]}
        if origin in (list, tuple):
            return {"type": "array", "items": self.of(inner[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if origin in (Union, types.UnionType):
            return _either([self.of(part) for part in inner])
        assert hint in (Any, object), hint
        return {}

    def named(self, kind: type) -> Schema:
        """A reference to a schema of its own."""
        if kind.__name__ not in self.found:
            self.found[kind.__name__] = {}
            self.found[kind.__name__] = self.table(kind)
        return {"$ref": f"#/$defs/{kind.__name__}"}


def _with_default(kind: type) -> set[str]:
    """Fields of a data class that need not be given."""
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    return {one.name for one in fields if one.default is not dataclasses.MISSING}


def _described(about: str) -> dict[str, Schema]:
    """Descriptions of fields, by the section ``Args`` of a data class."""
    entries = re.findall(r"^    (\w[\w, ]*): ((?:.*\n?)(?:        .*\n?)*)", about, re.M)
    return {
        name: {"description": " ".join(text.split()).rstrip(".").replace("``", "`")}
        for names, text in entries
        for name in names.split(", ")
    }


def _keywords(notes: tuple[object, ...]) -> Schema:
    made: Schema = {}
    for note in notes:
        if isinstance(note, str):
            made["description"] = note
        elif isinstance(note, Says):
            made |= {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in note.keywords
            }
    return made


def _either(parts: list[Schema]) -> Schema:
    """One of several; plain types become a list of types."""
    if all(set(part) == {"type"} for part in parts):
        return {"type": [part["type"] for part in parts]}
    return {"anyOf": parts}
