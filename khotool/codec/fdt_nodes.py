"""Nodes of flattened device trees as part of the model, as their definition says."""

from __future__ import annotations

from collections.abc import Sequence

from khotool.abi.definition import Definition, Kind, NodeType
from khotool.codec.choose import choose
from khotool.codec.conditions import Evidence
from khotool.codec.contexts import Walk
from khotool.codec.properties import properties, raw_tree
from khotool.codec.scene import Scene
from khotool.fdt.blob import Node as FdtNode
from khotool.model.names import latin1_text, text_property
from khotool.model.node import Node, NodeKind, NodeState, Span

INLINE = "inline"
"""Kind of the children of a root that are entries themselves, without a blob of their own."""


def read_node(
    walk: Walk, parent: Node, fdt: FdtNode, kind: NodeType, definition: Definition, base: int
) -> None:
    """Properties, then children, of one node of a tree at physical address ``base``."""
    properties(walk, parent, fdt, kind, definition, base)
    children(walk, parent, fdt, kind, definition, base)


def children(
    walk: Walk, parent: Node, fdt: FdtNode, kind: NodeType, definition: Definition, base: int
) -> None:
    """Child nodes: named ones, then a list or the entries of a root."""
    others = kind.any_node
    holder = parent
    if others is not None and others.alias:
        holder = parent.add(Node(others.alias, NodeKind.LIST, format=definition.id))
    for found in fdt.children:
        if not walk.recorder.spend(parent):
            return
        own = kind.nodes.get(found.name)
        if own is not None:
            if not found.name:
                # What the tokenizer says of a node without a name does not hold here.
                walk.recorder.excuse("name-empty", base + found.tag_offset)
            child(walk, parent, found, own, definition, base)
        elif others is not None:
            other_child(walk, parent, holder, found, others, definition, base)
        else:
            text = f"node {found.name!r} is not part of the format"
            walk.recorder.report("KHO206", parent, text)
            raw_tree(walk, parent.add(Node(found.name, NodeKind.FDT_NODE)), found, base)
    present = {found.name for found in fdt.children}
    for name, own in kind.nodes.items():
        if name not in present and not own.optional:
            walk.recorder.report("KHO201", parent, f"node {name!r} is missing", base)


def other_child(
    walk: Walk,
    parent: Node,
    holder: Node,
    fdt: FdtNode,
    kind: NodeType,
    definition: Definition,
    base: int,
) -> None:
    """A child that has no place of its own: an entry of the root, or an element of a list."""
    if kind.kind == Kind.ENTRY:
        properties(walk, entry_node(walk, parent, fdt, base), fdt, kind, definition, base)
    elif kind.kind == INLINE:
        inline_entry(walk, entry_node(walk, parent, fdt, base), fdt, base)
    else:
        node = element(walk, holder, fdt, kind, base)
        child(walk, node, fdt, kind, definition, base, node)


def element(walk: Walk, holder: Node, fdt: FdtNode, kind: NodeType, base: int) -> Node:
    """One of many children: an element whose key, and first value, is the node's name."""
    text = latin1_text(fdt.name)
    label, value = "name", None
    if kind.name is not None:
        label = kind.name.label
        if kind.name.type is not None and kind.name.type.kind == "int":
            value = _hexadecimal(text)
            if value is None:
                walk.recorder.report("KHO206", holder, f"node {text!r} is not a hexadecimal number")
    key = text if value is None else f"{value:#x}"
    node = Node("", NodeKind.FDT_NODE, key=walk.recorder.unique_key(holder, key))
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
    walk: Walk,
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
        own = own_format(walk, node or parent, fdt, kind, compatible)
        if own is None or own.fdt is None:
            where = node or parent
            walk.recorder.report("ABI901", where, f"no definition for node {compatible!r}", base)
            raw_tree(walk, node or parent.add(Node(fdt.name, NodeKind.FDT_NODE)), fdt, base)
            return
        walk.recorder.use(own)
        definition, kind = own, own.fdt
    if node is None:
        node = parent if kind.inline else parent.add(Node(fdt.name, NodeKind.FDT_NODE))
    if node is not parent or not node.format:
        node.format = definition.id
    read_node(walk, node, fdt, kind, definition, base)


def own_format(
    walk: Walk, node: Node, fdt: FdtNode, kind: NodeType, compatible: str
) -> Definition | None:
    """The definition of a node with a format of its own: the one meant, if it may be it."""
    candidates = walk.scene.registry.candidates(Kind.NODE, "compatible", compatible)
    meant = walk.scene.registry.definitions.get(kind.format)
    if meant in candidates:
        return meant
    chosen = choose(walk.scene, compatible, candidates, Evidence(tree=fdt))
    walk.recorder.choose(node, chosen.choice)
    return chosen.definition


# -- entries of a root -------------------------------------------------------------------


def entry_node(walk: Walk, parent: Node, fdt: FdtNode, base: int) -> Node:
    """The node of one entry of a KHO root."""
    node = parent.add(Node(latin1_text(fdt.name), NodeKind.ENTRY))
    walk.recorder.name_entry(node)
    node.span = Span(base + fdt.tag_offset, 4)
    return node


def inline_entry(walk: Walk, node: Node, fdt: FdtNode, base: int) -> None:
    """An entry in the root itself, without a blob of its own."""
    node.target = Span(base + fdt.tag_offset, fdt.size)
    compatible = text_property(fdt, "compatible")
    registry = walk.scene.registry
    candidates = registry.candidates(Kind.ENTRY, "compatible", compatible or "")
    if compatible is None:
        candidates = registry.candidates(Kind.ENTRY, "entry", node.name)
    definition = entry_format(walk, node, compatible or node.name, candidates, Evidence(tree=fdt))
    if definition is None or definition.fdt is None:
        unknown_entry(walk, node, f"no definition for {compatible or node.name!r}", base)
        raw_tree(walk, node, fdt, base)
        return
    walk.recorder.use(definition)
    node.format = definition.id
    read_node(walk, node, fdt, definition.fdt, definition, base)


def entry_format(
    walk: Walk, node: Node, string: str, candidates: Sequence[Definition], evidence: Evidence
) -> Definition | None:
    """The definition of an entry: the one that --abi names, else the one that fits best."""
    forced = forced_entry(walk.scene, node.name)
    if forced is not None:
        return forced
    chosen = choose(walk.scene, string, candidates, evidence)
    walk.recorder.choose(node, chosen.choice)
    return chosen.definition


def forced_entry(scene: Scene, name: str) -> Definition | None:
    """The definition that --abi names for the entry of this name."""
    for identifier in scene.abi:
        definition = scene.registry.definitions.get(identifier)
        if definition is not None and name in definition.match.get("entry", ()):
            return definition
    return None


def unknown_entry(walk: Walk, node: Node, message: str, address: int) -> None:
    """Say that the format of an entry is not known."""
    known = any(node.name in d.match.get("entry", ()) for d in walk.scene.registry)
    walk.recorder.report("ABI901" if known else "ABI902", node, message, address)
    node.state = NodeState.UNKNOWN_FORMAT


def _hexadecimal(text: str) -> int | None:
    """The number in a node name such as ``0x1f``; None if it is not a number of 64 bits."""
    digits = text.removeprefix("0x")
    if not digits or len(digits) > 16 or not all(c in "0123456789abcdef" for c in digits):
        return None
    return int(digits, 16)
