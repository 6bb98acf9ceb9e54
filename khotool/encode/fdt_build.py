"""Device trees of a handover, node by node as their definitions say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from khotool.abi.definition import Definition, Field, NodeType
from khotool.abi.geometry import Geometry
from khotool.abi.record import encode_record, encode_text, fit_int
from khotool.codec.contexts import Builder
from khotool.errors import EncodeError
from khotool.fdt.blob import FdtError, Node, Property
from khotool.fdt.write import build_open, build_sequential
from khotool.handover.labels import target_labels
from khotool.handover.values import Rows
from khotool.records import replace

MAX_NODE_NAME = 31
P = ParamSpec("P")


class FdtBuilder:
    """Builds the trees of one handover; what properties point to goes through ``Builder``."""

    def __init__(self, builder: Builder) -> None:
        """Build with the memory and the ABI set of ``builder``."""
        self.builder = builder

    def tree(
        self, definition: Definition, values: Mapping[str, Any], path: str, name: str = ""
    ) -> Node:
        """The tree of a definition whose content is a device tree."""
        kind = definition.fdt
        assert kind is not None
        node = Node(name or definition.root_name)
        taken: set[str] = set()
        self.fill(node, definition, kind, values, path, taken)
        self.unused(values, taken, definition, path)
        return node

    def fill(
        self,
        node: Node,
        definition: Definition,
        kind: NodeType,
        values: Mapping[str, Any],
        path: str,
        taken: set[str],
    ) -> None:
        """Properties and children of one node; ``taken`` collects the labels that were used."""
        layout = self.builder.abi.layouts.get(definition.id, "")
        fields = [f for f in kind.properties if not f.layout or f.layout == layout]
        taken.update(field.label for field in fields)
        for field in fields:
            if field.points_to is not None:
                taken.update(target_labels(self.builder.registry, definition, field.points_to))
        numbers = self.builder.resolve(definition, fields, values, path)
        for field in fields:
            value = self.value(definition, field, numbers[field.label], values, path)
            if value is not None:
                node.items.append(Property(field.name, value))
        if kind.any_property is not None:
            taken.add(kind.any_property.label)
            for item in listed(definition, values.get(kind.any_property.label)):
                self.listed_property(node, definition, kind.any_property, item, path)
        for name, child in kind.nodes.items():
            self.named(node, name, child, definition, values, path, taken)
        if kind.any_node is not None and kind.any_node.alias:
            taken.add(kind.any_node.alias)
            for item in listed(definition, values.get(kind.any_node.alias)):
                self.listed(node, definition, kind.any_node, item, f"{path}/{kind.any_node.alias}")

    def named(
        self,
        node: Node,
        name: str,
        kind: NodeType,
        definition: Definition,
        values: Mapping[str, Any],
        path: str,
        taken: set[str],
    ) -> None:
        """A child with a fixed name, of a definition of its own or of this one."""
        if not kind.format:
            child = Node(name)
            inner = values if kind.inline else values.get(name, {})
            if not kind.inline:
                taken.add(name)
            if kind.optional and not inner:
                return
            self.fill(child, definition, kind, inner, path, taken)
            node.items.append(child)
            return
        if kind.format not in self.builder.abi.nodes:
            if not kind.optional:
                raise EncodeError(path, f"set {self.builder.abi.id} does not have {kind.format}")
            return
        own = self.builder.registry.get(kind.format)
        assert own.fdt is not None
        child = Node(name)
        self.fill(child, own, own.fdt, values, path, taken)
        node.items.append(child)

    def listed(
        self, node: Node, definition: Definition, kind: NodeType, item: Mapping[str, Any], path: str
    ) -> None:
        """One of many children, named by the value that the definition says."""
        label = kind.name.label if kind.name is not None else "name"
        given = item.get(label, "")
        number = (
            kind.name is not None and kind.name.type is not None and (kind.name.type.kind == "int")
        )
        name = f"{given:#x}" if number and isinstance(given, int) else given
        raw = encode_text(name) if isinstance(name, str) else b""
        if not raw or len(raw) > MAX_NODE_NAME or b"/" in raw or b"\0" in raw:
            raise EncodeError(
                f"{path}/{label}",
                f"{name!r} is not a node name: 1 to {MAX_NODE_NAME} bytes, no '/'",
            )
        values = {key: value for key, value in item.items() if key != label}
        here, text = f"{path}[{name}]", raw.decode("latin-1")
        if kind.format:
            own = self.builder.registry.get(kind.format)
            node.items.append(self.tree(own, values, here, text))
            return
        child = Node(text)
        taken: set[str] = set()
        self.fill(child, definition, kind, values, here, taken)
        self.unused(values, taken, definition, here)
        node.items.append(child)

    def listed_property(
        self, node: Node, definition: Definition, field: Field, item: Mapping[str, Any], path: str
    ) -> None:
        """One of many properties, named by the value ``name``."""
        name = item.get("name", "")
        here = f"{path}/{field.label}[{name}]"
        raw = encode_text(name, here) if isinstance(name, str) else b""
        if not raw or b"\0" in raw:
            raise EncodeError(here, "a property has a name")
        inner = replace(field, alias="")
        number = self.builder.resolve(definition, [inner], item, here)[inner.label]
        value = self.value(definition, inner, number, item, here)
        if value is not None:
            node.items.append(Property(raw.decode("latin-1"), value))

    def unused(
        self, values: Mapping[str, Any], taken: set[str], definition: Definition, path: str
    ) -> None:
        """Note values that a node has no place for."""
        why = f"{definition.id} has no such value"
        for label, value in values.items():
            if label not in taken:
                self.builder.lose_value(f"{path}/{label}", value, why)

    def value(
        self,
        definition: Definition,
        field: Field,
        number: Any,
        values: Mapping[str, Any],
        path: str,
    ) -> bytes | None:
        """Bytes of one property; None for one that is left out."""
        kind = field.type
        assert kind is not None
        here = f"{path}/{field.label}"
        if kind.kind == "string":
            return encode_text(str(number)) + b"\0"
        if kind.kind == "bytes":
            given = values.get(field.label)
            return given if isinstance(given, bytes) else None
        # What follows from other values is left out with them.
        derived = bool(field.counts) or field.holds is not None or field.label not in values
        if field.optional and not field.value and not number and derived:
            return None
        if kind.kind in ("struct", "array"):
            # A table can count a different list, so that its number is not that of its rows.
            rows = number if isinstance(number, Rows) else values.get(field.label)
            given = rows if kind.kind == "array" else number
            return self.structs(definition, field, given, here)
        order = "big" if kind.big else self.builder.geometry.byteorder
        return fit_int(number, kind.size, kind.signed, here).to_bytes(
            kind.size, order, signed=kind.signed
        )

    def structs(self, definition: Definition, field: Field, value: Any, path: str) -> bytes:
        """Bytes of a property that holds a struct, or an array of structs."""
        builder = self.builder
        assert field.type is not None
        struct = field.type.struct
        compiled = builder.registry.compile(definition, struct, builder.geometry)
        if field.type.kind == "array":
            return builder.table(compiled, value, path) if isinstance(value, Rows) else b""
        given = value if isinstance(value, Mapping) else {}
        if field.holds is None:
            return builder.record(definition, struct, given, path)
        return encode_record(compiled, given, path)


def listed(definition: Definition, items: list[Any] | None) -> list[Any]:
    """Items of a tree in a given order, in the order in which they are added."""
    # Items are added to an open tree before those that are there.
    return list(items or ())[:: -1 if definition.packed_tree == "open" else 1]


def finish(
    node: Node, definition: Definition, values: Mapping[str, Any], geometry: Geometry
) -> bytes:
    """Bytes of a tree as its writer leaves them: trimmed, or as long as its buffer.

    Args:
        values: of the tree, on which the length of a buffer may depend.
    """
    if definition.packed_tree != "open":
        return build_sequential(node)
    pages = -(-buffer_size(definition, values, geometry) // geometry.page_size)
    return build_open(node, geometry.page_size << max(0, pages - 1).bit_length())


def written(path: str, write: Callable[P, bytes], *args: P.args, **named: P.kwargs) -> bytes:
    """The bytes of a tree as ``write`` makes them.

    Raises:
        EncodeError: no writer makes such a tree: a damaged one can have a name twice.
    """
    try:
        return write(*args, **named)
    except FdtError as error:
        raise EncodeError(path, f"cannot be written as a device tree: {error}") from None


def buffer_size(definition: Definition, values: Mapping[str, Any], geometry: Geometry) -> int:
    """Bytes that a writer allocates by its rule; 0 without one."""
    rule = definition.allocate
    if not rule:
        return 0
    items = values.get(str(rule["of"]))
    return (
        int(rule["pages"]) * geometry.page_size
        + int(rule["bytes"])
        + int(rule["bytes_each"]) * len(items if items is not None else ())
    )
