"""Check definition files beyond their vocabulary: what they refer to exists, and compiles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from khotool.abi.definition import Definition, Field, NodeType, Reference, Shape, Struct
from khotool.abi.geometry import PAGE_SIZES, Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import SETS_FILE, Registry, toml_files
from khotool.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a definition file.

    Args:
        line: where the table, field or key at fault stands, counted from 1; 0 if nowhere.
    """

    source: str
    line: int
    where: str
    message: str


def check_folder(folder: Traversable, known: Registry) -> tuple[int, list[Fault]]:
    """Every definition in a folder: files read, and faults.

    Args:
        known: definitions that those of the folder may refer to.
    """
    faults: list[Fault] = []
    found: list[tuple[Definition, str]] = []
    files = [item for item in toml_files(folder, "") if item[0] != SETS_FILE]
    for source, raw in sorted(files):
        text = raw.decode("utf-8", "replace")
        try:
            found.append((load_definition(raw, source), text))
        except DefinitionError as error:
            faults.append(_fault(source, text, error))
    try:
        registry = Registry([*known, *(definition for definition, _ in found)])
    except DefinitionError as error:
        return len(files), [*faults, Fault(error.where, 0, error.where, str(error))]
    seen: dict[str, str] = {}
    for definition, text in found:
        if definition.id in seen:
            message = f"{definition.id!r} is defined in {seen[definition.id]} too"
            faults.append(Fault(definition.source, _line(text, "id"), "id", message))
        seen[definition.id] = definition.source
        for where, message in meaning_faults(definition, registry):
            faults.append(Fault(definition.source, _line(text, where), where, message))
    return len(files), faults


def _fault(source: str, text: str, error: DefinitionError) -> Fault:
    where = error.where.removeprefix(source).lstrip(".")
    message = str(error).removeprefix(f"{error.where}: ")
    return Fault(source, _line(text, where), where, message)


def _line(text: str, where: str) -> int:
    """The line of a table or field of that name, else the first with the key as a word."""
    inside, _, last = where.rpartition(".")
    key = re.escape(last.partition("[")[0])
    if not key:
        return 0
    word = rf"(?<![\w-]){key}(?![\w-])"
    patterns = (rf"^\s*\[.*{word}\]", rf'\bname = "{key}"', word) if inside else (word,)
    lines = text.splitlines()
    for pattern in map(re.compile, patterns):
        for number, line in enumerate(lines, 1):
            if pattern.search(line):
                return number
    return 0


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
            yield f"struct.{name}", str(error)
    for name, struct in definition.structs.items():
        labels = {f.label for field in struct.fields for f in field.parts or (field,)}
        for field in struct.fields:
            for part in field.parts or (field,):
                yield from _field(definition, registry, part, labels, f"struct.{name}")
    stack = [definition.fdt] if definition.fdt is not None else []
    while stack:
        node = stack.pop()
        labels = {field.label for field in node.properties}
        others = (node.name, node.any_property)
        for field in (*node.properties, *(other for other in others if other is not None)):
            yield from _field(definition, registry, field, labels, "fdt")
        yield from _node(node, registry)
        stack += [*node.nodes.values(), *([node.any_node] if node.any_node else [])]


def _node(node: NodeType, registry: Registry) -> Iterator[tuple[str, str]]:
    if node.format and node.format not in registry.definitions:
        yield "fdt.format", f"{node.format!r} is not defined"


def _field(
    definition: Definition, registry: Registry, field: Field, labels: set[str], where: str
) -> Iterator[tuple[str, str]]:
    here = f"{where}.{field.name}"
    named = [field.points_to.of, field.points_to.header] if field.points_to else []
    if field.holds is not None:
        named.append(field.holds.of)
        if field.holds.count not in labels:
            yield here, f"holds.count {field.holds.count!r} is no field beside it"
    if field.type is not None and field.type.struct:
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
    siblings = [reference.size, reference.order, reference.by]
    if not reference.header:
        siblings.append(reference.count)
    elif header := _find_struct(definition, registry, reference.header):
        counts = {part.label for field in header.fields for part in field.parts or (field,)}
        if reference.count not in counts:
            yield here, f"points_to names {reference.count!r}, no field of {reference.header}"
    for name in siblings:
        if name and name not in labels:
            yield here, f"points_to names {name!r}, which is no field beside it"


def _find_struct(definition: Definition, registry: Registry, name: str) -> Struct | None:
    try:
        return registry.owner_of_struct(definition, name).structs[name]
    except DefinitionError:
        return None
