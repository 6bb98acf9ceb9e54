"""The orchestrator and its memfds before, between and after the merges, by their recipes."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from khotool.abi.definition import Kind
from khotool.check.catalogue import severity
from khotool.check.run import check_image
from khotool.diff.compare import compare
from khotool.document.full import preserved_segments
from khotool.encode.convert import convert_image
from khotool.encode.fresh import Built, build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.extract.select import payload_plan
from khotool.extract.write import write_plan
from khotool.findings import Severity
from khotool.fixture.recipe import Fixture, build_fixture
from khotool.manifest.read import Manifest
from khotool.model.annotate import annotate
from khotool.model.image import Image, Node
from khotool.model.lookup import find_node
from khotool.model.places import Places
from khotool.model.region import FdtRegion, RecordRegion
from khotool.structured import Document
from khotool.view.folios import folios_of
from tests.builders import REGISTRY, overlaid
from tests.documents import full_document
from tests.strategies import meaning

GOOD = Path(__file__).parents[3] / "fixtures" / "good"
FAMILY = {
    # Fixture: definition of the orchestrator, definition of its memfds.
    "luo-rfc-v1-version": ("luo-rfc-v1", ""),
    "luo-dev-frozen": ("luo-v1-dev", "memfd-v1-dev"),
    "luo-rfc-v2-subsystems": ("luo-v1-rfc-v2", "memfd-v1-dev"),
    "luo-posted-v1-files-and-subsystems": ("luo-v1-posted-v1", "memfd-v1-posted-v1"),
    "luo-posted-v1-subsystems-only": ("luo-v1-posted-v1", ""),
    "kho-array-sparse": ("luo-v1-posted-v1", "memfd-v1-kho-array"),
    "luo-posted-v4-sessions": ("luo-v1-posted-v4", "memfd-v1-posted-v1"),
    "luo-posted-v5-sessions-and-flbs": ("luo-v1-posted-v5", "memfd-v1-posted-v5"),
    "luo-posted-v6-sessions-and-flbs": ("luo-v1-posted-v6", "memfd-v1-posted-v5"),
    "luo-posted-v7-sessions-and-flbs": ("luo-v1", "memfd-v1"),
    "6.19-two-sessions": ("luo-v1", "memfd-v1"),
    "7.0-sessions-and-flbs": ("luo-v1", "memfd-v1"),
    "7.1-sessions": ("luo-v1", "memfd-v2"),
    "7.1-memfd-v2-draft": ("luo-v1", "memfd-v2"),
    "luo-v2-sessions-and-flbs": ("luo-v2", "memfd-v2"),
    "luo-v3-sessions-and-flbs": ("luo-v3", "memfd-v2"),
    "luo-v4-sessions-and-flbs": ("luo-v4", "memfd-v2"),
    "luo-v3-kho-block-v1-sessions-and-flbs": ("luo-v3-kho-block-v1", "memfd-v2"),
    "luo-v4-kho-block-v1-sessions-and-flbs": ("luo-v4-kho-block-v1", "memfd-v2"),
    "7.2-everything": ("luo-v5", "memfd-v2"),
    "composite-sessions-and-flbs": ("luo-v5-block-v1", "memfd-v2-vmalloc-v1"),
    "composite-unknown-handler": ("luo-v5-block-v1", "memfd-v2"),
    "composite-unknown-parts": ("luo-v5;block-v2;vmalloc-v1", ""),
    "features-sessions-and-flbs": ("luo-features", "memfd-features"),
}
SMALL = tuple(name for name in FAMILY if not name.startswith("luo-dev"))
MERGED = ("6.19-two-sessions", "7.0-sessions-and-flbs", "7.1-sessions", "7.2-everything")
ADDED = frozenset(
    {
        "subsystems_compatible",
        "files_compatible",
        "state",
        "version",
        "reserved",
        "pgcnt",
        "session_count",
        "session_pages",
        "liveupdate_number",
    }
)
"""Values that no recipe has to say."""
PARTS = frozenset({"composite-unknown-parts", "composite-unknown-handler"})
"""Fixtures whose strings nothing describes whole."""

every_member = pytest.mark.parametrize("name", FAMILY)


def document(name: str) -> dict[str, Any]:
    return tomllib.loads((GOOD / name / "recipe.toml").read_text(encoding="utf-8"))


@cache
def built(name: str) -> Built:
    return build_fixture(Fixture(GOOD / name / "recipe.toml"), REGISTRY)


@cache
def image(name: str) -> Image:
    """The image of a recipe; tests do not change it."""
    return image_of(built(name), REGISTRY)


def orchestrator(found: Image) -> Node | None:
    return found.entry("LUO") or found.entry("liveupdate_orchestrator")


def files(found: Image) -> Iterator[Node]:
    """Records of all files, of sessions or not."""
    for node in found.tree.walk():
        if node.name == "files" and node.parent is not None and node.key is None:
            yield from node.elements()


@every_member
def test_each_is_told_from_all_others(name: str) -> None:
    """The bytes alone choose the definitions, with certainty."""
    entry, memfd = FAMILY[name]
    found = image(name)
    used = {d.id: d for d in found.used}
    of_family = [i for i, d in used.items() if "LUO" in d.match.get("entry", ())]
    assert of_family == ([entry] if entry != "luo-rfc-v1" else [])
    assert entry in used
    assert [i for i, d in used.items() if d.kind is Kind.FILE] == ([memfd] if memfd else [])
    unsure = [choice for choice in found.choices if not choice.certain]
    assert len(unsure) == (1 if name == "composite-unknown-handler" else 0)


@every_member
def test_the_model_is_what_the_recipe_says(name: str) -> None:
    """Sessions, files, subsystems and FLBs come back, and every page has one owner."""
    found = image(name)
    recipe = GOOD / name / "recipe.toml"
    given = Manifest(Document(recipe.name, document(name)), recipe.parent, REGISTRY).handover()
    if name not in PARTS:
        assert only_written(meaning(handover_of(found))) == only_written(meaning(given))
    assert built(name).lost == []
    owned = found.ownership()
    assert owned is not None
    assert (owned.unowned_pages, owned.unpreserved_pages, owned.double_owned_pages) == (0, 0, 0)


def only_written(value: Any) -> Any:
    """A meaning without what the encoder itself adds: versions, states, lengths."""
    if isinstance(value, dict):
        kept = {k: only_written(v) for k, v in value.items() if k not in ADDED}
        return {k: v for k, v in kept.items() if v not in (0, None, {}, [])}
    if isinstance(value, list):
        return [only_written(item) for item in value]
    return value


@every_member
def test_nothing_is_wrong_with_it(name: str) -> None:
    """No rule above a note fires; holes are what a sparse array is for."""
    fired = {finding.rule for finding in check_image(image(name))}
    above = {rule for rule in fired if severity(rule) is not Severity.NOTE}
    assert above == ({"HND605"} if name == "kho-array-sparse" else set())


@every_member
def test_a_full_dump_gives_every_page_back(name: str) -> None:
    """Through JSON text, bit for bit."""
    found = image(name)
    made, geometry = preserved_segments(
        Document("dump", json.loads(json.dumps(full_document(found)))), REGISTRY
    )
    assert geometry == found.geometry
    assert made
    for address, data in made:
        assert bytes(found.space.read(address, len(data))) == bytes(data)


@every_member
def test_laid_out_afresh_it_says_the_same(name: str) -> None:
    """Decoding what is encoded from a decoded image gives the same handover."""
    found = image(name)
    lifted = handover_of(found)
    abi = REGISTRY.set_for(document(name)["abi"])
    assert abi is not None
    fresh = build_fresh(lifted, abi, REGISTRY)
    again = meaning(handover_of(image_of(fresh, REGISTRY)))
    if name not in PARTS:
        assert again == meaning(lifted)
        assert fresh.lost == []


@every_member
def test_it_equals_itself(name: str) -> None:
    """A comparison with itself, contents and all, has nothing to say."""
    result = compare(image(name), image(name))
    assert result.equal
    assert list(result.changes) == []


@every_member
def test_contents_of_its_files(name: str) -> None:
    """What extraction writes of a file is what the recipe put into it."""
    told = document(name)
    rows = [(row["token"], row) for s in told.get("session", ()) for row in s.get("file", ())]
    rows += [
        (row["token"], row["data"])
        for entry in told.get("entry", ())
        for row in entry.get("fields", {}).get("files", ())
    ]
    nodes = list(files(image(name)))
    assert len(nodes) == len(rows)
    for node, (token, row) in zip(nodes, rows, strict=True):
        assert node.value_of("token") == (int(token, 0) if isinstance(token, str) else token)
        plan = payload_plan(image(name), node)
        assert folios_of(image(name), node) is not None or plan.size == 0
        sink = Collect()
        write_plan(plan, image(name).space, sink)
        data = sink.getvalue()
        assert len(data) == plan.size == node.get("data").value_of("size")  # type: ignore[union-attr]
        held = row.get("contents", {})
        if "fill" in held and "holes" not in row:
            assert data == held["fill"].encode() * plan.size
        if "pattern" in held and "holes" not in row:
            assert data == bytes((i // 4096 + i % 4096) & 0xFF for i in range(plan.size))


class Collect(io.BytesIO):
    """A sink in memory."""

    def data(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Bytes of the file."""
        self.writelines(buffers)

    def hole(self, length: int) -> None:
        """Zeros."""
        self.write(bytes(length))

    def finish(self) -> None:
        """The file is complete."""


