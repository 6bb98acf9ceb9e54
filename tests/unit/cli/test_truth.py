"""``dump --json`` of every real capture against what its guest printed."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from khotool.cli.main import main

REAL = Path(__file__).parents[3] / "fixtures" / "real"
CAPTURES = sorted(path.parent for path in REAL.glob("*/image.elf.xz"))
COPIES = sorted(path.parent for path in REAL.glob("*/debugfs.tar.xz"))
IDS = [path.name for path in CAPTURES]

KEYS = [
    "schema",
    "khotool",
    "image",
    "roots",
    "abi",
    "choices",
    "root",
    "scratch",
    "memory",
    "entries",
]


def dump(path: Path, capture: pytest.CaptureFixture[bytes], *flags: str) -> Any:
    assert main(["dump", "--json", str(path), *flags]) == 0
    return json.loads(capture.readouterr().out)


def truth_of(folder: Path) -> Any:
    return json.loads((folder / "truth.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", CAPTURES, ids=IDS)
def test_provenance(folder: Path) -> None:
    """Every capture is the one that its provenance describes."""
    said = tomllib.loads((folder / "provenance.toml").read_text(encoding="utf-8"))
    for name, digest in said["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert said["kernel"] == truth_of(folder)["kernel"]


@pytest.mark.parametrize("folder", CAPTURES, ids=IDS)
def test_root_and_image(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Kernel, page size, root address and version are those of the guest; the phase is frozen."""
    truth, found = truth_of(folder), dump(folder / "image.elf.xz", capsysbinary)
    assert found["image"]["osrelease"].startswith(truth["kernel"])
    assert found["image"]["page_size"] == truth["page_size"]
    assert found["image"] | {"path": ""} == {
        "path": "",
        "container": "elf",
        "compression": "xz",
        "page_size": truth["page_size"],
        "endian": "little",
        "osrelease": found["image"]["osrelease"],
        "phase": "frozen",
    }
    assert found["root"]["address"] == truth["root_pa"]
    assert found["root"]["compatible"] == truth["root_compatible"]
    selected = [root for root in found["roots"] if root["selected"]]
    assert [root["address"] for root in selected] == [truth["root_pa"]]
    assert selected[0]["role"] == "outgoing"
    assert found["findings"]["error"] == 0


