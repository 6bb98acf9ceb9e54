"""Compare definitions with the layouts that a kernel was built with."""

from __future__ import annotations

from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.abi.definition import AbiSet, Definition
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.abi.releases import span
from khotool.authoring.btf import Btf, BtfStruct
from khotool.records import dataclass

NOT_IN_BTF = {"kho_test_folio": "a number with an order in its low bits, not a struct"}
"""Structs that the kernel does not declare, and why."""
NO_STRUCT = "the kernel has no such struct"


@dataclass(frozen=True, slots=True)
class Difference:
    """A definition and a kernel disagree.

    Args:
        field: empty for the struct as a whole.
    """

    definition: str
    struct: str
    field: str
    message: str


def definitions_of(abi: AbiSet, registry: Registry) -> list[Definition]:
    """The definitions that a kernel of a set uses, structures they embed included."""
    names = [abi.root, *abi.entries.values(), *abi.nodes, *abi.files, "kho_scratch", "setup_data"]
    for name in list(names):
        names += [used for used in registry.get(name).uses if _written_by(abi, registry.get(used))]
    return [registry.get(name) for name in dict.fromkeys(names)]


def _written_by(abi: AbiSet, definition: Definition) -> bool:
    """True if kernels of the set know a structure; an open last release has no end."""
    written, spoken = span(definition.first, definition.last), span(abi.first, abi.last)
    return written is None or spoken is None or written[0] <= spoken[1]


def compare_set(
    btf: Btf, abi: AbiSet, registry: Registry, geometry: Geometry
) -> tuple[int, list[Difference]]:
    """Every struct of a set against a kernel's BTF: structs compared, and differences."""
    differences: list[Difference] = []
    compared = 0
    for definition in definitions_of(abi, registry):
        for name in definition.structs:
            found = btf.struct(name)
            if found is None:
                if name not in NOT_IN_BTF and not _optional(name, btf):
                    differences.append(Difference(definition.id, name, "", NO_STRUCT))
                continue
            compared += 1
            compiled = registry.compile(definition, name, geometry)
            differences += _compare(definition.id, compiled, found)
    return compared, differences


def nearest_set(btf: Btf, registry: Registry, geometry: Geometry) -> AbiSet:
    """The set of released kernels whose structs this BTF has, as far as it has them.

    A struct that differs counts once, however much of it does: one wrong definition must
    not rule out its set.
    """
    released = [abi for abi in registry.sets.values() if abi.first and abi.status == "merged"]

    def closeness(abi: AbiSet) -> tuple[int, int]:
        compared, differences = compare_set(btf, abi, registry, geometry)
        wrong = {(found.definition, found.struct) for found in differences}
        return compared - len(wrong), compared

    return max(released, key=closeness)


def _optional(name: str, btf: Btf) -> bool:
    """x86 boot data is not part of kernels of other architectures."""
    return name in ("setup_data", "kho_data") and "setup_data" not in btf.structs


def _compare(identifier: str, compiled: CompiledStruct, found: BtfStruct) -> list[Difference]:
    rows = _fields(compiled)
    texts = [("", _size_text(compiled, found))]
    texts += [(field, _field_text(found, field, offset, size)) for field, offset, size in rows]
    known = {offset for _, offset, _ in rows}
    for member in found.members:
        if member.offset not in known and member.size:
            text = f"the kernel has {member.path} at byte {member.offset // 8}"
            texts.append((member.name, text))
    name = compiled.struct.name
    return [Difference(identifier, name, field, text) for field, text in texts if text]


def _size_text(compiled: CompiledStruct, found: BtfStruct) -> str:
    open_ended = any(member.size == 0 for member in found.members)
    if found.size == compiled.size or open_ended or compiled.struct.size == "page":
        return ""
    return f"{compiled.size} bytes here, {found.size} in the kernel"


def _field_text(found: BtfStruct, field: str, offset: int, size: int) -> str:
    """How a field, at an offset and of a size in bits, differs; empty if it does not."""
    there = [member for member in found.members if member.offset == offset]
    if not there:
        return f"nothing starts at bit {offset} in the kernel"
    member = next((member for member in there if member.name == field), there[-1])
    if member.name != field:
        return f"the kernel calls it {member.path}"
    if size not in (member.size, member.element):
        return f"{size} bits here, {member.size} in the kernel"
    return ""


def _fields(compiled: CompiledStruct) -> list[tuple[str, int, int]]:
    """Name, offset and size in bits of every leaf of a definition."""
    rows: list[tuple[str, int, int]] = []
    for placed in compiled.fields:
        rows += _leaf_rows(placed, placed.offset * 8)
    return rows


def _leaf_rows(placed: PlacedField, base: int) -> list[tuple[str, int, int]]:
    if placed.nested is not None:
        rows = []
        for inner in placed.nested.fields:
            rows += _leaf_rows(inner, base + inner.offset * 8)
        return rows
    if placed.parts:
        return [
            (
                part.field.name,
                base + (part.mask & -part.mask).bit_length() - 1,
                part.mask.bit_count(),
            )
            for part in placed.parts
        ]
    return [(placed.field.name, base, placed.size // placed.count * 8)]
