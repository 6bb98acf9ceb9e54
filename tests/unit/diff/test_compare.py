from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from khotool.abi.registry import load_registry
from khotool.cli.main import main
from khotool.decode.open import open_image
from khotool.diff.changes import Comparison, DiffOptions, Result, Side, Why
from khotool.diff.compare import compare
from khotool.encode.reopen import image_of
from khotool.errors import UsageError
from khotool.manifest.mutate import mutate
from khotool.memory.overlay import OverlaySpace
from khotool.memory.space import U64, AddressSpace
from khotool.model.image import Image, Node, NodeKind
from khotool.opening.load import load_image
from khotool.opening.models import build_model, read_model
from khotool.pages.runs import subtract

REAL = Path(__file__).parents[3] / "fixtures" / "real"
RELEASES = sorted(path.name.removeprefix("linux-") for path in REAL.iterdir())
MANIFEST = """
abi = "7.3"
liveupdate_number = 3
[[session]]
name = "one"
[[session.file]]
token = 1
size = 40000
pos = 5
contents = { pattern = "page" }
[[session.file]]
token = 2
size = 8192
[[session]]
name = "two"
[[session.file]]
token = 1
size = 4096
[[reserve_mem]]
name = "trace"
size = "2M"
"""
Change = tuple[str, str, Any, Any]


def capture(release: str) -> Path:
    return REAL / f"linux-{release}" / "image.elf.xz"


def changes(result: Comparison) -> list[Change]:
    return [(str(c.kind), c.path, c.old, c.new) for c in result.changes]


class Without(OverlaySpace):
    """A space without one range of memory."""

    def __init__(self, space: AddressSpace, low: int, high: int) -> None:
        super().__init__(space, {})
        self.gap = np.array([[low, high]], np.uint64)

    def extents(self) -> U64:
        return subtract(super().extents(), self.gap)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Image]:
    registry = load_registry()

    def make(text: str = MANIFEST, mutations: list[dict[str, Any]] | None = None) -> Image:
        path = tmp_path / "model.toml"
        path.write_text(text)
        built = build_model(read_model(str(path)), registry)
        return image_of(mutate(built, mutations or [], registry, "test"), registry)

    return make


@pytest.mark.parametrize("release", RELEASES)
def test_packed_and_encoded_again_are_equal(release: str, tmp_path: Path) -> None:
    """A capture equals itself, its packed form, its full dump and a fresh encoding of that."""
    image, packed = capture(release), tmp_path / "packed.elf"
    full, fresh = tmp_path / "full.json", tmp_path / "fresh.elf"
    assert main(["pack", str(image), "-o", str(packed), "-q"]) == 0
    assert main(["dump", "--json", "--full", str(image), "-o", str(full), "-q"]) == 0
    assert main(["encode", str(full), "--mode", "fresh", "-o", str(fresh), "-q"]) == 0
    first = open_image(image)
    for other in (image, packed, full, fresh):
        result = compare(first, load_image(other))
        assert changes(result) == []
        assert result.owners == []
        assert result.equal


def test_two_kernels_carry_the_same_files() -> None:
    """6.19 and 7.3: the ABI changed, no session or file did, and their contents are the same."""
    old, new = open_image(capture("6.19.11")), open_image(capture("7.3.4"))
    result = compare(old, new, DiffOptions(contents=True))
    found = changes(result)
    assert found[0] == (
        "changed",
        "/abi",
        ["kho-v1", "luo-session-v2", "luo-v1"],
        ["kho-v4", "luo-v5"],
    )
    sessions = [change for change in found if change[1].startswith("/LUO/sessions")]
    handlers = [change for change in sessions if change[1].endswith("/handler")]
    assert len(handlers) == 7
    assert all(change[2:] == ("memfd-v1", "memfd-v2") for change in handlers)
    # Seals are not carried by the older format.
    seals = [change for change in sessions if change not in handlers]
    assert [(change[0], change[1][-5:], change[3]) for change in seals] == [
        ("added", "seals", 7),
        ("added", "seals", 2),
    ]