@pytest.mark.parametrize("folder", CAPTURES, ids=IDS)
def test_sessions(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Sessions, tokens, handlers, sizes, positions and seals are those the guest made, in order."""
    truth, found = truth_of(folder), dump(folder / "image.elf.xz", capsysbinary)
    if not truth["sessions"]:
        assert "luo" not in found
        return
    made = [
        {
            "name": session["name"],
            "files": [
                {
                    "token": file["token"],
                    "handler": file["handler"],
                    "size": file["payload"]["size"],
                    "pos": file["payload"]["pos"],
                    "seals": file["payload"].get("seals", 0),
                }
                for file in session["files"]
            ],
        }
        for session in found["luo"]["sessions"]
    ]
    has_seals = any("v2" in f["handler"] for s in truth["sessions"] for f in s["files"])
    told = [
        {
            "name": session["name"],
            "files": [
                {
                    "token": file["token"],
                    "handler": file["handler"],
                    "size": file["size"],
                    "pos": file["pos"],
                    "seals": file["seals"] if has_seals else 0,
                }
                for file in session["files"]
            ],
        }
        for session in truth["sessions"]
    ]
    assert made == told
    assert found["luo"]["liveupdate_number"] == 1


@pytest.mark.parametrize("folder", CAPTURES, ids=IDS)
def test_entries(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Regions, the kernel's test and the kexec metadata are what the next kernel found."""
    truth, found = truth_of(folder), dump(folder / "image.elf.xz", capsysbinary)
    entries = {entry["name"]: entry for entry in found["entries"]}
    names = [region["name"] for region in entries["memblock"]["value"]["regions"]]
    assert names == truth["revived"]
    for region in entries["memblock"]["value"]["regions"]:
        assert region["start"].startswith("0x")
        assert region["size"] in (1 << 20, 2 << 20)
    test = entries["kho_test"]["value"]
    assert len(test["folios"]) == test["nr_folios"]
    assert list(test["folios"][0]) == ["address", "order"]
    console = "\n".join(truth["next_kernel_console"])
    assert ("KHO: exec from" in console) == ("kexec-metadata" in entries)
    if "kexec-metadata" in entries:
        assert entries["kexec-metadata"]["value"] == {
            "version": 1,
            "previous_release": truth["kernel"],
            "kexec_count": 1,
        }


@pytest.mark.parametrize("folder", CAPTURES, ids=IDS)
def test_memory(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """The totals agree with the orders and with the ranges of ``pages``; nothing leaks."""
    found = dump(folder / "image.elf.xz", capsysbinary)
    memory = found["memory"]
    pages = sum(count << int(order) for order, count in memory["orders"].items())
    assert memory["preserved_pages"] == pages
    assert memory["preserved_bytes"] == pages * found["image"]["page_size"]
    assert main(["pages", "--json", str(folder / "image.elf.xz")]) == 0
    listed = json.loads(capsysbinary.readouterr().out)
    assert list(listed) == ["schema", "khotool", "ranges", "summary"]
    assert sum(row["pages"] for row in listed["ranges"]) == pages
    assert listed["summary"]["preserved_pages"] == pages
    assert listed["summary"]["unpreserved_pages"] == 0
    size = found["image"]["page_size"]
    ends = [(int(row["start"], 16), row["pages"] * size) for row in listed["ranges"]]
    merged = sum(
        index == 0 or ends[index - 1][0] + ends[index - 1][1] < start
        for index, (start, _) in enumerate(ends)
    )
    assert memory["ranges"] == merged
    files = [f for s in found.get("luo", {}).get("sessions", []) for f in s["files"]]
    assert memory["preserved_bytes"] >= sum(file["payload"]["size"] for file in files)


@pytest.mark.parametrize("folder", CAPTURES, ids=IDS)
def test_keys(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Keys stand in the order of the contract, and the same input gives the same bytes."""
    found = dump(folder / "image.elf.xz", capsysbinary)
    assert found["schema"] == "khotool.dump/1"
    luo = ["luo"] if "luo" in found else []
    assert list(found) == [*KEYS, *luo, "findings"]
    assert list(found["image"]) == [
        "path",
        "container",
        "compression",
        "page_size",
        "endian",
        "osrelease",
        "phase",
    ]
    assert list(found["roots"][0]) == ["address", "compatible", "role", "selected", "why"]
    assert list(found["root"]) == ["address", "compatible", "memory_map"]
    assert list(found["memory"]) == [
        "orders",
        "preserved_pages",
        "preserved_bytes",
        "ranges",
        "layout",
    ]
    for entry in found["entries"]:
        assert list(entry) == ["name", "address", "size", "format", "value"]
    assert list(found["findings"]) == ["error", "warning", "note"]
    assert found["abi"] == sorted(found["abi"])
    main(["dump", "--json", str(folder / "image.elf.xz")])
    first = capsysbinary.readouterr().out
    main(["dump", "--json", str(folder / "image.elf.xz")])
    assert capsysbinary.readouterr().out == first
    main(["dump", "--json", "--compact", str(folder / "image.elf.xz")])
    assert json.loads(capsysbinary.readouterr().out) == json.loads(first)


@pytest.mark.parametrize("folder", COPIES, ids=[path.name for path in COPIES])
def test_debugfs(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """A debugfs copy has the root and the entries that memory has; the rest is absent."""
    truth, found = truth_of(folder), dump(folder / "debugfs.tar.xz", capsysbinary)
    assert found["root"]["compatible"] == truth["root_compatible"]
    assert found["memory"]["absent"] == "not-captured"
    assert found["image"]["phase"] == "consumed"
    entries = {entry["name"]: entry for entry in found["entries"]}
    regions = entries["memblock"]["value"]["regions"]
    assert [region["name"] for region in regions] == truth["revived"]
    assert [area["size"] for area in found["scratch"]] == [16 << 20] * 3
    if truth["sessions"]:
        assert "LUO" in entries