@pytest.mark.parametrize("name", SMALL)
def test_every_byte_of_it_has_a_meaning(name: str) -> None:
    """Bytes of trees and records are shown with the values they hold."""
    found = image(name)
    places = Places(found)
    for region in found.regions:
        if not isinstance(region, FdtRegion | RecordRegion):
            continue
        for start, size in region.extents():
            pieces = list(annotate(found, places, start, min(size, 4096)))
            assert sum(piece.size for piece in pieces) == min(size, 4096)
            assert any(piece.mark is not None for piece in pieces)


def test_states_have_names() -> None:
    """The development branch writes its state, which is shown by name."""
    from khotool.view.notation import number_text

    node = find_node(image("luo-dev-frozen"), "/LUO/state")
    assert node.value == 2
    assert number_text(2, node.field) == "LIVEUPDATE_STATE_FROZEN (2)"


def test_subsystems_hold_a_page() -> None:
    """A subsystem of the self-test names a page of data, or nothing."""
    found = image("luo-rfc-v2-subsystems")
    node = find_node(found, "/LUO/subsystems[ksft_luo]")
    sink = Collect()
    write_plan(payload_plan(found, node), found.space, sink)
    assert sink.getvalue() == b"S" * 4096
    assert find_node(found, "/LUO/subsystems[ksft_unprepared]/data").target is None


