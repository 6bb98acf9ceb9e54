"""Properties of flattened device trees as values of the model, as their definition says."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.abi.definition import Definition, Field, NodeType
from khotool.abi.record import decode_record, decode_text
from khotool.absent import Absent, Reason
from khotool.codec.contexts import Walk
from khotool.codec.fields import record_fields
from khotool.codec.follow import follow
from khotool.codec.layouts import choose_layout
from khotool.codec.recorder import Recorder
from khotool.codec.scene import Scene
from khotool.codec.tables import claim_rows
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.model.names import latin1_text
from khotool.model.node import Node, NodeKind, NodeState, Span, Table
from khotool.records import dataclass, replace

IN_PLACE = ("struct", "array")
"""Kinds of properties that hold structs, not numbers or text."""


@dataclass(frozen=True, slots=True)
class TreeWalk:
    """A walk over one flattened device tree.

    Args:
        walk: over the whole image.
        definition: of the nodes that are read.
        base: physical address of the tree.
    """

    walk: Walk
    definition: Definition
    base: int

    @property
    def scene(self) -> Scene:
        """What is known of the image."""
        return self.walk.scene

    @property
    def recorder(self) -> Recorder:
        """What takes the nodes."""
        return self.walk.recorder


def properties(tree: TreeWalk, parent: Node, fdt: FdtNode, kind: NodeType) -> None:
    """Properties of one node as fields of ``parent``, in the order of the definition."""
    layout = layout_of(tree, parent, fdt)
    values: dict[str, Any] = {}
    pending: list[tuple[Node, Field]] = []
    named = {prop.name: prop for prop in reversed(fdt.properties) if prop.name}
    for field in kind.properties:
        if field.layout and field.layout != layout:
            continue
        prop = named.get(field.name)
        if prop is None:
            # A tree that was cut says so once; what is missing after the cut is not reported again.
            if not field.optional and not tree.scene.root_is_cut:
                text = f"property {field.name!r} is missing"
                tree.recorder.report("KHO201", parent, text, tree.base)
            continue
        node = property_node(tree, parent, prop, field)
        node.layout = layout
        values[field.label] = node.value
        pending.append((node, field))
    for node, field in pending:
        follow_property(tree, node, field, values)
    other_properties(tree, parent, fdt, kind)


def other_properties(tree: TreeWalk, parent: Node, fdt: FdtNode, kind: NodeType) -> None:
    """Properties that have no place of their own: a list of them, or findings."""
    known = {field.name for field in kind.properties}
    others = [prop for prop in fdt.properties if prop.name and prop.name not in known]
    if kind.any_property is not None:
        listed(tree, parent, others, kind.any_property)
        return
    for prop in others:
        tree.recorder.report("KHO205", parent, f"property {prop.name!r} is not part of the format")
        raw_property(parent, prop, tree.base)


def follow_property(tree: TreeWalk, node: Node, field: Field, siblings: dict[str, Any]) -> None:
    """What a property holds beyond a number or text, and what that leads to."""
    if isinstance(node.value, Absent):
        return
    if field.type is not None and field.type.kind in IN_PLACE:
        in_place(tree, node, field)
    follow(tree.walk, node, field, tree.definition, siblings)


def in_place(tree: TreeWalk, node: Node, field: Field) -> None:
    """A property that holds one struct, or an array of them."""
    kind = field.type
    assert kind is not None
    assert node.span is not None
    compiled = tree.scene.struct(tree.definition, kind.struct)
    data = tree.scene.read(node.span.address, node.span.size)
    if isinstance(data, Absent):
        return
    if kind.kind == "struct":
        values = decode_record(compiled, data)
        # The device tree owns the bytes; only the fields are new.
        record_fields(tree.walk, node, compiled, values, node.span.address, tree.definition)
        return
    records = np.frombuffer(data, compiled.dtype)
    extents = np.array([[node.span.address, node.span.size]], np.uint64)
    node.kind = NodeKind.TABLE
    node.table = Table(compiled, records, extents, len(records))
    claim_rows(tree.walk, node, node.table)


def listed(tree: TreeWalk, parent: Node, properties: list[Property], field: Field) -> None:
    """Properties that are a list: the name of each is its key."""
    holder = parent.add(Node(field.label, NodeKind.LIST, format=tree.definition.id))
    inner = replace(field, alias="")
    for prop in properties:
        if not tree.recorder.spend(parent):
            return
        name = latin1_text(prop.name)
        node = holder.add(Node("", NodeKind.RECORD, key=tree.recorder.unique_key(holder, name)))
        # The name is in the strings block; what this node owns is the property.
        node.span = Span(tree.base + prop.value_offset, len(prop.value))
        node.add(Node("name", NodeKind.VALUE, value=name))
        value = property_node(tree, node, prop, inner)
        follow_property(tree, value, inner, {"name": name})


def property_node(tree: TreeWalk, parent: Node, prop: Property, field: Field) -> Node:
    """A property as a value node."""
    node = parent.add(
        Node(
            field.label,
            NodeKind.VALUE,
            field=field,
            format=tree.definition.id,
            span=Span(tree.base + prop.value_offset, len(prop.value)),
        )
    )
    node.value = property_value(tree, node, prop, field)
    if prop.recovered:
        node.state = NodeState.RECOVERED_NAME
    return node


def property_value(tree: TreeWalk, node: Node, prop: Property, field: Field) -> Any:
    """The value of a property as its type says; Absent with a finding if it does not fit."""
    kind = field.type
    assert kind is not None
    raw = prop.value
    if kind.kind == "string":
        return decode_text(raw)
    if kind.kind == "bytes":
        return raw
    if kind.kind in IN_PLACE:
        compiled = tree.scene.struct(tree.definition, kind.struct)
        node.struct = kind.struct
        wrong = len(raw) % compiled.size if kind.kind == "array" else len(raw) - compiled.size
        expected = f"{'a multiple of ' if kind.kind == 'array' else ''}{compiled.size}"
        if not wrong:
            return None
    else:
        expected = str(kind.size)
        if len(raw) == kind.size:
            order = "big" if kind.big else tree.scene.geometry.byteorder
            return int.from_bytes(raw, order, signed=kind.signed)
    message = f"{len(raw)} bytes, expected {expected}"
    tree.recorder.report("KHO202", node, f"{field.name}: {message}", tree.base + prop.value_offset)
    return Absent(Reason.UNPARSABLE, message)


def layout_of(tree: TreeWalk, node: Node, fdt: FdtNode) -> str:
    """The layout of a definition that has several; chosen once and recorded."""
    definition = tree.definition
    if len(definition.layouts) < 2:
        return next(iter(definition.layouts), "")
    choice = tree.recorder.layout_of(definition)
    if choice is None:
        choice = choose_layout(tree.scene, definition, fdt, tree.base)
        tree.recorder.choose_layout(node, choice)
    return choice.layout


# -- without a definition ----------------------------------------------------------------


def raw_property(parent: Node, prop: Property, base: int) -> None:
    """A property no definition names: its bytes."""
    parent.add(
        Node(
            prop.name or "?",
            NodeKind.RAW,
            value=prop.value,
            span=Span(base + prop.value_offset, len(prop.value)),
        )
    )


def raw_tree(walk: Walk, parent: Node, fdt: FdtNode, base: int) -> None:
    """A tree that no definition explains, property by property."""
    stack = [(parent, fdt)]
    while stack:
        node, source = stack.pop()
        if not walk.recorder.spend(node, 1 + len(source.items)):
            return
        for prop in source.properties:
            raw_property(node, prop, base)
        for child in source.children:
            stack.append((node.add(Node(child.name, NodeKind.FDT_NODE)), child))
