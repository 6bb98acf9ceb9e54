"""Device trees of a handover, node by node as their definitions say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from khotool.records import dataclass, field, replace

MAX_NODE_NAME = 31
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Source:
    """What a node of a tree is made of.

    Args:
        definition: of the node.
        values: by label; of nodes inside it too, where they are inline.
        path: of the node in the model.
        taken: labels of the values that were used.
    """

    definition: Definition
    values: Mapping[str, Any]
    path: str
    taken: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class FdtBuilder:
    """Builds the trees of one handover; what properties point to goes through ``builder``."""

    builder: Builder

    def tree(
        self, definition: Definition, values: Mapping[str, Any], path: str, name: str = ""
    ) -> Node:
        """The tree of a definition whose content is a device tree."""
        assert definition.fdt is not None
        source = Source(definition, values, path)
        return self.node(name or definition.root_name, definition.fdt, source)

    def node(self, name: str, kind: NodeType, source: Source) -> Node:
        """A node; values that it has no place for are noted."""
        node = self.filled(name, kind, source)
        why = f"{source.definition.id} has no such value"
        for label, value in source.values.items():
            if label not in source.taken:
                self.builder.lose_value(f"{source.path}/{label}", value, why)
        return node

    def filled(self, name: str, kind: NodeType, source: Source) -> Node:
        """A node with its properties and children."""
        node, definition, values, path = Node(name), source.definition, source.values, source.path
        layout = self.builder.abi.layouts.get(definition.id, "")
        fields = [f for f in kind.properties if not f.layout or f.layout == layout]
        for prop in fields:
            source.taken.add(prop.label)
            if prop.points_to is not None:
                labels = target_labels(self.builder.registry, definition, prop.points_to)
                source.taken.update(labels)
        numbers = self.builder.resolve(definition, fields, values, path)
        for prop in fields:
            value = self.value(prop, numbers[prop.label], source)
            if value is not None:
                node.items.append(Property(prop.name, value))
        others, children = kind.any_property, kind.any_node
        if others is not None:
            source.taken.add(others.label)
            for item in listed(definition, values.get(others.label)):
                node.items += self.listed_property(others, source, item)
        for name, child in kind.nodes.items():
            node.items += self.named(name, child, source)
        if children is not None and children.alias:
            source.taken.add(children.alias)
            for item in listed(definition, values.get(children.alias)):
                node.items.append(self.listed(children, source, item))
        return node

    def named(self, name: str, kind: NodeType, source: Source) -> Iterator[Node]:
        """A child with a fixed name, of a definition of its own or of this one."""
        if not kind.format:
            inner = source
            if not kind.inline:
                source.taken.add(name)
                inner = replace(source, values=source.values.get(name, {}))
            if not kind.optional or inner.values:
                yield self.filled(name, kind, inner)
        elif kind.format in self.builder.abi.nodes:
            own = self.builder.registry.get(kind.format)
            assert own.fdt is not None
            yield self.filled(name, own.fdt, replace(source, definition=own))
        elif not kind.optional:
            text = f"set {self.builder.abi.id} does not have {kind.format}"
            raise EncodeError(source.path, text)

    def listed(self, kind: NodeType, source: Source, item: Mapping[str, Any]) -> Node:
        """One of many children, named by the value that the definition says."""
        label = kind.name.label if kind.name is not None else "name"
        type_of = kind.name.type if kind.name is not None else None
        name = item.get(label, "")
        if type_of is not None and type_of.kind == "int" and isinstance(name, int):
            name = f"{name:#x}"
        raw = encode_text(name) if isinstance(name, str) else b""
        path = f"{source.path}/{kind.alias}"
        if not raw or len(raw) > MAX_NODE_NAME or b"/" in raw or b"\0" in raw:
            raise EncodeError(
                f"{path}/{label}",
                f"{name!r} is not a node name: 1 to {MAX_NODE_NAME} bytes, no '/'",
            )
        values = {key: value for key, value in item.items() if key != label}
        here, text = f"{path}[{name}]", raw.decode("latin-1")
        if kind.format:
            return self.tree(self.builder.registry.get(kind.format), values, here, text)
        return self.node(text, kind, Source(source.definition, values, here))

    def listed_property(
        self, kind: Field, source: Source, item: Mapping[str, Any]
    ) -> Iterator[Property]:
        """One of many properties, named by the value ``name``."""
        name = item.get("name", "")
        here = f"{source.path}/{kind.label}[{name}]"
        raw = encode_text(name, here) if isinstance(name, str) else b""
        if not raw or b"\0" in raw:
            raise EncodeError(here, "a property has a name")
        inner = replace(kind, alias="")
        number = self.builder.resolve(source.definition, [inner], item, here)[inner.label]
        value = self.value(inner, number, Source(source.definition, item, here))
        if value is not None:
            yield Property(raw.decode("latin-1"), value)

    def value(self, prop: Field, number: Any, source: Source) -> bytes | None:
        """Bytes of one property; None for one that is left out."""
        kind, values = prop.type, source.values
        assert kind is not None
        here = f"{source.path}/{prop.label}"
        if kind.kind == "string":
            return encode_text(str(number)) + b"\0"
        if kind.kind == "bytes":
            given = values.get(prop.label)
            return given if isinstance(given, bytes) else None
        # What follows from other values is left out with them.
        derived = bool(prop.counts) or prop.holds is not None or prop.label not in values
        if prop.optional and not prop.value and not number and derived:
            return None
        if kind.kind in ("struct", "array"):
            # A table can count a different list, so that its number is not that of its rows.
            rows = number if isinstance(number, Rows) else values.get(prop.label)
            given = rows if kind.kind == "array" else number
            return self.structs(source.definition, prop, given, here)
        order = "big" if kind.big else self.builder.geometry.byteorder
        stored = fit_int(number, kind.size, kind.signed, here)
        return stored.to_bytes(kind.size, order, signed=kind.signed)

    def structs(self, definition: Definition, prop: Field, value: Any, path: str) -> bytes:
        """Bytes of a property that holds a struct, or an array of structs."""
        builder = self.builder
        assert prop.type is not None
        struct = prop.type.struct
        compiled = builder.registry.compile(definition, struct, builder.geometry)
        if prop.type.kind == "array":
            return builder.table(compiled, value, path) if isinstance(value, Rows) else b""
        given = value if isinstance(value, Mapping) else {}
        if prop.holds is None:
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
    if rule is None:
        return 0
    items = values.get(rule.of)
    each = rule.bytes_each * len(items if items is not None else ())
    return rule.pages * geometry.page_size + rule.bytes + each