def test_numbers_of_a_session_tree_are_big_endian() -> None:
    """The only ones of any format; sessions they count may have slots that are free."""
    found = image("luo-posted-v4-sessions")
    count = find_node(found, "/LUO/session_count")
    assert count.span is not None
    assert bytes(found.space.read(count.span.address, 8)) == (3).to_bytes(8, "big")
    empty = find_node(found, '/LUO/sessions["empty session"]/name')
    assert empty.span is not None
    freed = overlaid(found, [(empty.span.address, bytes(empty.span.size))])
    sessions = find_node(freed, "/LUO/sessions")
    assert [element.key for element in sessions.elements()] == ["vm-alpha", "vm-beta"]
    assert sessions.free == 1
    assert "REC414" not in {finding.rule for finding in check_image(freed)}


@pytest.mark.parametrize("version", ["v5", "v6"])
def test_heads_count_their_pages(version: str) -> None:
    """16 pages of sessions, 2 of files where a session has some, 1 of FLBs."""
    found = image(f"luo-posted-{version}-sessions-and-flbs")
    assert find_node(found, "/LUO/sessions/header/pgcnt").value == 16
    assert find_node(found, "/LUO/flbs/header/pgcnt").value == 1
    pages = [e.value_of("pgcnt") for e in find_node(found, "/LUO/sessions").elements()]
    assert pages == [2, 0, 2, 2]
    head = find_node(found, "/LUO/sessions/header/pgcnt")
    assert head.span is not None
    for told in (0, 17 << 40):
        damaged = overlaid(found, [(head.span.address, told.to_bytes(8, "little"))])
        assert "REC403" in {finding.rule for finding in damaged.findings} or told == 0


def test_positions_are_the_indexes_of_a_sparse_array() -> None:
    """A row of the array has its page index, though no byte says it."""
    found = image("kho-array-sparse")
    node = find_node(found, "/LUO/files[0x1]/data/folios")
    assert node.table is not None
    index = node.table.column("index")
    assert index.tolist() == [*range(3), *range(1503, 2304)]
    row = find_node(found, "/LUO/files[0x1]/data/folios[3]")
    assert row.value_of("index") == 1503
    assert row.get("index").span is None  # type: ignore[union-attr]
    assert row.span is not None
    word = int.from_bytes(found.space.read(row.span.address, 8), "little")
    assert word == row.value_of("pfn") << 12 | row.value_of("flags") << 1 | 1


