"""Fixtures as images, and copies of them with other bytes in named places."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from khotool.encode.reopen import image_of
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.parse import parse
from khotool.fdt.write import build_sequential
from khotool.fixture.recipe import build_fixture, find_fixtures
from khotool.limits import OpenOptions
from khotool.model.image import Image
from khotool.model.lookup import find_node
from khotool.model.region import FdtRegion
from tests.builders import REGISTRY, overlaid

GOOD = Path(__file__).parents[3] / "fixtures" / "good"
NOWHERE = 0xDEAD_BEEF_000
"""Physical address that no image has."""


@cache
def good(name: str) -> Image:
    """The image of ``fixtures/good/<name>``."""
    (fixture,) = find_fixtures([GOOD / name])
    return image_of(build_fixture(fixture, REGISTRY), REGISTRY)


def options(image: Image) -> OpenOptions:
    """As the image was opened, whatever the change does to what tells them."""
    assert image.tree.span is not None
    return OpenOptions(
        root=image.tree.span.address,
        page_size=image.geometry.page_size,
        byteorder=image.geometry.byteorder,
    )


def changed(image: Image, *fields: tuple[str, int | bytes]) -> Image:
    """The image with fields written over: numbers in native order, bytes from the start."""
    writes = []
    for path, value in fields:
        span = find_node(image, path).span
        assert span is not None
        if isinstance(value, int):
            value = (value % (1 << 8 * span.size)).to_bytes(span.size, image.geometry.byteorder)
        writes.append((span.address, value))
    return overlaid(image, writes, options(image))


def replanted(image: Image, path: str, change: Callable[[FdtNode], None]) -> Image:
    """The image with one of its device trees changed and written anew at its place."""
    region = next(r for r in image.regions if isinstance(r, FdtRegion) and r.path == path)
    data = bytes(image.space.read(region.address, len(region.blob.data)))
    tree = parse(data).root
    assert tree is not None
    change(tree)
    made = build_sequential(tree)
    # What the old tree left behind its end would be another tree's.
    made += bytes(max(0, len(data) - len(made)))
    return overlaid(image, [(region.address, made)], options(image))


def told(image: Image, *rules: str) -> list[tuple[str, str, str]]:
    """Rule, path and message of the findings, of these rules or of all."""
    return [
        (finding.rule, finding.path, finding.message)
        for finding in image.findings
        if not rules or finding.rule in rules
    ]
