"""Decoding what was encoded gives the model, for every ABI set, page size and byte order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.document.full import preserved_segments
from khotool.encode.convert import convert_image
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.encode.segments import page_segments, write_image
from khotool.encode.sets import set_of
from khotool.manifest.read import Manifest
from khotool.model.image import Image, Phase
from khotool.structured import Document
from tests.builders import REGISTRY, SETS, build, worst
from tests.documents import full_document
from tests.strategies import manifests, meaning, memory_places, share


def owned_exactly(image: Image) -> None:
    ownership = image.ownership()
    assert ownership is not None
    wrong = (
        ownership.unowned_pages,
        ownership.unpreserved_pages,
        ownership.double_owned_pages,
    )
    assert wrong == (0, 0, 0)


@pytest.mark.parametrize("abi", SETS)
@settings(max_examples=share(5))
@given(st.data())
def test_model_comes_back(abi: str, data: st.DataObject) -> None:
    """decode(encode(m)) is m; every preserved page has one owner; decoding finds nothing."""
    manifest = data.draw(manifests(abi))
    given_model = Manifest(Document("model.toml", manifest), Path(), REGISTRY).handover()
    built = build(manifest)
    image = image_of(built, REGISTRY)
    assert meaning(handover_of(image)) == meaning(given_model)
    owned_exactly(image)
    assert worst(image) == []
    assert built.lost == []
    assert image.phase in (Phase.FROZEN, Phase.FINALIZED)
    assert set_of(image).id == abi
    assert [choice.layout for choice in image.choices] == [
        REGISTRY.sets[abi].layouts[choice.definition] for choice in image.choices
    ]
    same_pages(image, built.segments)


def same_pages(image: Image, segments: Any) -> None:
    """The full document as JSON text gives every metadata page back."""
    document = json.loads(json.dumps(full_document(image)))
    made, geometry = preserved_segments(Document("dump", document), REGISTRY)
    assert geometry == image.geometry
    for address, data in made:
        assert bytes(image.space.read(address, len(data))) == bytes(data)


@pytest.mark.parametrize("source", SETS)
@settings(max_examples=share(20))
@given(st.data())
def test_every_set_converts_to_every_other(source: str, data: st.DataObject) -> None:
    """What the other set can express is kept, the rest is listed, and the result is sound."""
    manifest = data.draw(manifests(source))
    image = image_of(build(manifest), REGISTRY)
    given_model = meaning(handover_of(image))
    start = manifest.get("memory", [{"start": 0}])[0]["start"]
    for target in SETS:
        if start not in (0, *memory_places(REGISTRY.sets[target].root, manifest["page_size"])):
            continue
        built = convert_image(image, target)
        made = image_of(built, REGISTRY)
        assert worst(made) == []
        owned_exactly(made)
        assert set_of(made).id == target
        result = meaning(handover_of(made))
        if target == source:
            assert (result, built.lost) == (given_model, [])
        for name in ("memblock", "kho_test"):
            assert result.get(name) == given_model.get(name)
        for name, value in given_model.items():
            if name not in result:
                assert any(line.startswith(f"/{name}:") for line in built.lost), value
        if "LUO" in given_model and "LUO" in result:
            kept = [session["name"] for session in result["LUO"].get("sessions", [])]
            assert kept == [session["name"] for session in given_model["LUO"].get("sessions", [])]
        flbs = given_model.get("LUO", {}).get("flbs")
        if flbs and "LUO" in result and "flbs" not in result["LUO"]:
            assert any("/LUO/flbs" in line for line in built.lost)


@settings(max_examples=share(8))
@given(st.data())
def test_encoding_twice_gives_the_same_bytes(data: st.DataObject) -> None:
    """The same model gives the same memory."""
    manifest = data.draw(manifests(data.draw(st.sampled_from(SETS))))
    first, second = (
        [(a, bytes(d)) for a, d in page_segments(built.segments, built.geometry.page_size)]
        for built in (build(manifest), build(manifest))
    )
    assert first == second


def test_files_are_the_same_bytes(tmp_path: Path) -> None:
    """The same model gives the same file."""
    manifest = {"abi": "7.3", "session": [{"name": "a", "file": [{"token": 1, "size": 5000}]}]}
    paths = [tmp_path / "a.elf", tmp_path / "b.elf"]
    for path in paths:
        write_image(path, build(manifest))
    assert paths[0].read_bytes() == paths[1].read_bytes()