def leaves(image: Image) -> list[Node]:
    """Fields that are content of their own: no address, no part of a list's own layout."""
    found = []
    for node in image.tree.walk():
        if node.kind is not NodeKind.VALUE or node.span is None or node.children:
            continue
        role = node.field.role if node.field is not None else ""
        path = node.path
        if role in ("address", "pfn", "handle") or "/folios/" in path or "/blocks" in path:
            continue
        if "/header" in path or path == "/compatible":
            continue
        if path.count("/") == 2 and path.endswith("/size"):
            continue  # a blob that is too small for its format is not read at all
        found.append(node)
    return found


@pytest.mark.parametrize("release", ["6.19.11", "7.3.4", "7.3.4-arm64-16k"])
def test_any_field_of_a_record_shows_as_exactly_that_change(release: str) -> None:
    """Names, tokens, positions, seals, counts: one byte changed gives one change, at its path."""
    from khotool.decode.open import open_memory
    from khotool.limits import OpenOptions

    image = open_image(capture(release))
    order = image.geometry.byteorder
    seen = 0
    for node in leaves(image):
        span = node.span
        assert span is not None
        if node.path.startswith("/memblock"):
            continue  # a byte of a device tree's name is part of its structure
        at = 0 if isinstance(node.value, str) or order == "little" else span.size - 1
        byte = bytes(image.space.read(span.address + at, 1))
        new = bytes([byte[0] ^ 0x40])
        other = open_memory(
            OverlaySpace(image.space, {span.address + at: new}), image.registry, OpenOptions()
        )
        result = compare(image, other)
        if node.field is not None and node.field.counts:
            # A count that a list is read by takes its last element along.
            assert result.changes
            continue
        assert [(str(c.kind), c.path) for c in result.changes] == [("changed", node.path)]
        assert result.owners == []
        seen += 1
    assert seen > 15


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        ("/LUO/liveupdate_number", 4, 3, 4),
        ("/LUO/sessions[one]/files[0x1]/data/pos", 6, 5, 6),
        ("/LUO/sessions[one]/files[0x1]/data/size", 39999, 40000, 39999),
        ("/LUO/sessions[one]/files[0x1]/data/seals", 7, 0, 7),
        ("/LUO/sessions[one]/files[0x1]/data/nr_folios", 9, 10, 9),
        ("/LUO/sessions[one]/files[0x1]/data/folios[3]/flags", 1, 3, 1),
        ("/LUO/sessions[one]/files[0x2]/token", 9, "0x2", "0x9"),
        ("/LUO/sessions[two]/name", "zwei", "two", "zwei"),
        ("/kexec-metadata/kexec_count", 5, 1, 5),
    ],
)
def test_poke(build: Callable[..., Image], path: str, value: Any, old: Any, new: Any) -> None:
    """A mutation of one field shows as exactly that change."""
    result = compare(build(), build(MANIFEST, [{"op": "poke", "path": path, "value": value}]))
    assert changes(result) == [("changed", path, old, new)]


def test_order_and_presence(build: Callable[..., Image]) -> None:
    """What another order has is moved; what is gone is removed; what is new is added."""
    one, two = (
        MANIFEST.index('[[session]]\nname = "one"'),
        MANIFEST.index('[[session]]\nname = "two"'),
    )
    end = MANIFEST.index("[[reserve_mem]]")
    swapped = MANIFEST[:one] + MANIFEST[two:end] + MANIFEST[one:two] + MANIFEST[end:]
    result = compare(build(), build(swapped))
    assert [(kind, path) for kind, path, *_ in changes(result)] == [
        ("moved", "/LUO/sessions[two]")
    ] or [(kind, path) for kind, path, *_ in changes(result)] == [("moved", "/LUO/sessions[one]")]
    fewer = MANIFEST[:two] + MANIFEST[end:]
    result = compare(build(), build(fewer))
    assert [(kind, path) for kind, path, *_ in changes(result)] == [
        ("removed", "/LUO/sessions[two]")
    ]
    assert result.pages_removed > 0
    result = compare(build(fewer), build())
    assert [(kind, path) for kind, path, *_ in changes(result)] == [("added", "/LUO/sessions[two]")]


