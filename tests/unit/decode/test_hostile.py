"""Any bytes in the metadata of a capture: a model and findings, or one error that says why."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from khotool.encode.lift import handover_of
from khotool.encode.pack import pack_image
from khotool.errors import KhotoolError
from khotool.limits import Limits, OpenOptions
from tests.builders import CAPTURES, capture, decode, overlaid
from tests.documents import full_document
from tests.strategies import share

EDGES = (
    0,
    1,
    0xFF,
    0xFFFF_FFFF,
    1 << 32,
    1 << 52,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 4096,
    (1 << 64) - 4096,
    (1 << 64) - 8,
    (1 << 64) - 1,
)


@cache
def metadata(name: str) -> list[tuple[int, int]]:
    """Physical address and bytes of every piece of metadata of a capture."""
    return [e for region in capture(name).regions for e in region.extents() if e[1]]


@st.composite
def damage(draw: st.DrawFn) -> tuple[str, list[tuple[int, bytes]]]:
    """A capture, and bytes written over its metadata: words with meaning, or noise."""
    name = draw(st.sampled_from(CAPTURES))
    spans = metadata(name)
    word = st.one_of(
        st.sampled_from(EDGES),
        st.sampled_from(spans).map(lambda span: span[0]),
        st.integers(0, (1 << 64) - 1),
    )
    writes = []
    for _ in range(draw(st.integers(1, 6))):
        address, size = draw(st.sampled_from(spans))
        offset = draw(st.integers(0, size - 1))
        if draw(st.booleans()):
            native = word.map(lambda value: value.to_bytes(8, "little"))
            writes.append((address + offset // 8 * 8, draw(native)))
        else:
            writes.append((address + offset, draw(st.binary(min_size=1, max_size=24))))
    return name, writes


# A root cut in front of its strings, none of whose properties lost its name.
CUT = (
    "linux-6.17.8",
    [(0xBFB850, bytes.fromhex("0000000001000000")), (0xBFA916, bytes.fromhex("f8ffffff"))],
)


@settings(max_examples=share(1))
@given(damage(), st.booleans())
@example(CUT, True)
def test_any_damage_is_a_model_or_an_error(
    damaged: tuple[str, list[tuple[int, bytes]]], named: bool
) -> None:
    """Opening, ownership, the full document, packing and lifting raise nothing else."""
    name, writes = damaged
    root = capture(name).tree.span
    assert root is not None
    options = OpenOptions(root=root.address if named else None, limits=Limits(nodes=200_000))
    with suppress(KhotoolError):
        image = overlaid(capture(name), writes, options)
        image.ownership()
        full_document(image)
        pack_image(image, anonymize=True)
        handover_of(image)
        for node in image.tree.walk():
            assert node.path.isprintable()


@settings(max_examples=share(4))
@given(damage())
def test_small_limits_stop_every_walk(damaged: tuple[str, list[tuple[int, bytes]]]) -> None:
    """With limits of a few nodes the walk ends, and the model is as small."""
    name, writes = damaged
    limits = Limits(nodes=50, depth=4, chain=3, bytes=1 << 16, scan=1 << 16)
    with suppress(KhotoolError):
        image = overlaid(capture(name), writes, OpenOptions(limits=limits))
        assert sum(1 for _ in image.tree.walk()) < 2000


def test_limit_is_a_finding() -> None:
    """A walk that stopped early says so, and how to go on."""
    manifest = {"abi": "7.2", "session": [{"name": f"s{i}"} for i in range(100)]}
    image = decode(manifest)
    stopped = overlaid(image, [], OpenOptions(limits=Limits(nodes=100)))
    found = [finding for finding in stopped.findings if finding.rule == "LIM001"]
    assert found
    assert any("--limit nodes=N" in finding.message for finding in found)
