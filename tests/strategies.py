"""Strategies: manifests of every ABI set, page size and byte order; and what they have to mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from khotool.abi.geometry import PAGE_SIZES
from khotool.handover.values import Contents, Handle, Handover, Payload, Rows
from tests.builders import REGISTRY

U64_EDGES = (0, 1, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
LITERAL_FLBS = REGISTRY.get("liveupdate-test-flb").literals
NODE_LETTERS = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="/")
PLACES = (0, 1 << 32, (1 << 52) - (1 << 34))
"""Start of the memory a model may use: low, above 4 GiB, and at the top of what a CPU reaches."""


def share(part: int) -> int:
    """Examples of a test that is one of several over the same ground."""
    most = settings.default.max_examples if settings.default is not None else 100
    return max(5, most // part)


def text_up_to(size: int) -> st.SearchStrategy[str]:
    """Names of 1 to ``size`` bytes in UTF-8, of any character but NUL."""
    letters = st.characters(codec="utf-8", exclude_characters="\0")
    return st.text(letters, min_size=1, max_size=size).filter(lambda t: len(t.encode()) <= size)


def u64() -> st.SearchStrategy[int]:
    """64-bit numbers, edges often."""
    return st.one_of(st.sampled_from(U64_EDGES), st.integers(0, (1 << 64) - 1))


@st.composite
def contents(draw: st.DrawFn, size: int) -> Any:
    """What a file or region of ``size`` bytes holds."""
    kind = draw(st.sampled_from(["none", "zero", "pattern", "fill", "random", "hex"]))
    if kind == "fill":
        return {kind: draw(st.integers(0, 255))}
    if kind == "random":
        return {kind: draw(st.integers(0, 99))}
    if kind == "hex":
        return {kind: draw(st.binary(max_size=min(size, 40))).hex()}
    return {kind: "page"} if kind == "pattern" else kind


@st.composite
def files(draw: st.DrawFn, page: int, seals: bool) -> dict[str, Any]:
    """A memfd of a few pages."""
    size = draw(st.one_of(st.integers(0, page * 9), st.sampled_from([0, 1, page, page * 8])))
    file: dict[str, Any] = {
        "size": size,
        "pos": draw(u64()),
        "folio": draw(st.sampled_from(["small", "huge", 0, 1, 3])),
        "contents": draw(contents(size)),
    }
    if seals and draw(st.booleans()):
        file["seals"] = draw(st.integers(0, 63))
    if draw(st.integers(0, 3)) == 0:
        file["holes"] = [[draw(st.integers(0, 6)), draw(st.integers(0, 3))]]
    return file


@st.composite
def sessions(draw: st.DrawFn, page: int, seals: bool) -> list[dict[str, Any]]:
    """Sessions of unlike names with files of unlike tokens."""
    made = []
    for name in draw(st.lists(text_up_to(63), max_size=3, unique=True)):
        tokens = draw(st.lists(u64(), max_size=3, unique=True))
        made.append(
            {"name": name, "file": [{"token": t} | draw(files(page, seals)) for t in tokens]}
        )
    return made


@st.composite
def regions(draw: st.DrawFn, page: int) -> list[dict[str, Any]]:
    """reserve_mem= regions."""
    made = []
    for name in draw(
        st.lists(st.text(NODE_LETTERS, min_size=1, max_size=15), max_size=3, unique=True)
    ):
        size = page * draw(st.integers(1, 9))
        region = {"name": name, "size": size, "contents": draw(contents(size))}
        if draw(st.booleans()):
            region["align"] = page << draw(st.integers(0, 4))
        made.append(region)
    return made


def memory_places(root: str, page: int) -> Sequence[int]:
    """Where the memory of a model may start.

    With 16K pages the tree of kho-v2 has no bit for the mark of order 0. Where the address has as
    many bits as the mark of a larger order, nothing tells the two apart (MEM321).
    """
    return PLACES[:-1] if root == "kho-v2" and page == 1 << 14 else PLACES


@st.composite
def manifests(draw: st.DrawFn, abi: str) -> dict[str, Any]:
    """A manifest of one ABI set, with any page size and byte order."""
    chosen = REGISTRY.sets[abi]
    page = draw(st.sampled_from(PAGE_SIZES))
    made: dict[str, Any] = {
        "abi": abi,
        "page_size": page,
        "endian": draw(st.sampled_from(["little", "big"])),
    }
    place = draw(st.sampled_from(memory_places(chosen.root, page)))
    if place:
        made["memory"] = [{"start": place, "size": 1 << 34}]
    if draw(st.booleans()):
        made["reserve_mem"] = draw(regions(page))
    if draw(st.booleans()):
        made["kho_test"] = {
            "orders": draw(st.lists(st.integers(0, 4), max_size=5)),
            "csum": draw(st.integers(0, (1 << 32) - 1)),
        }
    if "LUO" in chosen.entries:
        made["liveupdate_number"] = draw(u64())
        made["session"] = draw(sessions(page, "memfd-v2" in chosen.files))
    if chosen.entries.get("LUO") == "luo-v5" or "luo-flb-v1" in chosen.nodes:
        names = draw(st.lists(st.sampled_from(sorted(LITERAL_FLBS)), unique=True))
        made["flb"] = [{"name": name, "count": draw(u64())} for name in names]
    if "kexec-metadata" in chosen.entries and draw(st.booleans()):
        made["kexec_metadata"] = {
            "previous_release": draw(text_up_to(64)),
            "kexec_count": draw(st.integers(0, (1 << 32) - 1)),
        }
    return made


# -- meaning ---------------------------------------------------------------------------------

DERIVED = frozenset({"nr_folios", "compatible", "session_compatible", "flb_compatible"})
"""Values that follow from others."""


def meaning(handover: Handover) -> dict[str, Any]:
    """What a handover says, in plain values that compare: zeros and derived values left out."""
    return {
        entry.name: _plain(entry.values) if entry.format else entry.raw
        for entry in handover.entries
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("name") in LITERAL_FLBS and "data" not in value:
            value = value | {"data": LITERAL_FLBS[value["name"]]}
        counted = DERIVED | ({"count"} if "files" in value else set())
        made = {key: _plain(item) for key, item in value.items() if key not in counted}
        if made.get("magic") == 0x4B484F21:
            del made["magic"]
        return {key: item for key, item in made.items() if item not in (0, "", None, [], {})}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Handle):
        return value.literal if value.values is None else {"at": _plain(value.values)}
    if isinstance(value, Rows):
        if not len(value):
            return None
        columns = {label: column.tolist() for label, column in value.columns.items()}
        used = None if value.used is None or value.used.all() else value.used.tolist()
        return {"columns": columns, "used": used, "payload": _plain(value.payload)}
    if isinstance(value, Payload):
        return {"sizes": value.sizes.tolist(), "held": held(value.contents, value.sizes)}
    return value


def held(read: Contents | None, sizes: Any) -> list[str]:
    """A digest of the bytes of each block; unknown bytes are zeros."""
    places = (np.arange(len(sizes), dtype=np.uint64) + np.uint64(1)) << np.uint64(44)
    blocks = [bytearray() for _ in sizes]
    for address, data in read(places, sizes) if read is not None else ():
        block, offset = blocks[(address >> 44) - 1], address & ((1 << 44) - 1)
        block.extend(bytes(max(0, offset + len(data) - len(block))))
        block[offset : offset + len(data)] = bytes(data)
    return [hashlib.sha256(block.rstrip(b"\0")).hexdigest()[:16] for block in blocks]


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    found, stack = [], [document]
    while stack:
        item = stack.pop()
        keys = item if isinstance(item, dict) else range(len(item))
        for key in list(keys):
            found.append((item, key))
            if isinstance(item[key], (dict, list)):
                stack.append(item[key])
    return found


def change_some(data: st.DataObject, document: Any, values: Sequence[Any]) -> None:
    """Replace a few values anywhere by other ones, or remove them."""
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(document)))
        if data.draw(st.integers(0, 9)) == 0:
            del container[key]
        else:
            container[key] = json.loads(json.dumps(data.draw(st.sampled_from(values))))
