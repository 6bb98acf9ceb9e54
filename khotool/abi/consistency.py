"""What a definition says in one place fits what it says in the others."""

from __future__ import annotations

from khotool.abi.definition import Definition, Field, Struct
from khotool.errors import DefinitionError


def check_consistent(definition: Definition) -> None:
    """Check what a definition says in one place against the others.

    Raises:
        DefinitionError: a name leads nowhere, is there twice, or stands where it cannot.
    """
    where = definition.source
    content = definition.content
    if content == "fdt":
        if definition.fdt is None:
            raise DefinitionError(where, "content is 'fdt' but there is no [fdt] table")
    elif content not in ("literal", "none") and content not in definition.structs:
        raise DefinitionError(where, f"content {content!r} is no struct of this file")
    for struct in definition.structs.values():
        labels: set[str] = set()
        for field in struct.fields:
            for part in field.parts or (field,):
                if part.label in labels:
                    raise DefinitionError(
                        f"{where}.struct.{struct.name}", f"{part.label!r} is defined twice"
                    )
                labels.add(part.label)
            kind = field.type
            if kind is not None and (
                kind.kind == "string" or (kind.kind == "bytes" and not kind.size)
            ):
                raise DefinitionError(
                    f"{where}.struct.{struct.name}.{field.name}",
                    f"type {kind.text!r} is for properties of a device tree only",
                )
        _check_tail(f"{where}.struct.{struct.name}", struct)
        for key, names in (
            ("key", (struct.key,)),
            ("unique", struct.unique),
            ("unused", (struct.unused,)),
        ):
            for name in names:
                if name and name not in labels:
                    raise DefinitionError(
                        f"{where}.struct.{struct.name}.{key}", f"{name!r} is no field of the struct"
                    )
    _check_probe(definition)
    known = set(definition.layouts)
    nodes = [definition.fdt] if definition.fdt else []
    while nodes:
        node = nodes.pop()
        for field in node.properties:
            if field.layout and field.layout not in known:
                raise DefinitionError(f"{where}.fdt", f"layout {field.layout!r} is not defined")
        nodes.extend(node.nodes.values())
        if node.any_node:
            nodes.append(node.any_node)


def _check_tail(where: str, struct: Struct) -> None:
    """An array of open length ends its struct, and a field counts it."""
    for field in struct.fields:
        if field.type is None or field.type.kind != "array":
            continue
        if field is not struct.fields[-1]:
            raise DefinitionError(f"{where}.{field.name}", "an array of open length comes last")
        if all(other.counts != field.label for other in struct.fields):
            raise DefinitionError(f"{where}.{field.name}", "no field counts this array")


def _check_probe(definition: Definition) -> None:
    """Signs are about fields that are there; those of lists are about what these are made of."""
    for number, sign in enumerate(definition.probe):
        where = f"{definition.source}.probe[{number}]"
        fields = _fields(definition, definition.content)
        for name in (sign.rows, sign.inside):
            field = _named(fields, name, where, definition.content) if name else None
            if field is not None and (field.points_to is None or not field.points_to.of):
                raise DefinitionError(where, f"{name!r} leads to no records")
        if not sign.field or sign.has:
            continue
        struct = definition.content
        if sign.rows:
            reference = fields[sign.rows].points_to
            struct = reference.of if reference is not None else ""
            if struct not in definition.structs:
                # It is of a definition that this one uses.
                continue
            fields = _fields(definition, struct)
        found = _named(fields, sign.field.partition("/")[0], where, struct)
        if sign.ends and found.points_to is None:
            raise DefinitionError(where, f"{sign.field!r} leads to no array that could end")


def _fields(definition: Definition, struct: str) -> dict[str, Field]:
    """Fields of a struct, and parts of its words, by label; none of a struct that is not there."""
    found = definition.structs.get(struct)
    every = [part for f in found.fields for part in f.parts or (f,)] if found is not None else []
    return {field.label: field for field in every}


def _named(fields: dict[str, Field], label: str, where: str, struct: str) -> Field:
    if label not in fields:
        raise DefinitionError(where, f"{label!r} is no field of {struct}")
    return fields[label]
