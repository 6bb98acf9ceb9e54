"""Damaged images on purpose, each with a record of what was changed and what that causes."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from khotool.abi.definition import AbiSet
from khotool.abi.registry import Registry
from khotool.encode.fresh import Built
from khotool.encode.mutate import apply_mutations
from khotool.encode.reopen import image_of
from khotool.encode.sets import set_of
from khotool.errors import EncodeError, KhotoolError, UsageError
from khotool.image.model import UNPLACED, Image, Node

EDGES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 32, (1 << 63) - 1, 1 << 63,
         (1 << 64) - 1)  # fmt: skip
TRIES = 20
"""Mutations drawn for one image until one can be applied."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One damaged image.

    Args:
        mutations: as a recipe has them, so that a manifest reproduces them.
        rules: rules that fire on it and did not on the image it was made from.
        verdict: what the kernel does with it; None without a kernel, or if it does not open.
        error: why it no longer opens, else empty.
    """

    built: Built
    mutations: list[dict[str, Any]]
    rules: list[str]
    verdict: str | None
    error: str


def sample(abi: AbiSet) -> dict[str, Any]:
    """A manifest of everything that a set carries, to have something to damage."""
    made: dict[str, Any] = {"abi": abi.id}
    if "memblock" in abi.entries:
        made["reserve_mem"] = [{"name": "trace", "size": "64K"}, {"name": "oops", "size": "8K"}]
    if "kho_test" in abi.entries:
        made["kho_test"] = {"orders": [0, 3, 0, 1], "csum": 0x12345678}
    if "LUO" in abi.entries:
        made["session"] = [
            {"name": "vm-alpha", "file": [
                {"token": 1, "size": "40K", "contents": {"pattern": "page"}},
                {"token": 2, "size": 5000, "contents": {"random": 1}},
            ]},
            {"name": "vm-beta", "file": [{"token": 7, "size": 0}]},
            {"name": "empty"},
        ]  # fmt: skip
    return made


def release_of(image: Image) -> str | None:
    """The release whose kernel is asked for its verdict: the image's own, or one of its set.

    None where khotool has a model of none of them.
    """
    from khotool.check.kernels.families import kernel_of

    releases = [image.info.osrelease]
    with suppress(EncodeError):
        abi = set_of(image)
        releases += [abi.last, abi.first]
    for release in releases:
        if not release:
            continue
        try:
            kernel_of(release)
        except UsageError:
            continue
        return release
    return None


def mutants(
    base: Built,
    registry: Registry,
    count: int,
    seed: int,
    most: int = 2,
    kernel: str | None = None,
) -> Iterator[Mutant]:
    """Damaged copies of an image; the same seed gives the same copies.

    Args:
        most: mutations in one copy at most.
        kernel: release whose verdict is given.

    Raises:
        UsageError: a release that khotool has no model of.
    """
    if kernel is not None:
        from khotool.check.kernels.families import kernel_of

        kernel_of(kernel)
    image = image_of(base, registry)
    before = set(_rules(image))
    nodes = [node for node in image.tree.walk() if _can_change(node)]
    pointers = [node for node in nodes if node.target is not None]
    lists = [node for node in image.tree.walk() if _has_links(node)]
    for number in range(count):
        rnd = random.Random(f"{seed}:{number}")
        for _ in range(TRIES):
            wanted = [
                _draw(rnd, image, nodes, pointers, lists)
                for _ in range(rnd.randint(1, max(1, most)))
            ]
            changed = copy.copy(base)
            changed.segments = list(base.segments)
            try:
                apply_mutations(changed, wanted, registry, "fuzz")
            except KhotoolError:
                continue
            yield _mutant(changed, wanted, registry, before, kernel)
            break


def _mutant(
    built: Built,
    mutations: list[dict[str, Any]],
    registry: Registry,
    before: set[str],
    kernel: str | None,
) -> Mutant:
    from khotool.check.kernels.judge import judge

    try:
        image = image_of(built, registry)
    except KhotoolError as error:
        return Mutant(built, mutations, [], None, str(error))
    verdict = None if kernel is None else str(judge(image, kernel).outcome)
    return Mutant(built, mutations, sorted(set(_rules(image)) - before), verdict, "")


def _rules(image: Image) -> list[str]:
    from khotool.check.run import check_image

    return [finding.rule for finding in check_image(image)]


def _can_change(node: Node) -> bool:
    return (
        node.span is not None
        and node.span.address < UNPLACED
        and 0 < node.span.size <= 8
        and isinstance(node.value, int)
        and node.field is not None
    )


def _has_links(node: Node) -> bool:
    return any(child.name in ("blocks", "chunks") for child in node.children)


def _draw(
    rnd: random.Random,
    image: Image,
    nodes: list[Node],
    pointers: list[Node],
    lists: list[Node],
) -> dict[str, Any]:
    """One mutation that knows what it changes."""
    kinds = ["poke", "poke", "poke", "swap-endian"]
    kinds += ["dangle", "redirect", "drop-page", "unpreserve"] if pointers else []
    kinds += ["cycle"] if lists else []
    kind = rnd.choice(kinds)
    if kind == "cycle":
        return {"op": "cycle", "path": rnd.choice(lists).path}
    if kind in ("dangle", "drop-page", "unpreserve"):
        return {"op": kind, "path": rnd.choice(pointers).path}
    if kind == "redirect":
        source, target = rnd.choice(pointers), rnd.choice(pointers)
        return {"op": "poke", "path": source.path, "value": hex(int(target.value))}
    node = rnd.choice(nodes)
    if kind == "swap-endian":
        return {"op": "swap-endian", "path": node.path}
    return {"op": "poke", "path": node.path, "value": hex(_value(rnd, image, node))}


def _value(rnd: random.Random, image: Image, node: Node) -> int:
    """A new value at the edges of what the field can hold, or beside what it holds."""
    assert node.span is not None
    assert node.field is not None
    bits = node.span.size * 8
    if isinstance(node.field.width, int) and node.field.width:
        bits = node.field.width
    old = int(node.value)
    near = [old + 1, old - 1, old * 2, old ^ (1 << rnd.randrange(bits)), rnd.getrandbits(bits)]
    if node.field.role in ("address", "handle"):
        page = image.geometry.page_size
        near += [old + 8, old + page, old - page, old | 1]
    value = rnd.choice([*near, *EDGES]) & ((1 << bits) - 1)
    return value if value != old else old ^ 1