def test_contents(build: Callable[..., Image]) -> None:
    """A byte of payload is found only with contents, with its offset in the file."""
    from khotool.extract.select import payload_plan
    from khotool.model.lookup import find_node

    image = build()
    file = "/LUO/sessions[one]/files[0x1]"
    plan = payload_plan(image, find_node(image, file))
    address = int(plan.address[0]) + 12345
    poke = {"op": "poke", "address": hex(address), "bytes": "ff"}
    other = build(MANIFEST, [poke])
    assert compare(image, other).equal
    result = compare(image, other, DiffOptions(contents=True))
    assert [(c.path, c.detail) for c in result.changes] == [(f"{file}/contents", {"offset": 12345})]


def test_only_and_ignore(build: Callable[..., Image]) -> None:
    """Paths choose what is reported, and with it the exit code."""
    path = "/LUO/sessions[one]/files[0x1]/data/pos"
    pair = build(), build(MANIFEST, [{"op": "poke", "path": path, "value": 6}])
    assert not compare(*pair, DiffOptions(only=("/LUO/sessions[one]",))).equal
    assert compare(*pair, DiffOptions(only=("/LUO/sessions[two]",))).equal
    assert compare(*pair, DiffOptions(ignore=("/LUO/sessions[*]/files[*]/data/pos",))).equal
    # As in every command, a position or a number in another notation names an element too.
    assert not compare(*pair, DiffOptions(only=("/LUO/sessions[0]/files[0]",))).equal
    assert compare(*pair, DiffOptions(only=("/LUO/sessions[1]",))).equal


@pytest.mark.parametrize(
    "path",
    ["/LUO/sesions", "/LUO/sess", "/LUO/sessions[three]", "/LUO/ses*[three]", "/LUO/x*/contents"],
)
@pytest.mark.parametrize("option", ["only", "ignore"])
def test_a_path_that_is_in_neither_image(
    build: Callable[..., Image], path: str, option: str
) -> None:
    """A misspelt path is an error, as it would make any two images equal."""
    pair = build(), build(MANIFEST, [{"op": "poke", "path": "/LUO/liveupdate_number", "value": 4}])
    options = DiffOptions(only=(path,)) if option == "only" else DiffOptions(ignore=(path,))
    with pytest.raises(UsageError, match=re.escape(path)):
        compare(*pair, options)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/abi",
        "/page_size",
        "/scratch[*]/size",
        "/LUO",
        "/memory_map",
        "/LUO/sessions[*]/files[*]/data/folios[*]/flags",
        "/LUO/sessions[one]/files[0x1]/data/folios[3]/flags",
        "/LUO/sessions[one]/files[0x1]/contents",
        "/memblock/regions[tr*]",
    ],
)
def test_paths_of_all_kinds_of_changes(build: Callable[..., Image], path: str) -> None:
    """Values, rows of tables, payload and facts of the whole image can be asked for."""
    result = compare(build(), build(), DiffOptions(only=(path,), contents=True))
    assert result.result is not Result.DIFFERENT


def test_a_path_of_one_image_only(build: Callable[..., Image]) -> None:
    """What was added or removed is in one of the images, and that is enough."""
    fewer = MANIFEST.replace('name = "two"', 'name = "three"')
    result = compare(build(), build(fewer), DiffOptions(only=("/LUO/sessions[two]",)))
    assert not result.equal
    assert compare(build(), build(fewer), DiffOptions(ignore=("/LUO/sessions[two]",))).equal


