"""Total ownership, no exception from data, and determinism, for images that were made up."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.abi.compile import CompiledStruct
from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_record, encode_record
from khotool.check.catalogue import count_by_severity
from khotool.check.run import check_image
from khotool.document.dump import dump_document
from khotool.encode.reopen import image_of
from khotool.errors import DefinitionError, KhotoolError
from khotool.fdt.write import emit, gaps
from khotool.model.annotate import annotate
from khotool.model.image import UNPLACED, Image
from khotool.model.places import Places
from khotool.model.region import FdtRegion, RecordRegion
from khotool.render.json import json_chunks
from tests.builders import REGISTRY, SETS, build, decode, overlaid
from tests.strategies import manifests, share

GEOMETRIES = (Geometry(4096), Geometry(16384, "big"), Geometry(65536))
LARGEST = 1 << 14
"""Bytes of a record that are drawn at most; larger ones repeat themselves."""


def records() -> list[tuple[str, CompiledStruct]]:
    """Every struct of every definition, as it is laid out for some kind of machine."""
    found = []
    for definition in REGISTRY.definitions.values():
        for name in definition.structs:
            for geometry in GEOMETRIES:
                with suppress(DefinitionError):
                    compiled = REGISTRY.compile(definition, name, geometry)
                    if 0 < compiled.size <= LARGEST:
                        found.append((f"{definition.id} {name} {geometry}", compiled))
    return found


RECORDS = records()


@settings(max_examples=share(1) * 5)
@given(st.data())
def test_every_bit_of_a_record_has_one_owner(data: st.DataObject) -> None:
    """A bit that changes, changes one value, and the values give every bit back."""
    name, compiled = data.draw(st.sampled_from(RECORDS))
    # No zero bytes: what follows the NUL of a string belongs to it without being seen.
    number = data.draw(st.integers(1, 255))
    given_bytes = bytearray((number + 7 * at) % 255 + 1 for at in range(compiled.size))
    values = decode_record(compiled, bytes(given_bytes))
    assert encode_record(compiled, values, name) == bytes(given_bytes)
    bit = data.draw(st.integers(0, 8 * compiled.size - 1))
    given_bytes[bit // 8] ^= 1 << bit % 8
    after = decode_record(compiled, bytes(given_bytes))
    assert after.keys() == values.keys()
    assert sum(after[label] != values[label] for label in values) == 1, name


def made(data: st.DataObject) -> dict[str, Any]:
    return data.draw(manifests(data.draw(st.sampled_from(SETS))))


@settings(max_examples=share(8))
@given(st.data())
def test_every_byte_of_a_region_has_a_meaning(data: st.DataObject) -> None:
    """Records are wholly covered by marks; trees by their tokens, names, and gaps told apart."""
    image = decode(made(data))
    places = Places(image)
    for region in image.regions:
        if isinstance(region, FdtRegion):
            assert emit(region.blob, gaps(region.blob)) == region.blob.data
        if not isinstance(region, RecordRegion):
            continue
        for address, size in region.extents():
            if address >= UNPLACED:
                continue
            at = address
            for piece in annotate(image, places, address, size):
                assert piece.address == at
                assert piece.mark is not None, f"{region.path}: {piece.address:#x}"
                at += piece.size
            assert at == address + size


@settings(max_examples=share(4))
@given(st.data())
def test_any_bytes_in_a_made_up_image(data: st.DataObject) -> None:
    """Damage gives an answer or a declared error, in every set and byte order."""
    image = decode(made(data))
    spans = [
        (address, size)
        for region in image.regions
        for address, size in region.extents()
        if size and address < UNPLACED
    ]
    writes = []
    for _ in range(data.draw(st.integers(1, 5))):
        address, size = data.draw(st.sampled_from(spans))
        at = data.draw(st.integers(0, size - 1))
        writes.append((address + at, data.draw(st.binary(min_size=1, max_size=16))))
    with suppress(KhotoolError):
        shown(overlaid(image, writes))


def shown(image: Image) -> str:
    """All that dump and check can say."""
    image.ownership()
    findings = check_image(image)
    document = dump_document(image, count_by_severity(findings))
    return "".join(json_chunks(document)) + "\n".join(map(str, findings))


@settings(max_examples=share(6))
@given(st.data())
def test_the_same_bytes_say_the_same(data: st.DataObject) -> None:
    """Decoding the same memory twice gives the same text, byte for byte."""
    built = build(made(data))
    assert shown(image_of(built, REGISTRY)) == shown(image_of(built, REGISTRY))


@pytest.mark.parametrize("abi", SETS)
def test_every_set_is_drawn(abi: str) -> None:
    """The strategies know every ABI set there is: an empty model of it has a root."""
    assert decode({"abi": abi}).tree.format
