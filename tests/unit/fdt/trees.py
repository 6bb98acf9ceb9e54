"""Trees for hypothesis, and what two trees must share to be called equal."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from khotool.fdt.blob import Item, Node, Nop, Property

LEGAL = "abcdefghijklmnopqrstuvwxyzABCXYZ0189,._+*#?-"

names = st.one_of(
    st.sampled_from(["size", "blob-size", "ize", "start", "fdt", "compatible"]),
    st.text(LEGAL, min_size=1, max_size=12),
)
any_names = st.one_of(names, st.text(st.characters(codec="latin-1", exclude_characters="\0")))
texts = st.lists(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1), min_size=1
)
values = st.one_of(
    st.binary(max_size=20),
    texts.map(lambda pieces: "\0".join([*pieces, ""]).encode("ascii")),
)


def properties(of: st.SearchStrategy[str] = names) -> st.SearchStrategy[Property]:
    return st.builds(Property, of, values)


def _below(children: st.SearchStrategy[Item]) -> st.SearchStrategy[Item]:
    return st.builds(lambda name, items: Node(name, items=items), names, st.lists(children))


# Any order of items, duplicates included.
wild_roots = st.builds(
    lambda items: Node("", items=items),
    st.lists(
        st.recursive(
            st.one_of(properties(any_names), st.builds(Nop)),
            lambda children: st.builds(
                lambda name, items: Node(name, items=items),
                any_names,
                st.lists(children, max_size=5),
            ),
            max_leaves=12,
        ),
        max_size=6,
    ),
)


def _tidy(name: str, own: list[Property], children: list[Node]) -> Node:
    return Node(name, items=[*own, *children])


_unique_properties = st.lists(properties(), max_size=4, unique_by=lambda item: item.name)
_leaves = st.builds(lambda name, own: _tidy(name, own, []), names, _unique_properties)
tidy_nodes = st.recursive(
    _leaves,
    lambda nodes: st.builds(
        _tidy,
        names,
        _unique_properties,
        st.lists(nodes, max_size=3, unique_by=lambda node: node.name),
    ),
    max_leaves=8,
)
# Properties first and no name twice in a node: what DTS can express.
tidy_roots = st.builds(
    lambda own, children: _tidy("", own, children),
    _unique_properties,
    st.lists(tidy_nodes, max_size=3, unique_by=lambda node: node.name),
)


def flat(root: Node | None) -> list[tuple[int, str, list[tuple[str, bytes | None]]]]:
    """Depth, name and items of every node in stream order, without any offset."""
    assert root is not None
    shown: list[tuple[int, str, list[tuple[str, bytes | None]]]] = []
    for depth, node in root.walk():
        items: list[tuple[str, bytes | None]] = []
        for item in node.items:
            if isinstance(item, Property):
                items.append((item.name, item.value))
            else:
                items.append((item.name if isinstance(item, Node) else "nop", None))
        shown.append((depth, node.name, items))
    return shown


def split_read_write(root: Node) -> tuple[Node, list[Node]]:
    """Arguments of ``build_read_write`` that give the tree of a parsed 6.19+ KHO root.

    The kernel writes only properties sequentially, so every child counts as added; it sets
    all properties of a node before it adds nodes below. NOPs in children are dropped.
    """
    initial = Node(root.name, items=[item for item in root.items if not isinstance(item, Node)])
    return initial, [_reversed(child) for child in reversed(root.children)]


def _reversed(root: Node) -> Node:
    """Copy with properties, then children, in the opposite order on every level."""
    top = Node(root.name)
    stack = [(root, top)]
    while stack:
        source, target = stack.pop()
        target.items.extend(replace(item) for item in reversed(source.properties))
        for child in reversed(source.children):
            copy = Node(child.name)
            stack.append((child, copy))
            target.items.append(copy)
    return top
