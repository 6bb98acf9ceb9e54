"""Flattened device trees as part of the model, node by node as their definition says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from khotool.abi.definition import Definition, Field, Kind, NodeType
from khotool.abi.record import decode_text
from khotool.absent import Absent, Reason
from khotool.decode.choose import Evidence, choose
from khotool.decode.probes import choose_layout
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.model.image import Node, NodeKind, Span
from khotool.model.names import latin1_text, text_property

if TYPE_CHECKING:
    from khotool.decode.walk import Walker

INLINE = "inline"
"""Kind of the children of a root that are entries themselves, without a blob of their own."""


class TreeReader:
    """The part of a walk that reads device trees."""

    def __init__(self, walker: Walker) -> None:
        """Work for one walk."""
        self.walker = walker

    def read(
        self, parent: Node, fdt: FdtNode, kind: NodeType, definition: Definition, base: int
    ) -> None:
        """Properties, then children, of one node of a tree at physical address ``base``."""
        self.fields(parent, fdt, kind, definition, base)
        self.children(parent, fdt, kind, definition, base)

    # -- properties ----------------------------------------------------------------------

    def fields(
        self, parent: Node, fdt: FdtNode, kind: NodeType, definition: Definition, base: int
    ) -> None:
        """Properties of one node as fields of ``parent``, in the order of the definition."""
        walker = self.walker
        layout = self.layout_of(parent, fdt, definition, base)
        fields = [f for f in kind.properties if not f.layout or f.layout == layout]
        values: dict[str, Any] = {}
        pending: list[tuple[Node, Field]] = []
        named = {prop.name: prop for prop in reversed(fdt.properties) if prop.name}
        for field in fields:
            prop = named.get(field.name)
            if prop is None:
                # A tree that was cut says so once; what is missing behind the cut is no news.
                if not field.optional and (walker.root_blob is None or walker.root_blob.complete):
                    walker.report("KHO201", parent, f"property {field.name!r} is missing", base)
                continue
            node = self.property_node(parent, prop, field, definition, base)
            node.layout = layout
            values[field.label] = node.value
            pending.append((node, field))
        for node, field in pending:
            walker.follower.follow_field(node, field, definition, values)
        known = {f.name for f in kind.properties}
        others = [prop for prop in fdt.properties if prop.name and prop.name not in known]
        if kind.any_property is not None:
            self.listed(parent, others, kind.any_property, definition, base)
            return
        for prop in others:
            walker.report("KHO205", parent, f"property {prop.name!r} is not part of the format")
            self.raw_property(parent, prop, base)

    def listed(
        self,
        parent: Node,
        properties: list[Property],
        field: Field,
        definition: Definition,
        base: int,
    ) -> None:
        """Properties that are a list: the name of each is its key, and a value beside it."""
        walker = self.walker
        holder = parent.add(Node(field.label, NodeKind.LIST, format=definition.id))
        inner = replace(field, alias="")
        for prop in properties:
            if not walker.spend(parent):
                return
            name = latin1_text(prop.name)
            node = holder.add(
                Node("", NodeKind.RECORD, key=walker.follower.unique_key(holder, name))
            )
            # The name stands in the block of strings; what this node owns is the property.
            node.span = Span(base + prop.value_offset, len(prop.value))
            node.add(Node("name", NodeKind.VALUE, value=name))
            value = self.property_node(node, prop, inner, definition, base)
            walker.follower.follow_field(value, inner, definition, {"name": name})

    def property_node(
        self, parent: Node, prop: Property, field: Field, definition: Definition, base: int
    ) -> Node:
        """A property as a value node."""
        node = parent.add(
            Node(
                field.label,
                NodeKind.VALUE,
                field=field,
                format=definition.id,
                span=Span(base + prop.value_offset, len(prop.value)),
            )
        )
        node.value = self.property_value(node, prop, field, definition, base)
        if prop.recovered:
            node.note = "name recovered from its place in the tree"
        return node

    def property_value(
        self, node: Node, prop: Property, field: Field, definition: Definition, base: int
    ) -> Any:
        """The value of a property as its type says; Absent with a finding if it does not fit."""
        walker = self.walker
        kind = field.type
        assert kind is not None
        raw = prop.value
        if kind.kind == "string":
            return decode_text(raw)
        if kind.kind == "bytes":
            return raw
        if kind.kind in ("struct", "array"):
            compiled = walker.registry.compile(definition, kind.struct, walker.geometry)
            node.struct = kind.struct
            wrong = len(raw) % compiled.size if kind.kind == "array" else len(raw) - compiled.size
            expected = f"{'a multiple of ' if kind.kind == 'array' else ''}{compiled.size}"
            if not wrong:
                return None
        else:
            expected = str(kind.size)
            if len(raw) == kind.size:
                order = "big" if kind.big else walker.geometry.byteorder
                return int.from_bytes(raw, order, signed=kind.signed)
        message = f"{len(raw)} bytes, expected {expected}"
        walker.report("KHO202", node, f"{field.name}: {message}", base + prop.value_offset)
        return Absent(Reason.UNPARSABLE, message)

    # -- children ------------------------------------------------------------------------

    def children(
        self, parent: Node, fdt: FdtNode, kind: NodeType, definition: Definition, base: int
    ) -> None:
        """Child nodes: named ones, then a list or the entries of a root."""
        walker = self.walker
        found: set[str] = set()
        others = kind.any_node
        holder = parent
        if others is not None and others.alias:
            holder = parent.add(Node(others.alias, NodeKind.LIST, format=definition.id))
        for child in fdt.children:
            if not walker.spend(parent):
                return
            own = kind.nodes.get(child.name)
            found.add(child.name)
            if own is not None and not child.name:
                walker.nameless.add(f"name-empty at +{child.tag_offset:#x}")
            if own is not None:
                self.child(parent, child, own, definition, base)
            elif others is None:
                walker.report("KHO206", parent, f"node {child.name!r} is not part of the format")
                node = parent.add(Node(child.name, NodeKind.FDT_NODE))
                self.raw(node, child, base)
            elif others.kind == Kind.ENTRY:
                walker.entries.entry(parent, child, others, definition, base)
            elif others.kind == INLINE:
                walker.entries.inline(parent, child, base)
            else:
                node = self.element(holder, child, others, base)
                self.child(node, child, others, definition, base, node)
        for name, own in kind.nodes.items():
            if name not in found and not own.optional:
                walker.report("KHO201", parent, f"node {name!r} is missing", base)

    def element(self, holder: Node, fdt: FdtNode, kind: NodeType, base: int) -> Node:
        """One of many children: an element whose key, and first value, is the node's name."""
        walker = self.walker
        text = latin1_text(fdt.name)
        label, value = "name", None
        if kind.name is not None:
            label = kind.name.label
            if kind.name.type is not None and kind.name.type.kind == "int":
                value = _hexadecimal(text)
                if value is None:
                    walker.report("KHO206", holder, f"node {text!r} is no number in hexadecimal")
        key = text if value is None else f"{value:#x}"
        node = Node("", NodeKind.FDT_NODE, key=walker.follower.unique_key(holder, key))
        node.span = Span(base + fdt.tag_offset, 4)
        holder.add(node).add(
            Node(
                label,
                NodeKind.VALUE,
                field=kind.name,
                value=text if value is None else value,
                span=Span(base + fdt.tag_offset + 4, len(fdt.name) + 1),
            )
        )
        return node

    def child(
        self,
        parent: Node,
        fdt: FdtNode,
        kind: NodeType,
        definition: Definition,
        base: int,
        node: Node | None = None,
    ) -> None:
        """One child node, by its own definition where it has a format of its own."""
        if kind.format:
            compatible = text_property(fdt, "compatible") or ""
            own = self.own_format(node or parent, fdt, kind, compatible)
            if own is None or own.fdt is None:
                where = node or parent
                self.walker.report("ABI901", where, f"no definition for node {compatible!r}", base)
                self.raw(node or parent.add(Node(fdt.name, NodeKind.FDT_NODE)), fdt, base)
                return
            self.walker.use(own)
            definition, kind = own, own.fdt
        if node is None:
            node = parent if kind.inline else parent.add(Node(fdt.name, NodeKind.FDT_NODE))
        if node is not parent or not node.format:
            node.format = definition.id
        self.read(node, fdt, kind, definition, base)

    def own_format(
        self, node: Node, fdt: FdtNode, kind: NodeType, compatible: str
    ) -> Definition | None:
        """The definition of a node with a format of its own: the one meant, if it may be it."""
        candidates = self.walker.registry.candidates(Kind.NODE, "compatible", compatible)
        meant = self.walker.registry.definitions.get(kind.format)
        if meant in candidates:
            return meant
        return choose(self.walker, node, compatible, candidates, Evidence(tree=fdt))

    # -- trees without a definition ------------------------------------------------------

    def raw_property(self, parent: Node, prop: Property, base: int) -> None:
        """A property no definition names: its bytes."""
        parent.add(
            Node(
                prop.name or "?",
                NodeKind.RAW,
                value=prop.value,
                span=Span(base + prop.value_offset, len(prop.value)),
            )
        )

    def raw(self, parent: Node, fdt: FdtNode, base: int) -> None:
        """A tree that no definition explains, as it stands."""
        stack = [(parent, fdt)]
        while stack:
            node, source = stack.pop()
            if not self.walker.spend(node, 1 + len(source.items)):
                return
            for prop in source.properties:
                self.raw_property(node, prop, base)
            for child in source.children:
                stack.append((node.add(Node(child.name, NodeKind.FDT_NODE)), child))

    def layout_of(self, node: Node, fdt: FdtNode, definition: Definition, base: int) -> str:
        """The layout of a definition that has several; chosen once and recorded."""
        if not definition.layouts:
            return ""
        walker = self.walker
        if len(definition.layouts) == 1:
            return next(iter(definition.layouts))
        choice = walker.choices.get((definition.id, ""))
        if choice is None:
            choice = choose_layout(walker, definition, fdt, base)
            walker.choices[definition.id, ""] = choice
            if not choice.certain:
                walker.report(
                    "ABI903", node, f"{definition.id} read as {choice.layout}: {choice.why}"
                )
        return choice.layout


def _hexadecimal(text: str) -> int | None:
    """The number in a node name such as ``0x1f``; None if it is none of 64 bits."""
    digits = text.removeprefix("0x")
    if not digits or len(digits) > 16 or not all(c in "0123456789abcdef" for c in digits):
        return None
    return int(digits, 16)
