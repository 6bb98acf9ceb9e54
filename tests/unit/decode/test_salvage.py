"""Lists whose record is gone: found by their shape, and only where every record makes sense."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from khotool.abi.load import load_definition
from khotool.abi.registry import Origin
from khotool.absent import Absent, Reason
from khotool.decode import salvage
from khotool.decode.open import open_memory
from khotool.limits import OpenOptions
from khotool.model.image import Image, Phase
from khotool.model.lookup import find_node
from tests.builders import REGISTRY, decode
from tests.unit.decode.fixture_images import good
from tests.unit.decode.test_open import booted

Write = tuple[int, bytes]
NOISE = (bytes(range(1, 256)) * 17)[:4096]
MODEL: dict[str, Any] = {
    "abi": "7.2",
    "session": [
        {"name": f"vm{number}", "file": [{"token": 1, "size": 4096, "contents": {"random": 1}}]}
        for number in range(60)
    ],
    "flb": [{"name": "liveupdate-test-flb-v0"}],
}
SESSION, FILE = "/LUO/sessions[vm7]", "/LUO/sessions[vm7]/files[0x1]"


@cache
def whole() -> Image:
    """The image before the boot."""
    return decode(MODEL)


def gone(image: Image, *writes: Write) -> Image:
    """The image after a boot that reused the map and the record of LUO, and bytes over it."""
    assert not isinstance(image.map, Absent)
    entry = image.entry("LUO")
    assert entry is not None
    assert entry.target is not None
    pages = [(int(address), NOISE) for address in image.map.pages.address]
    return booted(image, [*pages, (entry.target.address, NOISE), *writes])


def place(path: str) -> int:
    span = find_node(whole(), path).span
    assert span is not None
    return span.address


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def sessions(image: Image) -> list[str | None]:
    """Keys of the sessions that were found."""
    assert image.phase is Phase.CONSUMED
    entry = image.entry("LUO")
    assert entry is not None
    node = entry.get("sessions")
    return [] if node is None else [element.key for element in node.elements()]


NAMES = [f"vm{number}" for number in range(60)]


def test_sessions_and_flbs_are_found() -> None:
    """A list of blocks and an array behind a header; what was in the record itself is absent."""
    image = gone(whole())
    assert sessions(image) == NAMES
    entry = image.entry("LUO")
    assert entry is not None
    assert entry.note == "its record was reused; these lists were found by their shape"
    flbs = entry.get("flbs")
    assert flbs is not None
    assert [flb.key for flb in flbs.elements()] == ["liveupdate-test-flb-v0"]
    count = entry.get("liveupdate_number")
    assert count is not None
    assert isinstance(count.value, Absent)
    assert count.value.reason is Reason.CONSUMED
    assert find_node(image, FILE + "/handler").value == "memfd-v2"


# What makes a list unsound: (place, bytes) of one write.
UNSOUND: dict[str, Callable[[], Write]] = {
    "name is not UTF-8": lambda: (place(SESSION + "/name"), b"\xff\xfe"),
    "name is not printable": lambda: (place(SESSION + "/name"), b"v\x01m"),
    "bytes behind the name": lambda: (place(SESSION + "/name") + 40, b"x"),
    "name is empty": lambda: (place(SESSION + "/name"), bytes(64)),
    "count without files": lambda: (place(SESSION + "/files"), number(0)),
    "files at no page": lambda: (place(SESSION + "/files"), number(0x1234)),
    "files nowhere": lambda: (place(SESSION + "/files"), number(0xDEAD_BEEF_000)),
    "files in noise": lambda: (place(SESSION + "/files"), number(whole().tree.span.address)),  # type: ignore[union-attr]
    "another number of files": lambda: (place(SESSION + "/count"), number(2)),
    "count of a block": lambda: (place("/LUO/sessions/blocks[0]/count"), number(5000)),
    "no count of a block": lambda: (place("/LUO/sessions/blocks[0]/count"), number(0)),
    "block behind one that is not full": lambda: (
        place("/LUO/sessions/blocks[0]/count"),
        number(3),
    ),
    "next block nowhere": lambda: (place("/LUO/sessions/blocks[0]/next"), number(0xDEAD_BEEF_000)),
    "next block at no page": lambda: (
        place("/LUO/sessions/blocks[0]/next"),
        number(place("/LUO/sessions/blocks[1]/next") + 8),
    ),
    "block that leads to itself": lambda: (
        place("/LUO/sessions/blocks[0]/next"),
        number(place("/LUO/sessions/blocks[0]/next")),
    ),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_lists_with_a_fault_are_not_taken(name: str) -> None:
    """One wrong word in the first block, or below it, and the list from there is none."""
    blocks = find_node(whole(), "/LUO/sessions/blocks[1]")
    assert blocks.span is not None
    image = gone(whole(), UNSOUND[name]())
    # The second block stands on its own: what is in it still makes a list.
    rest = [
        element.key
        for element in find_node(whole(), "/LUO/sessions").elements()
        if element.span is not None
        and blocks.span.address <= element.span.address < blocks.span.address + 4096
    ]
    assert 0 < len(rest) < len(NAMES)
    assert sessions(image) == rest


def test_files_that_are_no_files() -> None:
    """A file whose handler is no text makes its session, and so the list, unsound."""
    image = gone(whole(), (place(FILE + "/handler"), b"\x80"))
    assert "vm7" not in sessions(image)


def test_flbs_that_are_none() -> None:
    """An array with a fault, or longer than its page, is left out; sessions are found."""
    header = place("/LUO/flbs/header/count")
    name = place("/LUO/flbs[liveupdate-test-flb-v0]/name")
    for write in ((header, number(1 << 40)), (header, number(0)), (name, b"\xff")):
        image = gone(whole(), write)
        assert sessions(image) == NAMES
        entry = image.entry("LUO")
        assert entry is not None
        flbs = entry.get("flbs")
        assert flbs is not None
        assert isinstance(flbs.value, Absent)


def test_nothing_left() -> None:
    """Where no list is left, the entry as a whole is what was reused."""
    writes = [(place(f"/LUO/sessions/blocks[{block}]/next"), NOISE[:64]) for block in range(2)]
    image = gone(whole(), *writes, (place("/LUO/flbs/header/count"), number(0)))
    entry = image.entry("LUO")
    assert entry is not None
    assert isinstance(entry.value, Absent)
    assert entry.value.reason is Reason.CONSUMED
    assert sessions(image) == []


def test_many_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more pages are looked at than the limit allows, lowest addresses first."""
    monkeypatch.setattr(salvage, "MAX_CANDIDATES", 2)
    assert sessions(gone(whole())) == NAMES
    like_a_list = number(0) + number(1) + b"\xff" * 4080
    assert sessions(gone(whole(), (0x1000, like_a_list * 2))) == []


