"""DTS text of the KHO root or of an entry's tree, with native-endian values as comments."""

from __future__ import annotations

from khotool.abi.definition import Field
from khotool.errors import UsageError
from khotool.fdt.blob import Property
from khotool.fdt.text import comment
from khotool.model.image import UNPLACED, Image, Node
from khotool.model.region import FdtRegion
from khotool.render.device_tree import to_dts
from khotool.view.notation import flags_text, number_text


def trees(image: Image) -> dict[str, FdtRegion]:
    """Every device tree of an image by the path of the node it is."""
    found: dict[str, FdtRegion] = {}
    for region in image.regions:
        if isinstance(region, FdtRegion):
            found.setdefault(region.path, region)
    return found


def dts_text(image: Image, node: Node | None) -> str:
    """DTS of the tree at ``node``, of the root without one; dtc compiles it to the same tree.

    Raises:
        UsageError: ``node`` is not a device tree; names the nodes that are.
    """
    known = trees(image)
    if not known:
        raise UsageError(f"{image.info.path}: holds no device tree that could be read")
    path = node.path if node is not None else "/" if "/" in known else next(iter(known))
    region = known.get(path)
    if region is None:
        raise UsageError(f"{path} is not a device tree; there are {', '.join(known)}")
    values = _values(image, region)
    text = to_dts(region.blob, lambda _, prop: meaning(image, region, values, prop))
    place = f" at {region.address:#x}" if region.address < UNPLACED else ""
    tail = [comment(f"{path}{place}, {region.blob.totalsize} bytes")]
    others = [other for other in known if other != path]
    if others and node is None:
        tail.append(comment(f"further trees, by path: {', '.join(others)}"))
    return text + "\n".join(tail) + "\n"


def _values(image: Image, region: FdtRegion) -> dict[int, Node]:
    """Value nodes by the physical address of their property's bytes."""
    start, end = region.address, region.address + len(region.blob.data)
    return {
        node.span.address: node
        for node in image.tree.walk()
        if node.field is not None and node.span is not None and start <= node.span.address < end
    }


def meaning(image: Image, region: FdtRegion, values: dict[int, Node], prop: Property) -> str | None:
    """The meaning of a property's bytes; None if its text shows it already."""
    node = values.get(region.address + prop.value_offset)
    field = node.field if node is not None else None
    size = len(prop.value)
    if size not in (1, 2, 4, 8) or not _is_number(field, prop.value):
        return None
    big = field is not None and field.type is not None and field.type.big
    value = int.from_bytes(prop.value, "big" if big else image.geometry.byteorder)
    text = f"u{size * 8} {value:#x}"
    if field is None:
        return text
    if field.flags:
        text += f" {flags_text(value, field.flags)}"
    elif (shown := number_text(value, field)) != f"{value:#x}":
        text += f" = {shown}"
    return f"{text} (address)" if field.points_to is not None and value else text


def _is_number(field: Field | None, value: bytes) -> bool:
    """True for a number by its definition, or without one by its bytes."""
    if field is None or field.type is None:
        return not _is_text(value)
    return field.type.kind == "int"


def _is_text(value: bytes) -> bool:
    return value.endswith(b"\0") and value[:-1].isascii() and value[:-1].decode().isprintable()
