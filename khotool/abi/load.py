"""Read definition files; every key outside the vocabulary is an error that names its place."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar, cast

from khotool.abi.consistency import check_consistent
from khotool.abi.definition import (
    AbiSet,
    Behaviour,
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
from khotool.abi.toml import parse_number, read_toml
from khotool.errors import DefinitionError

T = TypeVar("T")

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
_INT = re.compile(r"^(be)?([us])(8|16|32|64)(?:\[([0-9]{1,6})\])?$")
_CHAR = re.compile(r"^char\[([1-9][0-9]{0,8})\]$")
_BYTES = re.compile(r"^bytes\[([0-9]{1,9})\]$")
_ARRAY = re.compile(r"^([A-Za-z_]\w*)\[\]$")
_STRUCT = re.compile(r"^([A-Za-z_]\w*)(?:\[([0-9]{1,6})\])?$")


class _Table:
    """A TOML table whose keys are taken one by one; what is left over is an error."""

    def __init__(self, where: str, data: object) -> None:
        if not isinstance(data, dict):
            raise DefinitionError(where, f"expected a table, found {type(data).__name__}")
        self.where = where
        self.data: dict[str, Any] = dict(data)

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        if key not in self.data:
            if default is None:
                raise DefinitionError(self.where, f"key {key!r} is missing")
            return default
        value = self.data.pop(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise DefinitionError(
                f"{self.where}.{key}", f"expected {kind.__name__}, found {type(value).__name__}"
            )
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self.take(key, str, default)
        if value not in allowed and value != default:
            raise DefinitionError(
                f"{self.where}.{key}", f"{value!r} is none of {', '.join(allowed)}"
            )
        return value

    def table(self, key: str) -> _Table:
        return _Table(f"{self.where}.{key}", self.data.pop(key, {}))

    def numbers(self, key: str) -> dict[str, int]:
        table = self.table(key)
        return {name: _number(f"{table.where}.{name}", v) for name, v in table.data.items()}

    def words(self) -> dict[str, str]:
        """All that is left, each a string."""
        return {key: self.take(key, str) for key in list(self.data)}

    def strings(self, key: str) -> tuple[str, ...]:
        value = self.take(key, list, [])
        if not all(isinstance(item, str) for item in value):
            raise DefinitionError(f"{self.where}.{key}", "expected a list of strings")
        return tuple(value)

    def done(self) -> None:
        if self.data:
            key = next(iter(self.data))
            raise DefinitionError(f"{self.where}.{key}", "this key has no meaning")


def load_definition(text: bytes, source: str) -> Definition:
    """Parse and validate one definition file.

    Args:
        text: the TOML document, UTF-8.
        source: name used in errors.

    Raises:
        DefinitionError: names file, key, what was found and what was expected.
    """
    return read_definition(_parse_toml(text, source), source)


def read_definition(document: dict[str, Any], source: str) -> Definition:
    """Validate one definition that is parsed already; the document stays as it is.

    Raises:
        DefinitionError: names file, key, what was found and what was expected.
    """
    top = _Table(source, document)
    kind = Kind(top.choice("kind", tuple(Kind)))
    releases = top.table("releases")
    first, last = releases.take("first", str, ""), releases.take("last", str, "")
    releases.done()
    definition = Definition(
        id=top.take("id", str),
        title=top.take("title", str),
        kind=kind,
        content=top.take("content", str),
        status=top.choice("status", STATUSES),
        header=top.take("header", str, ""),
        first=first,
        last=last,
        doc=top.take("doc", str, "").strip(),
        source=source,
        match=_match(top.table("match")),
        uses=top.strings("uses"),
        limits=top.numbers("limits"),
        literals=top.numbers("literals"),
        depends=top.table("depends").words(),
        allocate=_allocate(top.table("allocate")),
        probe=tuple(
            _condition(_Table(f"{source}.probe[{number}]", data))
            for number, data in enumerate(top.take("probe", list, []))
        ),
        segment=top.take("segment", bool, False),
        ranges=top.take("ranges", str, ""),
        scratch=top.choice("scratch", ("array", "region"), "array"),
        packed_tree=top.choice("packed_tree", PACKED, "sequential"),
        root_name=top.take("root_name", str, ""),
        unverified=top.take("unverified", str, "").strip(),
        layouts={
            name: _layout(_Table(f"{source}.layouts.{name}", data), name)
            for name, data in top.table("layouts").data.items()
        },
        structs={
            name: _struct(_Table(f"{source}.struct.{name}", data), name)
            for name, data in top.table("struct").data.items()
        },
        fdt=_node(_Table(f"{source}.fdt", top.data.pop("fdt"))) if "fdt" in top.data else None,
    )
    top.done()
    check_consistent(definition)
    return definition


def load_sets(text: bytes, source: str) -> list[AbiSet]:
    """Parse the list of ABI sets.

    Raises:
        DefinitionError: as ``load_definition``.
    """
    return read_sets(_parse_toml(text, source), source)


def read_sets(document: dict[str, Any], source: str) -> list[AbiSet]:
    """Validate a list of ABI sets that is parsed already.

    Raises:
        DefinitionError: as ``load_definition``.
    """
    top = _Table(source, document)
    sets = []
    for number, data in enumerate(top.take("set", list, [])):
        table = _Table(f"{source}.set[{number}]", data)
        releases = table.table("releases")
        first, last = releases.take("first", str, ""), releases.take("last", str, "")
        sets.append(
            AbiSet(
                id=table.take("id", str),
                first=first,
                last=last,
                root=table.take("root", str),
                root_writer=table.choice("root_writer", ("sequential", "read-write"), "read-write"),
                layouts=table.table("layouts").words(),
                entries=table.table("entries").words(),
                nodes=table.strings("nodes"),
                files=table.strings("files"),
                flbs=table.strings("flbs"),
                status=table.choice("status", STATUSES, "merged"),
                behaviour=_behaviour(table.table("behaviour")),
            )
        )
        releases.done()
        table.done()
    top.done()
    return sets


def _behaviour(table: _Table) -> Behaviour:
    behaviour = Behaviour(
        needs_map=table.take("needs_map", bool, True),
        gives_up_with=table.take("gives_up_with", str, ""),
        keeps_file_errors=table.take("keeps_file_errors", bool, True),
    )
    table.done()
    return behaviour


def _parse_toml(text: bytes, source: str) -> dict[str, Any]:
    try:
        return read_toml(text)
    except ValueError as error:
        raise DefinitionError(source, f"not a TOML document: {error}") from None


def _number(where: str, value: object) -> int:
    # TOML integers end at 2^63 - 1, so larger numbers are written as hexadecimal strings.
    if isinstance(value, str):
        try:
            value = parse_number(value)
        except ValueError:
            raise DefinitionError(where, f"{value!r:.60} is not a number") from None
    if not isinstance(value, int) or isinstance(value, bool):
        raise DefinitionError(where, f"expected a number, found {type(value).__name__}")
    return value


def _match(table: _Table) -> dict[str, tuple[str, ...]]:
    return {
        key: (table.take(key, str),) if isinstance(value, str) else table.strings(key)
        for key, value in list(table.data.items())
    }


def _allocate(table: _Table) -> dict[str, int | str]:
    if not table.data:
        return {}
    rule: dict[str, int | str] = {
        "pages": table.take("pages", int, 0),
        "bytes": table.take("bytes", int, 0),
        "bytes_each": table.take("bytes_each", int, 0),
        "of": table.take("of", str, ""),
    }
    table.done()
    return rule


def _condition(table: _Table) -> Condition:
    if not table.data:
        raise DefinitionError(table.where, "a condition names a sign")
    equals = table.data.pop("equals", None)
    numbers = {
        key: _number(f"{table.where}.{key}", table.data.pop(key)) if key in table.data else None
        for key in ("length", "above", "blob", "order", "at_most", "at_least", "page_size")
    }
    condition = Condition(
        has=table.take("has", str, ""),
        lacks=table.take("lacks", str, ""),
        anywhere=table.take("anywhere", str, ""),
        multiple=table.take("multiple", int, 0),
        handle=table.choice("handle", ("zero", "address"), ""),
        field=table.take("field", str, ""),
        equals=equals
        if equals is None or isinstance(equals, str)
        else _number(f"{table.where}.equals", equals),
        aligned=table.take("aligned", bool, False),
        preserved=table.take("preserved", bool, False),
        rows=table.take("rows", str, ""),
        inside=table.take("inside", str, ""),
        root=table.take("root", str, ""),
        map=table.choice("map", ("root",), ""),
        asked=table.take("asked", bool, False),
        ends=table.take("ends", bool, False),
        **numbers,
    )
    table.done()
    return condition


def _layout(table: _Table, name: str) -> Layout:
    releases = table.table("releases")
    layout = Layout(
        name=name,
        doc=table.take("doc", str, ""),
        first=releases.take("first", str, ""),
        last=releases.take("last", str, ""),
        parameters=dict(table.table("parameters").data),
    )
    releases.done()
    table.done()
    return layout


def _struct(table: _Table, name: str) -> Struct:
    fields = tuple(
        _field(_Table(f"{table.where}.fields[{number}]", data))
        for number, data in enumerate(table.take("fields", list))
    )
    size = table.data.pop("size", None)
    if size != "page" and (
        not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= 1 << 20
    ):
        raise DefinitionError(f"{table.where}.size", "expected a number of bytes, or 'page'")
    struct = Struct(
        name=name,
        fields=fields,
        size=cast("int | Literal['page']", size),
        doc=table.take("doc", str, ""),
        key=table.take("key", str, ""),
        packed=table.take("packed", bool, True),
        unique=table.strings("unique"),
        unused=table.take("unused", str, ""),
    )
    table.done()
    return struct


def _node(table: _Table) -> NodeType:
    nodes = table.table("node")
    children = {
        name: _node(_Table(f"{nodes.where}.{name}", data)) for name, data in nodes.data.items()
    }
    any_node = _node(table.table("nodes")) if "nodes" in table.data else None
    named = table.table("name") if "name" in table.data else None
    others = table.table("any_property") if "any_property" in table.data else None
    node = NodeType(
        properties=tuple(
            _field(_Table(f"{table.where}.properties[{number}]", data))
            for number, data in enumerate(table.take("properties", list, []))
        ),
        nodes=children,
        any_node=any_node,
        any_property=_field(others) if others is not None else None,
        name=_field(named) if named is not None else None,
        inline=table.take("inline", bool, False),
        optional=table.take("optional", bool, False),
        format=table.take("format", str, ""),
        kind=table.take("kind", str, ""),
        alias=table.take("as", str, ""),
        doc=table.take("doc", str, ""),
    )
    table.done()
    return node


def _field(table: _Table) -> Field:
    if "bits" in table.data:
        return _bit_field(table)
    text = table.take("type", str)
    return _common(table, _type(table.where, text))


def _bit_field(table: _Table) -> Field:
    word = _type(table.where, table.take("bits", str))
    if word.kind != "int" or word.signed:
        raise DefinitionError(f"{table.where}.bits", "expected an unsigned integer type")
    parts = []
    for number, data in enumerate(table.take("parts", list)):
        part = _Table(f"{table.where}.parts[{number}]", data)
        width = part.data.pop("width", None)
        if width not in ("page_shift", "rest") and (
            not isinstance(width, int) or isinstance(width, bool) or not 0 < width <= word.size * 8
        ):
            raise DefinitionError(f"{part.where}.width", "expected bits, 'page_shift' or 'rest'")
        parts.append(_common(part, None, width=width))
    table.done()
    return Field(name=":".join(p.name for p in parts), type=word, parts=tuple(parts))


def _common(table: _Table, kind: FieldType | None, width: int | str = 0) -> Field:
    reference = _reference(table.table("points_to")) if "points_to" in table.data else None
    holds = table.table("holds") if "holds" in table.data else None
    expect = table.data.pop("expect", None)
    field = Field(
        name=table.take("name", str),
        type=kind,
        doc=table.take("doc", str, ""),
        alias=table.take("as", str, ""),
        role=table.choice("role", ROLES, ""),
        points_to=reference,
        null=cast("Null", table.choice("null", NULLS, "error")),
        holds=Holds(holds.take("of", str), holds.take("count", str, "")) if holds else None,
        width=width,
        in_place=table.take("in_place", bool, False),
        fill=table.choice("fill", ("page",), ""),
        layout=table.take("layout", str, ""),
        value=table.take("value", str, ""),
        expect=None if expect is None else _number(f"{table.where}.expect", expect),
        flags=table.numbers("flags"),
        enum=table.numbers("enum"),
        optional=table.take("optional", bool, False),
        reserved=table.take("reserved", bool, False),
        unique=table.take("unique", bool, False),
        nonempty=table.take("nonempty", bool, False),
        counts=table.take("counts", str, ""),
        whole_pages=table.take("whole_pages", bool, False),
        component=table.take("component", bool, False),
        preserved=table.take("preserved", bool, True),
    )
    if holds:
        holds.done()
    table.done()
    return field


def _reference(table: _Table) -> Reference:
    reference = Reference(
        shape=Shape(table.choice("shape", tuple(Shape))),
        of=table.take("of", str, ""),
        header=table.take("header", str, ""),
        count=table.take("count", str, ""),
        size=table.take("size", str, ""),
        order=table.take("order", str, ""),
        kind=table.take("kind", str, ""),
        by=table.take("by", str, ""),
        pages=table.take("pages", int, 1),
        format=table.take("format", str, ""),
        level=table.take("level", str, ""),
        levels=table.take("levels", int, 0),
        pgcnt=table.take("pgcnt", str, ""),
        inline=table.take("inline", bool, False),
    )
    table.done()
    return reference


def _type(where: str, text: str) -> FieldType:
    if match := _INT.match(text):
        big, sign, bits, count = match.groups()
        return FieldType(
            "int", text, int(bits) // 8, sign == "s", bool(big), count=_elements(where, count)
        )
    if match := _CHAR.match(text):
        return FieldType("char", text, int(match[1]))
    if match := _BYTES.match(text):
        return FieldType("bytes", text, int(match[1]))
    if text == "bytes[]":
        return FieldType("array", text)
    if text in ("string", "bytes"):
        return FieldType(cast("Literal['string', 'bytes']", text), text)
    if match := _ARRAY.match(text):
        return FieldType("array", text, struct=match[1])
    if match := _STRUCT.match(text):
        return FieldType("struct", text, struct=match[1], count=_elements(where, match[2]))
    raise DefinitionError(f"{where}.type", f"{text!r} is not a type")


def _elements(where: str, text: str | None) -> int:
    if text is None:
        return 0
    if not 0 < int(text) <= 65536:
        raise DefinitionError(f"{where}.type", "an array has 1 to 65536 elements")
    return int(text)