def test_longest_list_is_meant() -> None:
    """Of two lists that make sense, the one with more in it is taken."""
    block = place("/LUO/sessions/blocks[1]/next")
    other = bytearray(whole().space.read(block, 4096))
    # A block of one session, which has no files.
    other[:16] = number(0) + number(1)
    other[16 : 16 + 64] = b"stale".ljust(64, b"\0")
    size = find_node(whole(), SESSION).span.size  # type: ignore[union-attr]
    other[16 + 64 : 16 + size] = bytes(size - 64)
    image = gone(whole(), (0x7000_0000, bytes(other)))
    assert sessions(image) == NAMES


def test_a_whole_record_is_kept() -> None:
    """An entry whose record is whole keeps it, with no note."""
    first = whole()
    assert not isinstance(first.map, Absent)
    image = booted(first, [(int(address), NOISE) for address in first.map.pages.address])
    entry = image.entry("LUO")
    assert entry is not None
    assert (image.phase, entry.note) == (Phase.CONSUMED, "")
    assert sessions(image) == NAMES


ARRAYS = "luo-v3-kho-block-v1-sessions-and-flbs"
ALPHA = "/LUO/sessions[vm-alpha]"


@pytest.mark.parametrize("name", [ARRAYS, "luo-v4-sessions-and-flbs"])
def test_record_that_explains_most(name: str) -> None:
    """Where the newest record explains only some of the lists, an older one is taken."""
    first = good(name)
    image = gone(first)
    entry = image.entry("LUO")
    assert entry is not None
    # Two records have the same lists; files of the newest are in blocks.
    assert entry.format == "luo-v3-kho-block-v1"
    assert sessions(image) == keys(first, "/LUO/sessions")
    for path in ("/LUO/flbs", f"{ALPHA}/files", "/LUO/sessions[vm-beta]/files"):
        assert keys(image, path) == keys(first, path)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (f"{ALPHA}/files[0x2]/handler", b"\x80"),
        (f"{ALPHA}/count", number(3)),
        (f"{ALPHA}/count", number(1 << 40)),
        (f"{ALPHA}/files", number(0xDEAD_BEEF_000)),
        (f"{ALPHA}/files", number(0x1008)),
    ],
    ids=["no text", "one more", "too many", "nowhere", "at no page"],
)
def test_arrays_with_a_fault_are_not_taken(path: str, data: bytes) -> None:
    """An array of files with a fault makes its session unsound, and the list that it is in."""
    span = find_node(good(ARRAYS), path).span
    assert span is not None
    image = gone(good(ARRAYS), (span.address, data))
    assert sessions(image) == []
    assert keys(image, "/LUO/flbs") == keys(good(ARRAYS), "/LUO/flbs")


