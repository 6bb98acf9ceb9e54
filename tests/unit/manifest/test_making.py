"""Manifests as somebody else's input: no file of the host, no more than fits."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from khotool.cli.main import main
from tests.fuzz.guard import MEMORY, limits


def manifest(folder: Path, **file: Any) -> Path:
    """A manifest of one file."""
    path = folder / "model.toml"
    given = {"abi": "7.2", "session": [{"name": "s", "file": [{"token": 1} | file]}]}
    path.with_suffix(".json").write_text(json.dumps(given), encoding="utf-8")
    return path.with_suffix(".json")


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and messages, within the time and memory of a hostile input."""
    with limits(5, MEMORY):
        code = main(words)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    "file",
    [
        {"size": 1 << 30, "contents": {"fill": "x"}},
        {"size": 1 << 30, "contents": {"random": 1}},
        {"size": 1 << 40},
        {"size": 1 << 62, "contents": "zero"},
    ],
)
def test_sizes_of_somebody_else(
    file: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What does not fit is refused with its key, and the limit that it passes."""
    code, told = answer(["dump", str(manifest(tmp_path, **file))], capsys)
    assert code == 3
    assert "more are made; raise --limit bytes=N, or write the image with khotool encode" in told
    assert len(told.splitlines()) == 1


def test_a_raised_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--limit bytes=N decides, in both directions."""
    path = str(manifest(tmp_path, size=1 << 20, contents={"random": 1}))
    assert answer(["dump", path], capsys)[0] == 0
    assert answer(["dump", "--limit", "bytes=64K", path], capsys)[0] == 3
    path = str(manifest(tmp_path, size=100 << 20, contents={"fill": 7}))
    assert answer(["dump", path], capsys)[0] == 3
    assert answer(["dump", "--limit", "bytes=200M", path], capsys)[0] == 0


def test_many_files_share_one_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two halves of too much are too much."""
    file = {"size": 40 << 20, "contents": "zero"}
    path = manifest(tmp_path, **file)
    given = json.loads(path.read_text())
    given["session"][0]["file"].append({"token": 2} | file)
    path.write_text(json.dumps(given), encoding="utf-8")
    assert answer(["dump", str(path)], capsys)[0] == 3


def test_files_are_for_encode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A manifest that is looked at reads no file, and one that is encoded only its folder's."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "data").write_bytes(b"mine")
    (outside / "data").write_bytes(b"not mine")
    (inside / "link").symlink_to(outside / "data")
    os.mkfifo(inside / "pipe")
    out = ["-o", str(tmp_path / "out.elf")]

    def with_file(name: str) -> str:
        return str(manifest(inside, contents={"file": name}))

    code, told = answer(["dump", with_file("data")], capsys)
    assert (code, "read by khotool encode only" in told) == (3, True)
    assert answer(["encode", with_file("data"), *out], capsys)[0] == 0
    for name in ("../outside/data", str(outside / "data"), "link"):
        code, told = answer(["encode", with_file(name), *out], capsys)
        assert (code, "is not below the manifest" in told) == (3, True)
        allowed = ["encode", "--contents", str(outside), with_file(name), *out]
        assert answer(allowed, capsys)[0] == 0
    for name, why in (
        ("pipe", "not a regular file"),
        ("missing", "No such file"),
        (".", "Is a directory"),
        ("a\0b", ""),
    ):
        code, told = answer(["encode", with_file(name), *out], capsys)
        assert (code, why in told) == (3, True), told
        assert len(told.splitlines()) == 1


def test_equal_pieces_are_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of one byte, again and again, takes its size on the disk and not in memory."""
    path = manifest(tmp_path, size=128 << 20, folio="huge", contents={"fill": "x"})
    with limits(5, 64 << 20):
        assert main(["encode", str(path), "-o", str(tmp_path / "out.elf")]) == 0
    assert (tmp_path / "out.elf").stat().st_size > 128 << 20


def test_blobs_are_beside_their_dump(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dump names a folder beside it, and no other, unless --blobs says so."""
    image = tmp_path / "k.elf"
    made = manifest(tmp_path, size=4096, contents={"fill": 1})
    assert main(["encode", str(made), "-o", str(image)]) == 0
    blobs, dump = tmp_path / "elsewhere" / "b", tmp_path / "d" / "dump.json"
    dump.parent.mkdir()
    words = ["dump", "--json", "--full", "--blobs", str(blobs), "-o", str(dump), str(image)]
    assert main(words) == 0
    document = json.loads(dump.read_text())
    document["blobs"]["folder"] = str(blobs)
    dump.write_text(json.dumps(document), encoding="utf-8")
    capsys.readouterr()
    code, told = answer(["dump", str(dump)], capsys)
    assert (code, "give --blobs DIR" in told) == (3, True)
    again = ["encode", "--blobs", str(blobs), str(dump), "-o", str(tmp_path / "again.elf")]
    assert answer(again, capsys)[0] == 0
