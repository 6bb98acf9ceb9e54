"""Nodes of flattened device trees as part of the model, as their definition says."""

from __future__ import annotations

from collections.abc import Sequence

from khotool.abi.definition import Definition, Kind, NodeType
from khotool.codec.choose import choose
from khotool.codec.conditions import Evidence
from khotool.codec.contexts import Walk
from khotool.codec.properties import TreeWalk, properties, raw_tree
from khotool.codec.scene import Scene
from khotool.fdt.blob import Node as FdtNode
from khotool.model.names import latin1_text, text_property
from khotool.model.node import Node, NodeKind, NodeState, Span

INLINE = "inline"
"""Kind of the children of a root that are entries themselves, without a blob of their own."""


def read_node(tree: TreeWalk, parent: Node, fdt: FdtNode, kind: NodeType) -> None:
    """Properties, then children, of one node of a tree."""
    properties(tree, parent, fdt, kind)
    children(tree, parent, fdt, kind)


def children(tree: TreeWalk, parent: Node, fdt: FdtNode, kind: NodeType) -> None:
    """Child nodes: named ones, then a list or the entries of a root."""
    recorder, others = tree.recorder, kind.any_node
    holder = parent
    if others is not None and others.alias:
        holder = parent.add(Node(others.alias, NodeKind.LIST, format=tree.definition.id))
    for found in fdt.children:
        if not recorder.spend(parent):
            return
        own = kind.nodes.get(found.name)
        if own is not None:
            if not found.name:
                # What the tokenizer says of a node without a name does not hold here.
                recorder.excuse("name-empty", tree.base + found.tag_offset)
            child(tree, parent, found, own)
        elif others is not None:
            other_child(tree, parent, holder, found, others)
        else:
            recorder.report("KHO206", parent, f"node {found.name!r} is not part of the format")
            raw_tree(tree.walk, parent.add(Node(found.name, NodeKind.FDT_NODE)), found, tree.base)
    present = {found.name for found in fdt.children}
    for name, own in kind.nodes.items():
        if name not in present and not own.optional:
            recorder.report("KHO201", parent, f"node {name!r} is missing", tree.base)


def other_child(tree: TreeWalk, parent: Node, holder: Node, fdt: FdtNode, kind: NodeType) -> None:
    """A child that has no place of its own: an entry of the root, or an element of a list."""
    if kind.kind == Kind.ENTRY:
        properties(tree, entry_node(tree, parent, fdt), fdt, kind)
    elif kind.kind == INLINE:
        inline_entry(tree, entry_node(tree, parent, fdt), fdt)
    else:
        node = element(tree, holder, fdt, kind)
        child(tree, node, fdt, kind, node)


def element(tree: TreeWalk, holder: Node, fdt: FdtNode, kind: NodeType) -> Node:
    """One of many children: an element whose key, and first value, is the node's name."""
    text = latin1_text(fdt.name)
    label, value = "name", None
    if kind.name is not None:
        label = kind.name.label
        if kind.name.type is not None and kind.name.type.kind == "int":
            value = _hexadecimal(text)
            if value is None:
                tree.recorder.report("KHO206", holder, f"node {text!r} is not a hexadecimal number")
    key = text if value is None else f"{value:#x}"
    node = Node("", NodeKind.FDT_NODE, key=tree.recorder.unique_key(holder, key))
    node.span = Span(tree.base + fdt.tag_offset, 4)
    holder.add(node).add(
        Node(
            label,
            NodeKind.VALUE,
            field=kind.name,
            value=text if value is None else value,
            span=Span(tree.base + fdt.tag_offset + 4, len(fdt.name) + 1),
        )
    )
    return node


def child(
    tree: TreeWalk, parent: Node, fdt: FdtNode, kind: NodeType, node: Node | None = None
) -> None:
    """One child node, by its own definition where it has a format of its own."""
    if kind.format:
        compatible = text_property(fdt, "compatible") or ""
        where = node or parent
        own = own_format(tree.walk, where, fdt, kind, compatible)
        if own is None or own.fdt is None:
            text = f"no definition for node {compatible!r}"
            tree.recorder.report("ABI901", where, text, tree.base)
            shown = node or parent.add(Node(fdt.name, NodeKind.FDT_NODE))
            raw_tree(tree.walk, shown, fdt, tree.base)
            return
        tree.recorder.use(own)
        tree, kind = TreeWalk(tree.walk, own, tree.base), own.fdt
    if node is None:
        node = parent if kind.inline else parent.add(Node(fdt.name, NodeKind.FDT_NODE))
    if node is not parent or not node.format:
        node.format = tree.definition.id
    read_node(tree, node, fdt, kind)


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


def entry_node(tree: TreeWalk, parent: Node, fdt: FdtNode) -> Node:
    """The node of one entry of a KHO root."""
    node = parent.add(Node(latin1_text(fdt.name), NodeKind.ENTRY))
    tree.recorder.name_entry(node)
    node.span = Span(tree.base + fdt.tag_offset, 4)
    return node


def inline_entry(tree: TreeWalk, node: Node, fdt: FdtNode) -> None:
    """An entry in the root itself, without a blob of its own."""
    walk, base = tree.walk, tree.base
    node.target = Span(base + fdt.tag_offset, fdt.size)
    compatible = text_property(fdt, "compatible")
    by, string = ("entry", node.name) if compatible is None else ("compatible", compatible)
    candidates = walk.scene.registry.candidates(Kind.ENTRY, by, string)
    definition = entry_format(walk, node, compatible or node.name, candidates, Evidence(tree=fdt))
    if definition is None or definition.fdt is None:
        unknown_entry(walk, node, f"no definition for {compatible or node.name!r}", base)
        raw_tree(walk, node, fdt, base)
        return
    walk.recorder.use(definition)
    node.format = definition.id
    read_node(TreeWalk(walk, definition, base), node, fdt, definition.fdt)


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
