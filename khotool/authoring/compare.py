"""What a change of a definition means for the kernels on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, NodeType
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.records import dataclass


class Impact(StrEnum):
    """Breaking: one side misreads the other. Compatible: it does not. Cosmetic: same bytes."""

    BREAKING = "breaking"
    COMPATIBLE = "compatible"
    COSMETIC = "cosmetic"


@dataclass(frozen=True, slots=True)
class AbiChange:
    """One difference between two definitions."""

    impact: Impact
    where: str
    message: str


def compare_definitions(
    old: Definition,
    new: Definition,
    registry: Registry,
    geometry: Geometry,
    new_registry: Registry | None = None,
) -> list[AbiChange]:
    """Differences field by field, in the order of the old definition.

    Args:
        new_registry: that of the new one, if it is not the same: of two files with one id.
    """
    later = registry if new_registry is None else new_registry
    changes: list[AbiChange] = []
    if old.content != new.content and "fdt" in (old.content, new.content):
        changes.append(AbiChange(Impact.BREAKING, "content", f"{old.content} became {new.content}"))
    for name in dict.fromkeys([*old.structs, *new.structs]):
        if name not in new.structs:
            changes.append(AbiChange(Impact.BREAKING, name, "struct is gone"))
        elif name not in old.structs:
            changes.append(AbiChange(Impact.COMPATIBLE, name, "struct is new"))
        else:
            changes += _structs(
                registry.compile(old, name, geometry), later.compile(new, name, geometry)
            )
    for name in dict.fromkeys([*old.literals, *new.literals]):
        numbers = [_number(literals.get(name)) for literals in (old.literals, new.literals)]
        if numbers[0] != numbers[1]:
            text = f"{numbers[0]} became {numbers[1]}"
            changes.append(AbiChange(Impact.BREAKING, f"literals.{name}", text))
    if old.fdt is not None and new.fdt is not None:
        changes += _nodes(old.fdt, new.fdt, "/")
    return changes


def _structs(old: CompiledStruct, new: CompiledStruct) -> Iterator[AbiChange]:
    name = old.struct.name
    if old.size != new.size:
        yield AbiChange(Impact.BREAKING, name, f"size {old.size} became {new.size} bytes")
    before = {placed.field.name: placed for placed in old.fields}
    after = {placed.field.name: placed for placed in new.fields}
    for field, placed in before.items():
        where = f"{name}.{field}"
        if field not in after:
            yield AbiChange(Impact.BREAKING, where, f"gone; it was at +{placed.offset}")
            continue
        other = after[field]
        if placed.offset != other.offset:
            text = f"moved from +{placed.offset} to +{other.offset}"
            yield AbiChange(Impact.BREAKING, where, text)
        if placed.size != other.size:
            yield AbiChange(Impact.BREAKING, where, f"{placed.size} became {other.size} bytes")
        yield from _fields(placed.field, other.field, where)
    for field, placed in after.items():
        if field not in before:
            inside = placed.offset < old.size
            impact = Impact.BREAKING if inside else Impact.COMPATIBLE
            yield AbiChange(impact, f"{name}.{field}", f"new at +{placed.offset}")


def _fields(old: Field, new: Field, where: str) -> Iterator[AbiChange]:
    kinds = [field.type.text if field.type is not None else "" for field in (old, new)]
    if kinds[0] != kinds[1]:
        yield AbiChange(Impact.BREAKING, where, f"type {kinds[0]} became {kinds[1]}")
    if old.value != new.value:
        yield AbiChange(Impact.BREAKING, where, f"{old.value!r} became {new.value!r}")
    if old.expect != new.expect:
        text = f"{_number(old.expect)} became {_number(new.expect)}"
        yield AbiChange(Impact.BREAKING, where, text)
    if old.points_to != new.points_to:
        shapes = [f.points_to.shape if f.points_to else "a value" for f in (old, new)]
        if shapes[0] != shapes[1]:
            yield AbiChange(Impact.BREAKING, where, f"led to {shapes[0]}, leads to {shapes[1]}")
    yield from _names(old.flags, new.flags, "flag", where)
    yield from _names(old.enum, new.enum, "number", where)
    if old.reserved and not new.reserved:
        yield AbiChange(Impact.COMPATIBLE, where, "reserved bits got a meaning")
    if (old.doc, old.role) != (new.doc, new.role):
        yield AbiChange(Impact.COSMETIC, where, "description changed")
    for before, after in zip(old.parts, new.parts, strict=False):
        inner = f"{where.rpartition('.')[0]}.{before.name}"
        if before.width != after.width:
            yield AbiChange(Impact.BREAKING, inner, f"{before.width} became {after.width} bits")
        yield from _fields(before, after, inner)


def _names(old: dict[str, int], new: dict[str, int], what: str, where: str) -> Iterator[AbiChange]:
    """Names of bits or of numbers."""
    for name in new:
        if name not in old:
            yield AbiChange(Impact.COMPATIBLE, where, f"{what} {name} is new")
    for name, value in old.items():
        if new.get(name) != value:
            yield AbiChange(Impact.BREAKING, where, f"{what} {name} is gone or changed")


def _number(value: int | None) -> str:
    return "any number" if value is None else hex(value)


def _nodes(old: NodeType, new: NodeType, path: str) -> Iterator[AbiChange]:
    before = {field.name: field for field in old.properties}
    after = {field.name: field for field in new.properties}
    for name in dict.fromkeys([*before, *after]):
        where = f"{path}{name}"
        if name not in after:
            yield AbiChange(Impact.BREAKING, where, "property is gone")
        elif name not in before:
            optional = after[name].optional
            impact = Impact.COMPATIBLE if optional else Impact.BREAKING
            yield AbiChange(impact, where, "property is new")
        else:
            yield from _fields(before[name], after[name], where)
    children = [
        {**node.nodes, **({"*": node.any_node} if node.any_node is not None else {})}
        for node in (old, new)
    ]
    for name in dict.fromkeys([*children[0], *children[1]]):
        where = f"{path}{name}/"
        if name in children[0] and name in children[1]:
            yield from _nodes(children[0][name], children[1][name], where)
        elif name in children[0]:
            yield AbiChange(Impact.BREAKING, where, "node is gone")
        else:
            # Nodes of any name may as well be none.
            optional = name == "*" or children[1][name].optional
            impact = Impact.COMPATIBLE if optional else Impact.BREAKING
            yield AbiChange(impact, where, "node is new")
