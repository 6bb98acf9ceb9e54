"""Damaged captures: every command answers, whatever the bytes say."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from khotool.abi.registry import load_registry
from khotool.check.catalogue import count_by_severity
from khotool.decode.open import open_image, open_memory
from khotool.document.dump import dump_document
from khotool.errors import KhotoolError
from khotool.limits import Limits, OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.model.annotate import annotate
from khotool.model.identify import Identifier
from khotool.model.image import Image
from khotool.model.lookup import find_node
from khotool.model.region import MapRegion, TableRegion
from khotool.render.dts import dts_text
from khotool.render.hex import hex_lines
from khotool.render.json import json_chunks
from khotool.render.lines import plain
from khotool.render.overview import finding_lines, header_lines, summary_lines
from khotool.render.pages import Selection, text_lines
from khotool.render.tree import TreeOptions, tree_lines

REAL = Path(__file__).parents[3] / "fixtures" / "real"
LIMITS = Limits(nodes=20_000, depth=16, bytes=1 << 26, chain=500, scan=1 << 24)


@cache
def base(name: str) -> tuple[Image, list[tuple[int, int]]]:
    """A capture and its small pieces of metadata."""
    image = open_image(REAL / name / "image.elf.xz")
    pieces = [
        extent
        for region in image.regions
        if not isinstance(region, (MapRegion, TableRegion))
        for extent in region.extents()
    ]
    return image, sorted(set(pieces))


def show_all(image: Image) -> str:
    """What the commands would print, all of it."""
    findings = image.findings
    parts = [*plain(header_lines(image), 100), *plain(summary_lines(image, findings), 100)]
    parts += plain(tree_lines(image, image.tree, TreeOptions(None, 2, True)), 100)
    parts += plain(finding_lines(findings), 80)
    parts += plain(text_lines(image, Selection(), ranges=True), 100)
    parts += json_chunks(dump_document(image, count_by_severity(findings)))
    parts.append(dts_text(image, None))
    identifier = Identifier(image)
    for node in list(image.tree.walk())[::17]:
        assert find_node(image, node.path).path == node.path
        if node.span is not None:
            identifier.identify(node.span.address)
            pieces = annotate(image, identifier.places, node.span.address, 64)
            parts += plain(hex_lines(image, pieces), 100)
    return "".join(parts)


@pytest.mark.parametrize("name", ["linux-7.3.4", "linux-6.19.11", "linux-6.17.8"])
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_damaged_metadata(name: str, data: st.DataObject) -> None:
    """Random bytes in random metadata give an answer or one of the declared errors."""
    image, pieces = base(name)
    writes = []
    for _ in range(data.draw(st.integers(1, 4))):
        address, size = data.draw(st.sampled_from(pieces))
        at = data.draw(st.integers(0, max(size - 1, 0)))
        new = data.draw(
            st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8, bytes(8)])
        )
        writes.append((address + at, new))
    try:
        made = open_memory(
            OverlaySpace(image.space, writes), load_registry(), OpenOptions(limits=LIMITS)
        )
        text = show_all(made)
    except KhotoolError:
        return
    assert all(c.isprintable() or c in "\n\t" for c in text)
