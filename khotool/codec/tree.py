"""A device tree at an address, with a definition of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from khotool.abi.definition import Definition, Field, Shape
from khotool.absent import Absent
from khotool.codec.base import Pointer, reference_of, register
from khotool.codec.contexts import Builder, Reader, Walk
from khotool.codec.fdt_nodes import read_node
from khotool.codec.problems import FDT_RULES, with_limit_hint
from khotool.codec.properties import TreeWalk
from khotool.codec.record import SingleCodec, holder_of, written_target
from khotool.codec.scene import FDT_HEADER, FDT_MAGIC
from khotool.fdt.blob import Blob, FdtError
from khotool.fdt.parse import parse
from khotool.model.node import Node, Span
from khotool.model.region import FdtRegion
from khotool.structured import Table as Written

MAX_FDT = 64 << 20
"""Bytes of one device tree that are read; the kernel's own are a page to a few megabytes."""
NAMED_ROOT = "named-root"
"""Code of the problem of a root node that has a name."""


@register(Shape.TREE)
class TreeCodec(SingleCodec):
    """A flattened device tree at an address."""

    def walk(self, walk: Walk, node: Node, pointer: Pointer) -> None:
        """The values of the tree, below its pointer or among its siblings."""
        own = walk.scene.registry.get(pointer.reference.format)
        tree_at(walk, node, own, holder_of(node, pointer.reference))

    def read(self, reader: Reader, definition: Definition, field: Field, table: Written) -> Any:
        """The values of the tree."""
        own = reader.registry.get(reference_of(field).format)
        return reader.content(own, written_target(field, table))

    def placed(
        self, builder: Builder, pointer: Pointer, values: Mapping[str, Any], path: str
    ) -> int:
        """The tree."""
        return builder.place_tree(builder.registry.get(pointer.reference.format), values, path)


def tree_at(walk: Walk, node: Node, definition: Definition, holder: Node | None = None) -> None:
    """The device tree that a node's value leads to, its values in ``holder`` or in ``node``."""
    address = int(node.value)
    blob = read_fdt(walk, node, address, definition.root_name)
    if blob is None or blob.root is None or definition.fdt is None:
        return
    walk.recorder.use(definition)
    node.target = Span(address, len(blob.data))
    node.format = definition.id
    walk.claim(node, address, len(blob.data))
    read_node(TreeWalk(walk, definition, address), holder or node, blob.root, definition.fdt)


def read_fdt(walk: Walk, node: Node, address: int, root_name: str = "") -> Blob | None:
    """Read and parse a device tree; None, with a finding, if there is none.

    Args:
        root_name: what its root node is called.
    """
    scene, recorder = walk.scene, walk.recorder
    data = scene.read(address, FDT_HEADER)
    if not isinstance(data, Absent):
        if bytes(data[:4]) != FDT_MAGIC:
            recorder.report("FDT101", node, f"no device tree at {address:#x}", address)
            return None
        size = int.from_bytes(data[4:8], "big")
        data = scene.read(address, min(max(size, FDT_HEADER), MAX_FDT), short=True)
    if isinstance(data, Absent):
        # What was there for the header may be gone, as memory of a running host may be.
        walk.absent(node, address, data)
        return None
    if not recorder.spend(node, 1, len(data)):
        return None
    try:
        blob = parse(data, max_tokens=scene.limits.nodes, max_depth=scene.limits.depth)
    except FdtError as error:
        recorder.report("FDT101", node, str(error), address)
        return None
    own_tree(walk, node, address, blob, root_name)
    return blob


def own_tree(walk: Walk, node: Node, address: int, blob: Blob, root_name: str = "") -> None:
    """Make a parsed device tree a region, and report what was wrong with it."""
    walk.recorder.regions.append(FdtRegion(node.path, address, blob, node=node))
    named = blob.root is not None and root_name and blob.root.name == root_name
    for problem in blob.problems:
        if named and problem.code == NAMED_ROOT:
            continue
        text = f"{problem.code} at +{problem.offset:#x}: {problem.text}"
        walk.recorder.report(
            FDT_RULES.get(problem.code, "FDT103"),
            node,
            with_limit_hint(problem.code, text),
            address + problem.offset,
            code=problem.code,
        )
