"""Device trees of a handover, node by node as their definitions say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from khotool.abi.definition import Definition, Field, NodeType
from khotool.abi.record import encode_record, encode_text, fit_int
from khotool.encode.build import Builder
from khotool.encode.handover import Rows
from khotool.errors import EncodeError
from khotool.fdt.blob import Node, Property

MAX_NODE_NAME = 31


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
        node = Node(name)
        taken: set[str] = set()
        self.fill(node, definition, kind, values, path, taken)
        for label, value in values.items():
            if label not in taken:
                self.builder.lose(f"{path}/{label}", value, f"{definition.id} has no such value")
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
        numbers = self.builder.resolve(definition, fields, values, path)
        for field in fields:
            value = self.value(definition, field, numbers[field.label], values, path)
            if value is not None:
                node.items.append(Property(field.name, value))
        for name, child in kind.nodes.items():
            self.named(node, name, child, definition, values, path, taken)
        if kind.any_node is not None and kind.any_node.alias:
            taken.add(kind.any_node.alias)
            items = values.get(kind.any_node.alias) or []
            for item in items:
                self.listed(node, kind.any_node, item, f"{path}/{kind.any_node.alias}")

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

    def listed(self, node: Node, kind: NodeType, item: Mapping[str, Any], path: str) -> None:
        """One of many children, named by the value ``name``."""
        name = item.get("name", "")
        raw = encode_text(name) if isinstance(name, str) else b""
        if not raw or len(raw) > MAX_NODE_NAME or b"/" in raw or b"\0" in raw:
            raise EncodeError(
                f"{path}/name", f"{name!r} is no node name: 1 to {MAX_NODE_NAME} bytes, no '/'"
            )
        own = self.builder.registry.get(kind.format)
        values = {label: value for label, value in item.items() if label != "name"}
        node.items.append(self.tree(own, values, f"{path}[{name}]", raw.decode("latin-1")))

    def value(
        self,
        definition: Definition,
        field: Field,
        number: Any,
        values: Mapping[str, Any],
        path: str,
    ) -> bytes | None:
        """Bytes of one property; None for one that is left out."""
        builder = self.builder
        kind = field.type
        assert kind is not None
        here = f"{path}/{field.label}"
        size_of = values.get("start") if field.role == "bytes" else None
        if kind.kind == "string":
            return encode_text(str(number)) + b"\0"
        if kind.kind == "bytes":
            given = values.get(field.label)
            return given if isinstance(given, bytes) else None
        if kind.kind == "struct":
            compiled = builder.registry.compile(definition, kind.struct, builder.geometry)
            return encode_record(compiled, number if isinstance(number, Mapping) else {}, here)
        if kind.kind == "array":
            rows = values.get(field.label)
            if not isinstance(rows, Rows):
                return b""
            compiled = builder.registry.compile(definition, kind.struct, builder.geometry)
            return builder.table(compiled, rows, here)
        if size_of is not None and hasattr(size_of, "sizes") and not number:
            number = int(size_of.sizes[0])
        order = "big" if kind.big else builder.geometry.byteorder
        return fit_int(number, kind.size, kind.signed, here).to_bytes(
            kind.size, order, signed=kind.signed
        )
