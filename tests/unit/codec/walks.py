"""Walks for tests: over any memory, with nothing found yet."""

from __future__ import annotations

from typing import Any

from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.codec.contexts import Walk
from khotool.codec.scene import Scene
from khotool.codec.tree import read_fdt
from khotool.decode.decoded import walk_root
from khotool.discovery.root_tree import read_root
from khotool.fdt.blob import Blob
from khotool.memory.space import AddressSpace


def walk_over(space: AddressSpace, registry: Registry, page: int = 4096, **options: Any) -> Walk:
    """A walk of which nothing is known but the memory."""
    return Walk.over(Scene.of(space, registry, Geometry(page), **options))


def walk_blob(walk: Walk, blob: Blob, place: int) -> Walk:
    """The walk once it has read a root that is parsed already, and all that hangs from it."""
    root = read_root(walk.scene, blob, place)
    walk = walk.knowing(root.scene)
    walk_root(walk, root)
    return walk


def walk_place(walk: Walk, place: int) -> Walk:
    """The walk once it has read the root at a physical address, if there is one."""
    blob = read_fdt(walk, walk.recorder.tree, place)
    return walk if blob is None or blob.root is None else walk_blob(walk, blob, place)