RANGES = """
id = "ranges-v1"
title = "A file of ranges"
kind = "file"
content = "ranges_ser"
status = "local"
match = { compatible = "ranges-v1" }
uses = ["kho_vmalloc"]
doc = "Memory in pieces."

[struct.ranges_ser]
size = 24
layout = '''
u64 nr;                     /* number of pieces */
struct kho_vmalloc pieces;  /* all of them */
'''

[struct.ranges_ser.fields]
nr = { role = "count", counts = "pieces" }
pieces = { holds = { of = "piece", count = "nr" } }

[struct.piece]
size = 16
layout = '''
u64 start;   /* where it is */
u64 length;  /* its length */
'''

[struct.piece.fields]
start = { role = "address", points_to = { shape = "range", size = "length" }, null = "empty" }
length = { role = "bytes" }
"""
PIECES = """
abi = "7.3"
[[session]]
name = "vm"
[[session.file]]
handler = "ranges-v1"
token = 1
[session.file.fields]
pieces = [
  { size = "8K", contents = { fill = "a" } },
  { size = "4K", contents = { fill = "b" } },
]
"""
RANGES_FILE = "/LUO/sessions[vm]/files[0x1]"


@pytest.fixture
def ranges(tmp_path: Path) -> Callable[[str], Path]:
    """Makes an image of a manifest whose file keeps its memory as ranges in a table."""
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "ranges-v1.toml").write_text(RANGES)

    def make(text: str) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.elf"
        path.with_suffix(".toml").write_text(text)
        command = ["encode", str(path.with_suffix(".toml")), "-o", str(path), "-q"]
        assert main([*command, "--formats", str(tmp_path / "formats")]) == 0
        return path

    return make


