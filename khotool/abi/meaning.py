"""What a definition refers to exists, and its structs compile."""

from __future__ import annotations

from collections.abc import Iterator

from khotool.abi.consistency import nodes_of
from khotool.abi.definition import (
    INLINE_SHAPES,
    RECORD_SHAPES,
    Definition,
    Field,
    Reference,
    Shape,
    Struct,
    leaf_fields,
)
from khotool.abi.geometry import PAGE_SIZES, Geometry
from khotool.abi.index import Registry
from khotool.errors import DefinitionError
from khotool.structured import Path


def meaning_mistakes(
    definition: Definition, registry: Registry, *, all_structs: bool = True
) -> Iterator[tuple[Path, str]]:
    """Path and reason of what a definition says that does not hold.

    What it refers to has to exist, and its structs have to compile for every page size.

    Args:
        all_structs: all that it uses is known; else a struct may be of what is not.
    """
    for name in definition.structs:
        yield from _compiles(definition, registry, name)
    for path, field, labels in _fields(definition):
        if all_structs:
            for message in _structs(definition, registry, field):
                yield path, message
        for message in _field(definition, registry, field, labels):
            yield path, message
    for path, node in nodes_of(definition):
        if node.format and node.format not in registry.definitions:
            yield (*path, "format"), f"{node.format!r} is not defined"


def _fields(definition: Definition) -> Iterator[tuple[Path, Field, set[str]]]:
    """Every field and property with its path and the labels of its siblings."""
    for name, struct in definition.structs.items():
        labels = {part.label for part in leaf_fields(struct.fields)}
        for part in leaf_fields(struct.fields):
            yield ("struct", name, "fields", part.name), part, labels
    for path, node in nodes_of(definition):
        labels = {field.label for field in node.properties}
        for field in node.properties:
            yield (*path, "properties", field.name), field, labels
        for key, other in (("name", node.name), ("any_property", node.any_property)):
            if other is not None:
                yield (*path, key), other, labels


def _compiles(definition: Definition, registry: Registry, name: str) -> Iterator[tuple[Path, str]]:
    path = ("struct", name)
    try:
        # Offsets do not depend on the byte order.
        for page_size in PAGE_SIZES:
            registry.compile(definition, name, Geometry(page_size))
    except DefinitionError as error:
        # What is wrong with an embedded struct is reported there.
        if error.where == f"{definition.source}: struct.{name}":
            yield path, str(error).removeprefix(f"{error.where}: ")


def _structs(definition: Definition, registry: Registry, field: Field) -> Iterator[str]:
    """The structs that a field names exist."""
    reference = field.points_to
    named = [field.type.struct] if field.type is not None else []
    if reference is not None and reference.shape not in (Shape.ELEMENT, Shape.STATE):
        # An element's record is elsewhere, possibly of a different definition.
        named += [reference.of, reference.header]
    if field.holds is not None:
        named.append(field.holds.of)
    for name in named:
        if name and _find_struct(definition, registry, name) is None:
            yield f"struct {name!r} is not defined here or in uses"


def _field(
    definition: Definition, registry: Registry, field: Field, labels: set[str]
) -> Iterator[str]:
    reference = field.points_to
    if field.holds is not None and field.holds.count and field.holds.count not in labels:
        yield f"holds.count {field.holds.count!r} is not a sibling field"
    if field.counts and field.counts not in labels:
        yield f"counts {field.counts!r}, which is not a sibling field"
    if reference is not None:
        yield from _target(registry, reference)
        yield from _siblings(definition, registry, reference, labels)


def _target(registry: Registry, reference: Reference) -> Iterator[str]:
    """What a pointer leads to is named, and exists."""
    shape = reference.shape
    if shape in RECORD_SHAPES and not reference.of:
        yield f"points_to of shape {shape} needs 'of', the struct that it leads to"
    yield from _known(registry, reference)
    if reference.inline and shape not in INLINE_SHAPES:
        yield "inline is for pointers to a tree or to a record"
    record = shape is Shape.RECORD and not reference.inline
    if reference.shared and not record:
        yield "shared is for pointers to a record that is not inline"
    if reference.behind and (reference.shared or not record):
        yield "behind is for pointers to a record that is neither inline nor shared"


def _known(registry: Registry, reference: Reference) -> Iterator[str]:
    """What a pointer names outside its own definition."""
    shape = reference.shape
    if shape is Shape.TREE and reference.format not in registry.definitions:
        yield f"points_to names the format {reference.format!r}, which is not defined"
    if shape is Shape.ELEMENT and not any(reference.of in d.structs for d in registry):
        yield f"points_to names {reference.of!r}, which is not a struct of any definition"
    if shape is Shape.STATE and not registry.handlers(shape, reference.of):
        yield f"points_to names {reference.of!r}, which no definition of a state matches"


def _siblings(
    definition: Definition, registry: Registry, reference: Reference, labels: set[str]
) -> Iterator[str]:
    """The labels that a pointer names are sibling fields, or fields of its header."""
    header = _find_struct(definition, registry, reference.header) if reference.header else None
    counts = (reference.count, reference.pgcnt)
    siblings = (reference.size, reference.order, reference.by, reference.level)
    for name in siblings if reference.header else siblings + counts:
        if name and name not in labels:
            yield f"points_to names {name!r}, which is not a sibling field"
    if header is None:
        return
    known = {part.label for part in leaf_fields(header.fields)}
    if reference.shape is Shape.BLOCKS:
        for label in ("next", "count"):
            if label not in known:
                yield f"header {reference.header} has no field labelled {label!r}"
        return
    for name in counts:
        if name and name not in known:
            yield f"points_to names {name!r}, which is not a field of {reference.header}"


def _find_struct(definition: Definition, registry: Registry, name: str) -> Struct | None:
    try:
        return registry.owner_of_struct(definition, name).structs[name]
    except DefinitionError:
        return None
