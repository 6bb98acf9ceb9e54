"""Check definition files beyond their vocabulary: what they refer to exists, and compiles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from typing import Any

from khotool.abi.definition import AbiSet, Definition, Field, Reference, Shape, Struct
from khotool.abi.geometry import PAGE_SIZES, Geometry
from khotool.abi.load import read_sets
from khotool.abi.mend import load_past_errors, message_of, place_of
from khotool.abi.registry import SETS_FILE, Registry, toml_files
from khotool.abi.toml import read_toml
from khotool.abi.toml_lines import key_lines
from khotool.errors import DefinitionError

_LINE = re.compile(r"\(at line (\d+), column \d+\)$")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a definition file.

    Args:
        line: where the table, field or key at fault stands, counted from 1.
    """

    source: str
    line: int
    where: str
    message: str


class File:
    """A file of definitions while it is checked.

    Args:
        source: name used in faults.
        raw: its contents.
    """

    def __init__(self, source: str, raw: bytes) -> None:
        self.source = source
        self.text = raw.decode("utf-8", "replace")
        self.faults: list[Fault] = []
        self.document: dict[str, Any] = {}
        self.definition: Definition | None = None
        self.touched: set[str] = set()
        self.lines: dict[str, int] = {}
        try:
            self.document = read_toml(raw)
        except ValueError as error:
            self.faults.append(Fault(source, self._line_of(str(error)), "", f"not TOML: {error}"))
            return
        self.lines = key_lines(self.text)
        _name_lines(self.document, self.lines)

    def _line_of(self, message: str) -> int:
        match = _LINE.search(message)
        if match is not None:
            return int(match[1])
        return self.text.count("\n") + 1 if "end of document" in message else 1

    def add(self, where: str, message: str) -> None:
        """Note a fault, at the line of its place or of what is around that."""
        place = where
        while place and place not in self.lines:
            # The last name, or the last index, goes.
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        self.faults.append(Fault(self.source, self.lines.get(place, 1), where, message))

    def load(self) -> None:
        """Read the definition, and note all that is outside of the vocabulary."""
        if self.faults:
            return
        mended = load_past_errors(self.document, self.source)
        for error in mended.errors:
            self.add(place_of(error, self.source), message_of(error))
        self.definition, self.touched = mended.definition, mended.touched

    def load_sets(self) -> list[tuple[str, AbiSet]]:
        """Sets that are right by themselves, with their places; the others are faults."""
        rows = self.document.get("set", [])
        if set(self.document) - {"set"} or not isinstance(rows, list):
            try:
                read_sets(self.document, self.source)
            except DefinitionError as error:
                self.add(place_of(error, self.source), message_of(error))
            return []
        found = []
        for number, row in enumerate(rows):
            try:
                found += [(f"set[{number}]", abi) for abi in read_sets({"set": [row]}, self.source)]
            except DefinitionError as error:
                where = place_of(error, self.source).replace("set[0]", f"set[{number}]", 1)
                self.add(where, message_of(error))
        return found


def check_folder(folder: Traversable, known: Registry) -> tuple[int, list[Fault]]:
    """Every definition in a folder, or a single file: files read, and all faults.

    A file ``sets.toml`` is checked too, but is no definition.

    Args:
        known: definitions that those of the folder may refer to.
    """
    found = toml_files(folder, "") if folder.is_dir() else [(folder.name, folder.read_bytes())]
    files = [File(source, raw) for source, raw in sorted(found)]
    sets = [file for file in files if file.source == SETS_FILE]
    others = [file for file in files if file.source != SETS_FILE]
    for file in others:
        file.load()
    ids = set(known.definitions) | {f.definition.id for f in others if f.definition is not None}
    for file in others:
        _check_uses(file, ids)
    registry = Registry([*known, *(f.definition for f in others if f.definition is not None)])
    seen: dict[str, str] = {}
    for file in others:
        definition = file.definition
        if definition is None or "id" in file.touched:
            continue
        if definition.id in seen:
            file.add("id", f"{definition.id!r} is defined in {seen[definition.id]} too")
        seen[definition.id] = file.source
        _check_meaning(file, definition, registry)
    for file in sets:
        for where, abi in file.load_sets():
            _check_set(file, where, abi, ids)
    faults = [fault for file in files for fault in sorted(file.faults, key=lambda f: f.line)]
    return len(others), faults


