"""Documents that commands write with ``--json`` about khotool: definitions, rules, settings."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from khotool.abi.definition import Kind
from khotool.abi.load import STATUSES
from khotool.findings import Severity
from khotool.schema.derive import Free, Head, Hex, one_of


class Origin(TypedDict):
    """Where a definition comes from."""

    kind: str
    name: str | None
    file: str


class Format(TypedDict):
    """A definition in a list."""

    id: str
    kind: Annotated[str, one_of(Kind)]
    status: Annotated[str, one_of(STATUSES)]
    first: str | None
    last: str | None
    title: str
    from_: Origin


class ShownLayout(TypedDict):
    """A layout of a definition."""

    name: str
    doc: str
    first: str | None
    last: str | None
    parameters: dict[str, int | str]


class ShownStruct(TypedDict):
    """A struct, with fields at their offsets in bytes."""

    name: str
    size: int
    doc: str
    fields: list[Free]


class Formats(Head, total=False):
    """What `khotool formats list --json` and `formats show --json` write."""

    formats: list[Format]
    id: str
    kind: Annotated[str, one_of(Kind)]
    status: Annotated[str, one_of(STATUSES)]
    first: str | None
    last: str | None
    title: str
    from_: Origin
    doc: str
    unverified: str | None
    verified: str | None
    header: str
    match: dict[str, list[str]]
    uses: list[str]
    page_size: int
    layouts: list[ShownLayout]
    structs: list[ShownStruct]
    fdt: Free | None
    literals: dict[str, Hex]


class Rule(TypedDict):
    """A rule of `khotool check`."""

    id: str
    slug: str
    severity: Annotated[str, one_of(Severity)]
    what: str
    why: str
    example: str
    do: str


class Rules(Head):
    """What `khotool rules --json` writes."""

    rules: list[Rule]


class Explain(Head, Rule):
    """What `khotool explain --json` writes."""


class Setting(TypedDict):
    """A setting that applies."""

    key: str
    value: Any
    from_: Annotated[str, "file:line, or `default`"]


class Settings(Head):
    """What `khotool config --json` writes."""

    settings: list[Setting]
