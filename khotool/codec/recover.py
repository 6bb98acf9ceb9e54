"""Give properties their names back when a device tree was cut before its strings.

The kernel's debugfs cuts ``out/fdt`` after the structure block. What is left of a name is its
offset in the strings block; the distance to the next offset is the length of the name, and a
KHO root has few names of different lengths.
"""

from __future__ import annotations

from khotool.abi.definition import Definition, Field, Kind
from khotool.abi.record import decode_text
from khotool.abi.registry import Registry
from khotool.fdt.blob import Blob, Property


def root_definition(blob: Blob, registry: Registry) -> Definition | None:
    """The definition of a KHO root, by its compatible or, where names are lost, by its value."""
    if blob.root is None:
        return None
    for prop in blob.root.properties:
        if prop.name == "compatible" or prop.recovered:
            found = registry.match(Kind.ROOT, "compatible", decode_text(prop.value))
            if found is not None:
                return found
    return None


def recover_names(blob: Blob, definition: Definition) -> int:
    """Name the properties of a root whose strings are lost; the number that got a name."""
    assert definition.fdt is not None
    assert blob.root is not None
    fields = list(definition.fdt.properties)
    if definition.fdt.any_node is not None:
        fields += definition.fdt.any_node.properties
    lost = [prop for _, node in blob.root.walk() for prop in node.properties if prop.recovered]
    if not lost:
        return 0
    names = _names_of(lost, fields)
    for prop in lost:
        prop.name = names.get(prop.name_offset, "")
    return sum(1 for prop in lost if prop.name)


def _names_of(lost: list[Property], fields: list[Field]) -> dict[int, str]:
    """Names by their offset in the block of strings, where one field alone fits."""
    offsets = sorted({prop.name_offset for prop in lost})
    sizes = {prop.name_offset: len(prop.value) for prop in lost}
    names: dict[int, str] = {}
    for here, following in zip(offsets, [*offsets[1:], None], strict=True):
        length = None if following is None else following - here - 1
        taken = set(names.values())
        fitting = [
            field.name
            for field in fields
            if field.name not in taken
            and length in (None, len(field.name))
            and _fits(field, sizes[here])
        ]
        if len(fitting) == 1:
            names[here] = fitting[0]
    return names


def _fits(field: Field, size: int) -> bool:
    kind = field.type
    assert kind is not None
    return size == kind.size if kind.kind == "int" else kind.kind == "string"