def test_the_string_decides_how_long_a_record_is() -> None:
    """A record with unknown parts in its string is read if its length confirms the string."""
    name = "7.2-everything"
    found = image(name)
    blob = found.entry("LUO")
    assert blob is not None
    assert blob.target is not None
    string = b"luo-v5;block-v1;more-v2"
    rest = bytes(found.space.read(blob.target.address + 8, 24))
    size = blob.get("size")
    assert size is not None
    assert size.span is not None
    record = string.ljust(24, b"\0") + rest
    for length, known in ((48, True), (40, False), (56, False)):
        writes = [(blob.target.address, record), (size.span.address, length.to_bytes(8, "little"))]
        longer = overlaid(found, writes)
        entry = longer.entry("LUO")
        assert entry is not None
        assert (entry.format == string.decode()) is known
        assert ("ABI901" in {finding.rule for finding in longer.findings}) is not known
        if known:
            assert meaning(handover_of(longer))["LUO"] == meaning(handover_of(found))["LUO"]
            assert [c.certain for c in longer.choices if c.definition == string.decode()] == [True]
            made, _ = preserved_segments(Document("dump", full_document(longer)), REGISTRY)
            assert all(bytes(longer.space.read(a, len(d))) == bytes(d) for a, d in made)


def test_a_root_with_unknown_parts_is_read_by_the_first() -> None:
    """With a note, and as a choice that nothing confirms."""
    found = image("composite-sessions-and-flbs")
    compatible = find_node(found, "/compatible")
    assert compatible.span is not None
    string = "kho-v4;radix-v1;vmalloc-v9"
    other = overlaid(found, [(compatible.span.address, string.encode())])
    assert other.tree.format == "kho-v4"
    assert "vmalloc-v9" in other.tree.note
    assert [(c.layout, c.certain) for c in other.choices] == [("kho-v4", False)]
    assert meaning(handover_of(other)) == meaning(handover_of(found))


@pytest.mark.parametrize("name", MERGED)
def test_damage_makes_no_posting_of_a_merged_format(name: str) -> None:
    """Whatever byte of a released kernel's tree or record changes, it stays one of a release."""
    found = image(name)
    luo = found.entry("LUO")
    assert luo is not None
    places = [
        start + offset
        for region in found.regions
        if region.path.startswith("/LUO") and isinstance(region, FdtRegion | RecordRegion)
        for start, size in region.extents()
        for offset in range(0, min(size, 320), 11)
    ][:90]
    for number, address in enumerate(places):
        old = found.space.read(address, 1)[0]
        new = (old ^ (1 << number % 8), 0, 0xFF, old + 1 & 0xFF)[number % 4]
        damaged = overlaid(found, [(address, bytes([new]))])
        strange = {d.id for d in damaged.used if d.status != "merged"}
        assert strange == set(), (hex(address), old, new)


@pytest.mark.parametrize("other", ["luo-v2", "luo-v3", "luo-v4", "luo-v9"])
@pytest.mark.parametrize("name", ["7.1-sessions", "7.2-everything"])
def test_another_version_in_the_string_is_no_other_format(name: str, other: str) -> None:
    """A record or tree that only claims to be of a commit between releases is not read as such."""
    found = image(name)
    compatible = find_node(found, "/LUO/compatible")
    assert compatible.span is not None
    claimed = overlaid(found, [(compatible.span.address, other.encode())])
    assert {d.status for d in claimed.used} == {"merged"}
    assert "ABI901" in {finding.rule for finding in claimed.findings}


@pytest.mark.parametrize("name", [n for n in FAMILY if document(n).get("session")])
def test_sessions_go_on_to_a_released_kernel(name: str) -> None:
    """Sessions, files and contents are what 7.3 would write; no length counts as lost."""
    made = convert_image(image(name), "7.3")
    found = image_of(made, REGISTRY)
    assert {d.id for d in found.used if d.kind is Kind.FILE} == {"memfd-v2"}
    before, after = (meaning(handover_of(i))["LUO"]["sessions"] for i in (image(name), found))
    assert [s["name"] for s in after] == [s["name"] for s in before]
    for old, new in zip(before, after, strict=True):
        for left, right in zip(old.get("files", []), new.get("files", []), strict=True):
            for key in ("pos", "size", "folios"):
                assert left["data"]["at"].get(key) == right["data"]["at"].get(key)
    assert [line for line in made.lost if "pgcnt" in line or "nr_folios" in line] == []
