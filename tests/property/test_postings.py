"""Formats that were posted and never released: what is encoded is what is decoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.abi.geometry import PAGE_SIZES
from khotool.document.full import preserved_segments
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.manifest.read import Manifest
from khotool.structured import Document
from tests.builders import REGISTRY, build, worst
from tests.documents import full_document
from tests.strategies import contents, meaning, share, text_up_to, u64

SETS = tuple(
    abi.id
    for abi in REGISTRY.sets.values()
    if not abi.first and abi.id.startswith(("luo-", "kho-array", "composite", "features"))
)
RELEASES = {"bitmap-512": "6.17.0", "bitmap-page": "6.18.0"}
"""Release of a writer by its bitmaps, which nothing else may tell."""
ADDED = frozenset(
    {
        "subsystems_compatible",
        "files_compatible",
        "session_compatible",
        "flb_compatible",
        "pgcnt",
        "session_count",
        "session_pages",
        "state",
        "version",
        "reserved",
        "liveupdate_number",
        "nr_folios",
    }
)
"""Values that the encoder gives where a manifest does not."""
TOKENS = st.lists(u64(), max_size=3, unique=True)


@st.composite
def memory(draw: st.DrawFn, page: int) -> dict[str, Any]:
    """A memfd of a few pages, with a hole now and then."""
    size = draw(st.one_of(st.integers(1, page * 6), st.sampled_from([1, page, page * 8])))
    made: dict[str, Any] = {
        "size": size,
        "pos": draw(u64()),
        "contents": draw(contents(size)),
        "folio": draw(st.sampled_from(["small", 1, 3])),
    }
    if size > page and draw(st.booleans()):
        made["holes"] = [[draw(st.integers(1, 5)), 1]]
    return made


@st.composite
def postings(draw: st.DrawFn, abi: str) -> dict[str, Any]:
    """A manifest of a set, with any page size and byte order."""
    chosen = REGISTRY.sets[abi]
    page = draw(st.sampled_from(PAGE_SIZES))
    made: dict[str, Any] = {
        "abi": abi,
        "page_size": page,
        "endian": draw(st.sampled_from(["little", "big"])),
        "osrelease": RELEASES.get(chosen.layouts.get(chosen.root, ""), "7.1.0"),
    }
    if "LUO" not in chosen.entries:
        return made
    entry = REGISTRY.get(chosen.entries["LUO"])
    handler = REGISTRY.get(chosen.files[0]).match["compatible"][0]
    labels = labels_of(made)
    if "sessions" in labels:
        names = draw(st.lists(text_up_to(55), max_size=3, unique=True))
        made["session"] = [
            {
                "name": name,
                "file": [
                    {"handler": handler, "token": token} | draw(memory(page))
                    for token in draw(TOKENS)
                ],
            }
            for name in names
        ]
        return made
    fields: dict[str, Any] = {
        "files": [
            {"token": token, "handler": handler, "data": draw(memory(page))}
            for token in draw(TOKENS)
        ],
        "subsystems": [
            {"name": name, "data": draw(st.sampled_from([0, {"size": page}]))}
            for name in draw(st.lists(st.sampled_from(["ksft_luo", "b", "c"]), unique=True))
        ],
    }
    made["entry"] = [{"name": "LUO", "format": entry.id, "fields": fields}]
    return made


def labels_of(manifest: dict[str, Any]) -> list[str]:
    read = Manifest(Document("model.toml", manifest), Path(), REGISTRY)
    return read.fields.content_labels(REGISTRY.get(read.abi.entries["LUO"]))


def written(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: written(item) for key, item in value.items() if key not in ADDED}
        return {key: item for key, item in kept.items() if item not in (0, None, {}, [])}
    if isinstance(value, list):
        return [written(item) for item in value]
    return value


@pytest.mark.parametrize("abi", SETS)
@settings(max_examples=share(10))
@given(st.data())
def test_model_comes_back(abi: str, data: st.DataObject) -> None:
    """decode(encode(m)) is m, told apart with certainty; its full dump is the same bytes."""
    manifest = data.draw(postings(abi))
    given_model = Manifest(Document("model.toml", manifest), Path(), REGISTRY).handover()
    built = build(manifest)
    image = image_of(built, REGISTRY)
    assert worst(image) == []
    assert built.lost == []
    assert written(meaning(handover_of(image))) == written(meaning(given_model))
    ownership = image.ownership()
    assert ownership is not None
    assert (ownership.unowned_pages, ownership.unpreserved_pages) == (0, 0)
    assert all(choice.certain for choice in image.choices)
    document = json.loads(json.dumps(full_document(image)))
    for address, page in preserved_segments(document, REGISTRY)[0]:
        assert bytes(image.space.read(address, len(page))) == bytes(page)