def test_ranges_in_a_table_are_payload(
    ranges: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Memory that the rows of a table point to is compared and extracted: all of it, or one row."""
    formats = ["--formats", str(tmp_path / "formats")]
    one = ranges(PIECES)
    two = ranges(PIECES.replace('fill = "b"', 'fill = "c"'))
    assert main(["diff", str(one), str(two), *formats]) == 0
    assert main(["diff", str(one), str(one), "--contents", *formats]) == 0
    capsys.readouterr()
    assert main(["diff", str(one), str(two), "--contents", "--json", *formats]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [(c["path"], c["offset"]) for c in document["changes"]] == [
        (f"{RANGES_FILE}/contents", 8192)
    ]
    out = tmp_path / "out"
    for path, expected in (
        (RANGES_FILE, b"a" * 8192 + b"b" * 4096),
        (f"{RANGES_FILE}/data/pieces", b"a" * 8192 + b"b" * 4096),
        (f"{RANGES_FILE}/data/pieces[1]", b"b" * 4096),
        (f"{RANGES_FILE}/data/pieces[1]/start", b"b" * 4096),
    ):
        assert main(["extract", str(one), path, "-o", str(out), *formats]) == 0
        assert out.read_bytes() == expected
    assert main(["extract", str(one), "/", "--all", "-o", str(tmp_path / "all"), *formats]) == 0
    assert (tmp_path / "all" / "sessions" / "vm" / "0x1").read_bytes() == b"a" * 8192 + b"b" * 4096


def test_payload_that_one_side_did_not_capture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not compared: neither a change, nor equal."""
    whole, packed = str(capture("7.3.4")), str(tmp_path / "packed.elf")
    assert main(["pack", whole, "-o", packed, "-q"]) == 0
    assert main(["diff", whole, packed]) == 0
    capsys.readouterr()
    for pair in ((whole, packed), (packed, whole), (packed, packed)):
        assert main(["diff", *pair, "--contents"]) == 5
        assert re.search(
            r"^equal in what both captured; \d+ not compared$", capsys.readouterr().out, re.M
        )
    assert main(["diff", whole, packed, "--contents", "--json"]) == 5
    document = json.loads(capsys.readouterr().out)
    assert (document["equal"], document["result"], document["changes"]) == (False, "incomplete", [])
    gap = next(row for row in document["not_compared"] if row["path"].endswith("files[0x1]"))
    assert gap == {
        "path": "/LUO/sessions[vm-alpha]/files[0x1]",
        "reason": "not-captured",
        "image": "second",
        "contents": True,
        "size": 2 << 20,
    }
    # What is not asked for does not count.
    assert main(["diff", whole, packed, "--contents", "--only", "/kexec-metadata"]) == 0
    assert main(["diff", whole, packed, "--contents", "--ignore", "/LUO/sessions"]) == 5


def test_payload_that_is_captured_in_part(build: Callable[..., Image]) -> None:
    """What both images have is compared, and the rest is not."""
    from khotool.extract.select import payload_plan
    from khotool.model.lookup import find_node

    image = build()
    file = "/LUO/sessions[one]/files[0x1]"
    plan = payload_plan(image, find_node(image, file))
    start = int(plan.address[0])
    page = image.geometry.page_size
    for at, found in ((page + 5, None), (3 * page + 5, 3 * page + 5)):
        poke = {"op": "poke", "address": hex(start + at), "bytes": "ff"}
        other = build(MANIFEST, [poke])
        space = Without(other.space, start + page, start + 2 * page)
        other = dataclasses.replace(other, space=space)
        result = compare(image, other, DiffOptions(contents=True, only=(file,)))
        expected = [] if found is None else [f"{file}/contents"]
        assert [change.path for change in result.changes] == expected
        assert [change.detail["offset"] for change in result.changes] == [found][: len(expected)]
        assert [(gap.path, gap.size) for gap in result.not_compared] == [(file, page)]


def test_addresses_and_pages() -> None:
    """Another place is a change only when it is asked for."""
    old, new = open_image(capture("6.19.11")), open_image(capture("7.3.4"))
    plain = compare(old, new)
    strict = compare(old, new, DiffOptions(addresses=True, pages=True))
    assert len(strict.changes) > len(plain.changes)
    assert strict.added
    assert strict.removed
    assert plain.added == []


def test_what_a_boot_consumed_is_not_compared() -> None:
    """What the booted kernel reused is not lost, and the images are not called equal."""
    old = open_image(capture("7.3.4"))
    copy = open_image(capture("7.3.4").with_name("debugfs.tar.xz"))
    result = compare(old, copy)
    assert result.result is Result.INCOMPLETE
    gaps = {gap.path: (gap.why, gap.side) for gap in result.not_compared}
    assert gaps["/LUO"] == (Why.CONSUMED, Side.SECOND)
    assert gaps["/memory_map"] == (Why.NOT_CAPTURED, Side.SECOND)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit codes, the JSON of the contract, and text that names what changed."""
    old, new = str(capture("6.19.11")), str(capture("7.3.4"))
    assert main(["diff", old, old]) == 0
    assert capsys.readouterr().out.endswith("equal\n")
    assert main(["diff", old, new, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "khotool.diff/1"
    assert document["equal"] is False
    assert set(document["changes"][0]) == {"kind", "path", "old", "new"}
    assert set(document["pages"]) == {"added", "removed"}
    assert main(["diff", old, new]) == 1
    text = capsys.readouterr().out
    assert "memfd-v1 -> memfd-v2  (7 times)" in text
    assert len(text.splitlines()) < 30
    assert main(["diff", old, new, "--stat"]) == 1
    assert "/LUO/sessions[vm-alpha]" in capsys.readouterr().out
    assert main(["diff", old, new, "--output-format", "markdown"]) == 1
    assert "| changed | /abi |" in capsys.readouterr().out
    assert main(["diff", old, new, "--only", "/memblock"]) == 0
    assert main(["diff", old, new, "--only", "memblock"]) == 2
    assert main(["diff", old, str(tmp_path / "none")]) == 3
