"""``pages``, ``identify``, ``hex`` and ``formats`` as a script meets them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from khotool.abi.registry import load_registry
from khotool.cli.main import main

IMAGE = str(Path(__file__).parents[3] / "fixtures/real/linux-7.3.4/image.elf.xz")
Capture = pytest.CaptureFixture[bytes]


def run(capture: Capture, *words: str) -> bytes:
    assert main(list(words)) == 0
    return capture.readouterr().out


def load(capture: Capture, *words: str) -> Any:
    return json.loads(run(capture, *words))


def test_pages_csv_is_the_json(capsysbinary: Capture) -> None:
    """CSV and JSON list the same ranges."""
    rows = load(capsysbinary, "pages", "--json", IMAGE)["ranges"]
    text = run(capsysbinary, "pages", "--csv", IMAGE).decode()
    read = list(csv.DictReader(io.StringIO(text)))
    assert [(r["start"], int(r["pages"]), int(r["order"]), r["owner"]) for r in read] == [
        (row["start"], row["pages"], row["order"], row["owner"]) for row in rows
    ]


def test_pages_filters(capsysbinary: Capture) -> None:
    """An owner's pages are those of the whole list below its path, and its neighbour's are not."""
    rows = load(capsysbinary, "pages", "--json", IMAGE)["ranges"]
    top = "/LUO/sessions[vm-alpha]"
    found = load(capsysbinary, "pages", "--json", "--owner", top, IMAGE)["ranges"]
    assert found == [row for row in rows if row["owner"].startswith(top)]
    assert load(capsysbinary, "pages", "--json", "--unowned", IMAGE)["ranges"] == []
    assert load(capsysbinary, "pages", "--json", "--unpreserved", IMAGE)["ranges"] == []
    assert "ranges" not in load(capsysbinary, "pages", "--json", "--summary", IMAGE)


def test_identify_takes_frames(capsysbinary: Capture) -> None:
    """An address and its page frame number mean the same."""
    found = load(capsysbinary, "identify", "--json", IMAGE, "0x13c7000", "#0x13c7")["addresses"]
    assert found[0] == found[1]
    first = found[0]["is"][0]
    assert first["path"] == "/LUO/sessions[vm-beta]/files[0x1]/data/folios[12]"
    assert first["file_offset"] == 12 * 4096


def test_hex_forms(capsysbinary: Capture) -> None:
    """The plain form, the JSON and the annotated form show the same bytes."""
    found = load(capsysbinary, "hex", "--json", IMAGE, "/LUO")
    data = b"".join(bytes.fromhex(piece["bytes"]) for piece in found["pieces"])
    assert data.startswith(b"luo-v5\0\0")
    assert len(data) == 32
    shown = run(capsysbinary, "hex", "--plain", IMAGE, "/LUO").decode()
    digits = "".join(line[14:63] for line in shown.splitlines())
    assert bytes.fromhex(digits) == data
    fields = [field["path"] for piece in found["pieces"] for field in piece.get("fields", [])]
    assert fields == [
        "/LUO/compatible",
        "/LUO/liveupdate_number",
        "/LUO/sessions",
        "/LUO/flbs",
    ]


def test_hex_of_a_hole(capsysbinary: Capture) -> None:
    """Terabytes of nothing are one line."""
    shown = run(capsysbinary, "hex", IMAGE, "0x99999000+64M").decode()
    assert shown.splitlines() == [
        "-- 0x99999000-0x9d998fff  64 MiB  not in the capture --",
    ]


@pytest.mark.parametrize("identifier", [d.id for d in load_registry()])
def test_formats_show(identifier: str, capsysbinary: Capture) -> None:
    """Every definition can be shown, as text and as JSON, for every page size."""
    for size in ("4K", "64K"):
        text = run(capsysbinary, "formats", "show", identifier, "--page-size", size).decode()
        assert text.startswith(identifier)
    found = load(capsysbinary, "formats", "show", identifier, "--json")
    assert found["id"] == identifier
    for struct in found["structs"]:
        end = max(field["offset"] + field["size"] for field in struct["fields"])
        assert end <= struct["size"]


def test_formats_list(capsysbinary: Capture) -> None:
    """The list has every definition once; --kind narrows it."""
    found = load(capsysbinary, "formats", "list", "--json")["formats"]
    assert sorted(item["id"] for item in found) == sorted(d.id for d in load_registry())
    roots = load(capsysbinary, "formats", "list", "--json", "--kind", "root")["formats"]
    assert {item["kind"] for item in roots} == {"root"}
    assert main(["formats", "list", "--kind", "tree"]) == 2
