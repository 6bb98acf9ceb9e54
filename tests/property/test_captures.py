"""What holds for every real capture: lossless, faithful when moved, safe when packed."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from khotool.absent import Absent
from khotool.check.catalogue import count_by_severity
from khotool.decode.open import open_image
from khotool.document.dump import dump_document
from khotool.document.full import metadata_pages, preserved_segments
from khotool.encode.convert import convert_image
from khotool.encode.fresh import build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.pack import pack_image
from khotool.encode.reopen import image_of
from khotool.encode.segments import write_image
from khotool.encode.sets import set_of
from khotool.model.image import UNPLACED, Image
from khotool.model.region import RecordRegion
from khotool.pages.runs import subtract
from khotool.structured import Document
from tests.builders import CAPTURES, REAL, REGISTRY, SETS, capture, worst
from tests.documents import full_document
from tests.strategies import meaning

every_capture = pytest.mark.parametrize("name", CAPTURES)


@every_capture
def test_every_metadata_page_comes_back(name: str) -> None:
    """Full document to JSON text and back: the same pages, bit for bit."""
    image = capture(name)
    document = json.loads(json.dumps(full_document(image)))
    segments, geometry = preserved_segments(Document("dump", document), REGISTRY)
    assert geometry == image.geometry
    pages = {address: bytes(data) for address, data in segments}
    expected = {
        start: bytes(image.space.read(start, end - start))
        for start, end in metadata_pages(image).tolist()
    }
    assert pages == expected


@every_capture
def test_regions_write_what_is_there(name: str) -> None:
    """Every region gives back its own memory; only the tails of strings may differ."""
    image = capture(name)
    tails = list(string_tails(image))
    for address, data in (write for region in image.regions for write in region.writes()):
        if address >= UNPLACED:
            continue
        given = bytearray(image.space.read(address, len(data)))
        for start, end in tails:
            low, high = max(start, address), min(end, address + len(data))
            if low < high:
                given[low - address : high - address] = bytes(high - low)
        assert data == bytes(given), f"{address:#x}"


def string_tails(image: Image) -> Any:
    """Bytes behind the NUL of every fixed string of a record."""
    for region in image.regions:
        if not isinstance(region, RecordRegion):
            continue
        for placed in region.compiled.fields:
            kind = placed.field.type
            if kind is not None and kind.kind == "char":
                at = region.address + placed.offset
                used = bytes(image.space.read(at, placed.size)).find(b"\0")
                if used >= 0:
                    yield at + used, at + placed.size


@every_capture
def test_moved_says_the_same(name: str) -> None:
    """Laid out afresh: the same sessions, tokens, contents and number of preserved pages."""
    image = capture(name)
    abi = set_of(image)
    assert abi.id == REGISTRY.set_for(image.info.osrelease or "").id  # type: ignore[union-attr]
    handover = handover_of(image)
    built = build_fresh(handover, abi, REGISTRY)
    moved = image_of(built, REGISTRY)
    assert built.lost == []
    assert worst(moved) == []
    assert meaning(handover_of(moved)) == meaning(handover)
    owned, before = moved.ownership(), image.ownership()
    assert owned is not None
    assert before is not None
    assert (owned.unowned_pages, owned.unpreserved_pages, owned.double_owned_pages) == (0, 0, 0)
    assert owned.preserved_pages == before.preserved_pages
    assert not isinstance(moved.scratch, Absent)
    inside = [
        address
        for address, data in built.segments
        for area in moved.scratch.areas
        if address < area.end and address + len(data) > area.address
    ]
    assert inside == []


@every_capture
def test_packed_says_the_same_without_payload(name: str, tmp_path: Path) -> None:
    """A packed capture dumps the same document, and no byte of payload is in it."""
    image = capture(name)
    write_image(tmp_path / "small.elf", pack_image(image))
    packed = open_image(tmp_path / "small.elf")
    assert document_of(packed) == document_of(image)
    outside = subtract(packed.space.extents(), metadata_pages(image))
    assert outside.tolist() == []
    assert pack_image(packed).segments == pack_image(image).segments
    write_image(tmp_path / "whole.elf", pack_image(image, payload=True))
    whole = open_image(tmp_path / "whole.elf")
    assert document_of(whole) == document_of(image)
    assert meaning(handover_of(whole)) == meaning(handover_of(image))


def document_of(image: Image) -> dict[str, Any]:
    """The dump, without what names the file."""
    document = json.loads(json.dumps(dump_document(image, count_by_severity(image.findings))))
    for key in ("path", "compression", "container"):
        del document["image"][key]
    for root in document["roots"]:
        del root["why"]
    return dict(document)


@every_capture
def test_anonymous_holds_no_name(name: str, tmp_path: Path) -> None:
    """--anonymize: no name that a user chose is left anywhere in the file."""
    image = capture(name)
    truth = json.loads((REAL / name / "truth.json").read_text(encoding="utf-8"))
    names = [session["name"] for session in truth["sessions"]] + truth["revived"]
    path = tmp_path / "anonymous.elf"
    write_image(path, pack_image(image, payload=False, anonymize=True))
    data = path.read_bytes()
    assert [text for text in names if text.encode() in data] == []
    anonymous = open_image(path)
    assert worst(anonymous) == worst(image)
    for entry in ("LUO", "memblock"):
        before, after = image.entry(entry), anonymous.entry(entry)
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert len(list(before.walk())) == len(list(after.walk()))


@every_capture
@pytest.mark.parametrize("to", SETS)
def test_converts_to_every_set(name: str, to: str) -> None:
    """A capture is sound in every other set, and what is lost is listed."""
    image = capture(name)
    built = convert_image(image, to)
    made = image_of(built, REGISTRY)
    assert worst(made) == []
    assert set_of(made).id == to
    before, after = meaning(handover_of(image)), meaning(handover_of(made))
    assert after["memblock"] == before["memblock"]
    assert after["kho_test"] == before["kho_test"]
    lost = {line.partition(":")[0] for line in built.lost}
    assert {f"/{entry}" for entry in before if entry not in after} <= lost
    if "LUO" in before and "LUO" in after:
        kept, given = after["LUO"]["sessions"], before["LUO"]["sessions"]
        assert [tokens(session) for session in kept] == [tokens(session) for session in given]
        held = [
            [file["at"]["folios"]["payload"] for file in files(s) if "folios" in file["at"]]
            for s in (*kept, *given)
        ]
        assert held[: len(kept)] == held[len(kept) :]


def tokens(session: dict[str, Any]) -> tuple[str, list[int]]:
    return session["name"], [file.get("token", 0) for file in session.get("files", [])]


def files(session: dict[str, Any]) -> list[dict[str, Any]]:
    return [file["data"] for file in session.get("files", [])]


def test_preserve_mode_keeps_contents(tmp_path: Path) -> None:
    """A dump with blobs gives back every captured byte of payload."""
    from khotool.cli.main import main

    image = capture("linux-7.3.4")
    model = tmp_path / "model.json"
    arguments = ["dump", "--json", "--full", str(REAL / "linux-7.3.4/image.elf.xz")]
    assert main([*arguments, "-o", str(model)]) == 0
    document = json.loads(model.read_text(encoding="utf-8"))
    from khotool.document.payload import write_blobs

    document |= write_blobs(image, tmp_path / "blobs")
    model.write_text(json.dumps(document), encoding="utf-8")
    assert main(["encode", "-q", str(model), "-o", str(tmp_path / "out.elf")]) == 0
    made = open_image(tmp_path / "out.elf")
    assert meaning(handover_of(made)) == meaning(handover_of(image))
    assert document_of(made) == document_of(image)


def test_payload_is_not_in_the_packed_file(tmp_path: Path) -> None:
    """Contents of memfds and regions, page by page, are nowhere in a packed file."""
    image = capture("linux-7.3.4")
    path = tmp_path / "small.elf"
    write_image(path, pack_image(image))
    packed = path.read_bytes()
    whole = lzma.decompress((REAL / "linux-7.3.4/image.elf.xz").read_bytes())
    from khotool.document.payload import payload_ranges

    seen = 0
    for start, end in payload_ranges(image).tolist():
        data = bytes(image.space.read(start, min(end - start, 1 << 16)))
        for at in range(0, len(data), 4096):
            page = data[at : at + 64]
            if any(page) and page in whole:
                seen += 1
                assert page not in packed
    assert seen