def _check_uses(file: File, ids: set[str]) -> None:
    """Note what is used and not there, and go on without it."""
    if file.definition is None:
        return
    missing = [used for used in file.definition.uses if used not in ids]
    for used in missing:
        number = file.definition.uses.index(used)
        file.add(f"uses[{number}]", f"uses {used!r}, which is not defined")
    if missing:
        there = tuple(used for used in file.definition.uses if used in ids)
        file.definition = replace(file.definition, uses=there)
        file.touched.add("uses")


def _check_meaning(file: File, definition: Definition, registry: Registry) -> None:
    """Note what does not hold, but for consequences of what is noted already."""
    if file.touched & {"uses", "struct", "struct."}:
        return
    touched = {name.removeprefix("struct.") for name in file.touched if name.startswith("struct.")}
    for _ in definition.structs:
        more = {
            struct.name
            for struct in definition.structs.values()
            if any(f.type is not None and f.type.struct in touched for f in struct.fields)
        }
        if more <= touched:
            break
        touched |= more
    for where, message in meaning_faults(definition, registry):
        kind, _, rest = where.partition(".")
        name = rest.partition(".")[0] if kind == "struct" else ""
        if name not in touched and kind not in file.touched:
            file.add(where, message)


def _check_set(file: File, where: str, abi: AbiSet, ids: set[str]) -> None:
    named = [("root", abi.root)]
    named += [(f"entries.{name}", identifier) for name, identifier in abi.entries.items()]
    named += [(f"layouts.{identifier}", identifier) for identifier in abi.layouts]
    for key, values in (("nodes", abi.nodes), ("files", abi.files), ("flbs", abi.flbs)):
        named += [(f"{key}[{number}]", identifier) for number, identifier in enumerate(values)]
    for key, identifier in named:
        if identifier not in ids:
            file.add(f"{where}.{key}", f"names {identifier!r}, which is not defined")


def _name_lines(document: dict[str, Any], lines: dict[str, int]) -> None:
    """Lines of fields and properties by name, as faults of meaning say them."""
    structs = document.get("struct")
    for name, struct in structs.items() if isinstance(structs, dict) else ():
        _named(struct, "fields", f"struct.{name}", lines)
    stack = [("fdt", document.get("fdt"))]
    while stack:
        place, node = stack.pop()
        if not isinstance(node, dict):
            continue
        _named(node, "properties", place, lines)
        for key in ("any_property", "name"):
            other = node.get(key)
            if isinstance(other, dict):
                line = lines.get(f"{place}.{key}.name", lines.get(f"{place}.{key}", 1))
                lines.setdefault(f"{place}.{other.get('name')}", line)
        stack.append((f"{place}.nodes", node.get("nodes")))
        below = node.get("node")
        if isinstance(below, dict):
            stack += [(f"{place}.node.{name}", child) for name, child in below.items()]


def _named(table: object, key: str, place: str, lines: dict[str, int]) -> None:
    rows = table.get(key) if isinstance(table, dict) else None
    for number, row in enumerate(rows if isinstance(rows, list) else ()):
        here = f"{place}.{key}[{number}]"
        parts = row.get("parts") if isinstance(row, dict) else None
        inner = (
            [(f"{here}.parts[{n}]", part) for n, part in enumerate(parts)]
            if isinstance(parts, list)
            else []
        )
        for where, item in [(here, row), *inner]:
            if isinstance(item, dict) and where in lines:
                lines.setdefault(f"{place}.{item.get('name')}", lines[where])


