"""``khotool dump --fdt``: any device tree as dtc reads it, and damaged ones by offset."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from khotool.cli.main import main

needs_dtc = pytest.mark.skipif(shutil.which("dtc") is None, reason="dtc is not installed")
TREES = {
    "empty": "/ { };",
    "board": """/memreserve/ 0x1000 0x2000;
/ {
    compatible = "acme,board", "acme,soc";
    #address-cells = <1>;
    #size-cells = <1>;
    soc { uart@1000 { reg = <0x1000 0x10>; status = "okay"; dma; }; };
    label: node { phandle = <7>; to = <&label>; };
};""",
    "odd-values": r"""/ { bytes = [00 ff 7f]; text = "a\"b\\c"; w = /bits/ 64 <0x123456789>; };""",
    "deep": "/ {" + "".join(f"n{i} {{" for i in range(30)) + "v;" + "};" * 30 + "};",
}


def dtc(source: bytes, *words: str) -> bytes:
    """What dtc makes of its input."""
    command = ["dtc", "-q", "-f", *words]
    return subprocess.run(command, input=source, capture_output=True, check=True).stdout


def blob(name: str, *words: str) -> bytes:
    """A tree as dtc writes it."""
    return dtc(f"/dts-v1/; {TREES[name]}".encode(), "-I", "dts", "-O", "dtb", *words)


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Output of a command that succeeds."""
    assert main(["dump", "--fdt", *words]) == 0
    return capsys.readouterr().out


@needs_dtc
@pytest.mark.parametrize("version", ["2", "3", "16", "17"])
@pytest.mark.parametrize("name", TREES)
def test_dtc_compiles_the_source_to_the_same_blob(
    name: str, version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trees of every version that libfdt takes."""
    path = tmp_path / "tree.dtb"
    path.write_bytes(blob(name, "-V", version))
    source = answer(["--dts", str(path)], capsys)
    assert dtc(source.encode(), "-I", "dts", "-O", "dtb") == blob(name)


@needs_dtc
def test_values_with_their_offsets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every offset in the JSON is where those bytes are."""
    data = blob("board")
    path = tmp_path / "tree.dtb"
    path.write_bytes(data)
    made: dict[str, Any] = json.loads(answer(["--json", str(path)], capsys))
    assert (made["schema"], made["complete"]) == ("khotool.dump-fdt/1", True)
    assert made["header"]["totalsize"] == len(data)
    assert made["reservations"] == [{"address": "0x1000", "size": 0x2000}]
    left = [made["tree"]]
    names = []
    while left:
        node = left.pop()
        names.append(node["name"])
        assert data[node["offset"] :][:4] == b"\0\0\0\1"
        for prop in node["properties"]:
            value = bytes.fromhex(prop["value"])
            assert data[prop["value_offset"] :][: prop["size"]] == value
            if prop["strings"] is not None:
                assert "\0".join([*prop["strings"], ""]).encode() == value
        left += node["nodes"]
    assert sorted(names) == ["", "node", "soc", "uart@1000"]
    text = answer([str(path), "/soc"], capsys)
    assert "uart@1000" in text
    assert "compatible" not in text
    rows = answer(["--hex", str(path), "/soc/uart@1000"], capsys)
    assert "FDT_PROP reg, 8 bytes" in rows
    assert "00 00 10 00 00 00 00 10" in rows


@needs_dtc
def test_problems_have_offsets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tree that is cut, or lies about itself, is shown as far as it goes."""
    data = bytearray(blob("board"))
    path = tmp_path / "tree.dtb"
    path.write_bytes(data[:200])
    text = answer([str(path)], capsys)
    assert "offset 0xc8: truncated: 200 of" in text
    assert main(["dump", "--fdt", "--strict", str(path)]) == 1
    at = data.index(b"\0\0\0\3")
    data[at + 3] = 5
    path.write_bytes(data)
    capsys.readouterr()
    made = json.loads(answer(["--json", str(path)], capsys))
    assert at in [problem["offset"] for problem in made["problems"]]


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not a tree, a node that is not there, and answers that need a handover."""
    path = tmp_path / "x"
    path.write_bytes(b"\x7fELF" + bytes(100))
    for words, code, why in (
        ([str(path)], 3, "not a flattened device tree: offset 0x0: magic"),
        (["--summary", str(path)], 2, "excludes --summary"),
        ([str(tmp_path / "missing")], 3, "No such file"),
    ):
        assert main(["dump", "--fdt", *words]) == code
        assert why in capsys.readouterr().err
    assert main(["dump", "--hex", str(path)]) == 2
    assert "--hex needs --fdt" in capsys.readouterr().err
