"""What a definition says in one place fits what it says in the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from khotool.abi.definition import Condition, Definition, Field, NodeType, Struct, leaf_fields
from khotool.structured import Path

IsWrong = Callable[[Path], bool]
"""Whether a mistake was noted at a path or below it."""


def consistency_mistakes(definition: Definition, is_wrong: IsWrong) -> Iterator[tuple[Path, str]]:
    """Path and reason of what a definition says in one place and does not fit the others.

    A place that has a mistake already is left alone: more would follow from it. So every mistake is
    noted before the next is asked for.
    """
    yield from _content(definition, is_wrong)
    for struct in definition.structs.values():
        if not is_wrong(("struct", struct.name, "layout")):
            yield from _struct(struct, is_wrong)
    for number, condition in enumerate(definition.probe):
        if not is_wrong(("probe", number)) and not is_wrong(("struct",)):
            for message in _probe_mistakes(definition, condition):
                yield ("probe", number), message
    for path, node in nodes_of(definition):
        for field in node.properties:
            if field.layout and field.layout not in definition.layouts:
                yield (*path, "properties", field.name), f"layout {field.layout!r} is not defined"


def nodes_of(definition: Definition) -> Iterator[tuple[Path, NodeType]]:
    """Every node of a definition's tree with its path in the file."""
    stack: list[tuple[Path, NodeType]] = [(("fdt",), definition.fdt)] if definition.fdt else []
    while stack:
        path, node = stack.pop()
        yield path, node
        stack += [((*path, "node", name), child) for name, child in node.nodes.items()]
        if node.any_node is not None:
            stack.append(((*path, "nodes"), node.any_node))


def _content(definition: Definition, is_wrong: IsWrong) -> Iterator[tuple[Path, str]]:
    content = definition.content
    if is_wrong(("content",)) or not content:
        return
    if content == "fdt":
        if definition.fdt is None:
            yield ("content",), "content is 'fdt', but there is no [fdt] table"
    elif content not in ("literal", "none") and content not in definition.structs:
        yield ("content",), f"content {content!r} is not a struct of this file"


def _struct(struct: Struct, is_wrong: IsWrong) -> Iterator[tuple[Path, str]]:
    path = ("struct", struct.name)
    labels: set[str] = set()
    for part in leaf_fields(struct.fields):
        if part.label in labels:
            yield (*path, "fields", part.name), f"{part.label!r} is defined twice"
        labels.add(part.label)
    for field, message in _tail_mistakes(struct):
        yield (*path, "fields", field.name), message
    named = (("key", (struct.key,)), ("unique", struct.unique), ("unused", (struct.unused,)))
    for key, names in named:
        for name in names:
            if name and name not in labels and not is_wrong((*path, key)):
                yield (*path, key), f"{name!r} is not a field of the struct"


def _tail_mistakes(struct: Struct) -> Iterator[tuple[Field, str]]:
    """Arrays of open length come last, and each has a counter."""
    for number, field in enumerate(struct.fields):
        if not _is_open(field):
            continue
        if not all(map(_is_open, struct.fields[number:])):
            yield field, "arrays of open length come last"
        elif all(other.counts != field.label for other in struct.fields):
            yield field, "no field counts this array"


def _is_open(field: Field) -> bool:
    return field.type is not None and field.type.kind == "array"


def _probe_mistakes(definition: Definition, condition: Condition) -> Iterator[str]:
    """Conditions are about fields that exist; those of lists, about what the lists hold."""
    content = definition.content
    fields = _fields(definition, content)
    for name in (condition.rows, condition.inside):
        if name and name not in fields:
            yield f"{name!r} is not a field of {content}"
            return
        if name and not _records_of(fields[name]):
            yield f"{name!r} does not lead to records"
            return
    if not condition.field or condition.has:
        return
    if condition.rows:
        content = _records_of(fields[condition.rows])
        if content not in definition.structs:
            # It is of a definition that this one uses.
            return
        fields = _fields(definition, content)
    label = condition.field.partition("/")[0]
    if label not in fields:
        yield f"{label!r} is not a field of {content}"
    elif condition.ends and fields[label].points_to is None:
        yield f"{condition.field!r} does not lead to an array that could end"


def _records_of(field: Field) -> str:
    return field.points_to.of if field.points_to is not None else ""


def _fields(definition: Definition, struct: str) -> dict[str, Field]:
    """Fields of a struct, and parts of its words, by label; none of an undefined struct."""
    found = definition.structs.get(struct)
    return {field.label: field for field in leaf_fields(found.fields)} if found is not None else {}