def test_array_of_two_sessions() -> None:
    """An array that two sessions name is judged once, by the count of the first of them."""
    first = good(ARRAYS)
    spans = [find_node(first, f"/LUO/sessions[vm-beta]/{name}").span for name in ("files", "count")]
    files, count = (span for span in spans if span is not None)
    same = number(int(find_node(first, f"{ALPHA}/files").value))
    assert sessions(gone(first, (files.address, same), (count.address, number(2)))) == keys(
        first, "/LUO/sessions"
    )
    assert sessions(gone(first, (files.address, same), (count.address, number(1)))) == []


MINE = b"""
id = "luo-mine"
title = "t"
kind = "entry"
content = "mine"
status = "local"
match = { entry = "LUO" }

[struct.mine]
size = 16
layout = '''
char compatible[8];
u64 list;
'''

[struct.mine.fields]
compatible = { value = "mine" }
list       = { role = "address", points_to = { shape = "blocks", of = "one" } }

[struct.one]
size = 80
key = "name"
layout = '''
char name[64];
u64 first;
u64 count;
'''

[struct.one.fields]
name  = { nonempty = true }
first = { role = "address", points_to = { shape = "record", of = "two" } }

[struct.two]
size = 16
layout = '''
u64 next;
u64 count;
'''
"""


def test_rows_that_lead_to_records() -> None:
    """A pointer to something else than a list has to lead somewhere; what is there may be all."""
    origin = Origin("folder", "here")
    registry = REGISTRY.extended([(load_definition(MINE, "mine.toml"), origin)])
    nowhere = number(0xDEAD_BEEF_000)
    for write, number_of in (
        ((place(FILE + "/handler"), b"\x80"), 60),
        ((place(SESSION + "/files"), nowhere), 0),
    ):
        image = open_memory(gone(whole(), write).space, registry, OpenOptions())
        entry = image.entry("LUO")
        assert entry is not None
        assert entry.format == ("luo-mine" if number_of else "luo-v5")
        assert number_of == (len(keys(image, "/LUO/list")) if number_of else 0)
    assert sessions(gone(whole())) == NAMES


def keys(image: Image, path: str) -> list[str | None]:
    """Keys of the elements of a list."""
    return [element.key for element in find_node(image, path).elements()]