def meaning_faults(definition: Definition, registry: Registry) -> Iterator[tuple[str, str]]:
    """Place and reason of what a definition says that does not hold.

    What it refers to has to exist, and its structs have to compile for every page size.
    """
    for name in definition.structs:
        try:
            # Offsets do not depend on the byte order.
            for page_size in PAGE_SIZES:
                registry.compile(definition, name, Geometry(page_size))
        except DefinitionError as error:
            # What is wrong with a struct inside it is told there.
            inner = error.where.removeprefix("struct ")
            if inner == name or inner not in definition.structs:
                yield f"struct.{name}", str(error)
    for name, struct in definition.structs.items():
        labels = {f.label for field in struct.fields for f in field.parts or (field,)}
        for field in struct.fields:
            for part in field.parts or (field,):
                yield from _field(definition, registry, part, labels, f"struct.{name}")
    stack = [("fdt", definition.fdt)] if definition.fdt is not None else []
    while stack:
        where, node = stack.pop()
        labels = {field.label for field in node.properties}
        others = (node.name, node.any_property)
        for field in (*node.properties, *(other for other in others if other is not None)):
            yield from _field(definition, registry, field, labels, where)
        if node.format and node.format not in registry.definitions:
            yield f"{where}.format", f"{node.format!r} is not defined"
        stack += [(f"{where}.node.{name}", child) for name, child in node.nodes.items()]
        if node.any_node is not None:
            stack.append((f"{where}.nodes", node.any_node))


def _field(
    definition: Definition, registry: Registry, field: Field, labels: set[str], where: str
) -> Iterator[tuple[str, str]]:
    here = f"{where}.{field.name}"
    named = [field.points_to.of, field.points_to.header] if field.points_to else []
    if field.points_to is not None and field.points_to.shape is Shape.ELEMENT:
        # The record is of a list elsewhere, maybe of another definition.
        named = []
    if field.holds is not None:
        named.append(field.holds.of)
        if field.holds.count and field.holds.count not in labels:
            yield here, f"holds.count {field.holds.count!r} is no field beside it"
    if field.type is not None:
        named.append(field.type.struct)
    for name in named:
        if name and _find_struct(definition, registry, name) is None:
            yield here, f"struct {name!r} is not defined here or in uses"
    if field.counts and field.counts not in labels:
        yield here, f"counts {field.counts!r}, which is no field beside it"
    if field.points_to is not None:
        yield from _reference(definition, registry, field.points_to, labels, here)


def _reference(
    definition: Definition, registry: Registry, reference: Reference, labels: set[str], here: str
) -> Iterator[tuple[str, str]]:
    shape = reference.shape
    if shape in (Shape.RECORD, Shape.ARRAY, Shape.BLOCKS) and not reference.of:
        yield here, f"points_to of shape {shape} needs the struct that it leads to, 'of'"
    if shape is Shape.TREE and reference.format not in registry.definitions:
        yield here, f"points_to names the format {reference.format!r}, which is not defined"
    if shape is Shape.ELEMENT and not any(reference.of in d.structs for d in registry):
        yield here, f"points_to names {reference.of!r}, no struct of any definition"
    if shape is Shape.PAGE_TABLE and not reference.of:
        yield here, "points_to of shape page-table needs the struct of its entries, 'of'"
    if reference.inline and shape not in (Shape.TREE, Shape.RECORD):
        yield here, "inline is for pointers to a tree or to a record"
    siblings = [reference.size, reference.order, reference.by, reference.level]
    if shape is Shape.BLOCKS and (own := _find_struct(definition, registry, reference.header)):
        links = {field.label for field in own.fields}
        for label in ("next", "count"):
            if label not in links:
                yield here, f"header {reference.header} has no field labelled {label!r}"
    elif not reference.header:
        siblings += [reference.count, reference.pgcnt]
    elif header := _find_struct(definition, registry, reference.header):
        counts = {part.label for field in header.fields for part in field.parts or (field,)}
        for name in (reference.count, reference.pgcnt):
            if name and name not in counts:
                yield here, f"points_to names {name!r}, no field of {reference.header}"
    for name in siblings:
        if name and name not in labels:
            yield here, f"points_to names {name!r}, which is no field beside it"


def _find_struct(definition: Definition, registry: Registry, name: str) -> Struct | None:
    try:
        return registry.owner_of_struct(definition, name).structs[name]
    except DefinitionError:
        return None
