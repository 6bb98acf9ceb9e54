"""Contents that are made while they are written: the same bytes, a piece at a time."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from khotool.cli.main import main
from khotool.manifest import contents
from khotool.memory import regular

FILES: dict[str, dict[str, Any]] = {
    "noise": {"size": 50_000, "contents": {"random": 3}},
    "a file that is shorter": {"size": 90_000, "contents": {"file": "part"}},
    "large folios and holes": {
        "size": "5M",
        "folio": "huge",
        "holes": [[3, 2], [600, 1]],
        "contents": {"pattern": "page"},
    },
    "pages with holes": {"holes": [[1, 1], [4, 2]], "contents": {"file": "part"}},
    "one letter": {"size": 30_001, "contents": {"fill": "x"}},
}


def encoded(folder: Path, file: dict[str, Any]) -> Path:
    """The image of a manifest with a file, and with blocks of an entry."""
    manifest = {
        "abi": "7.2",
        "session": [{"name": "s", "file": [{"token": 1} | file]}],
        "kho_test": {"orders": [1, 0, 3], "contents": {"random": 9}},
    }
    (folder / "m.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert main(["encode", str(folder / "m.json"), "-o", str(folder / "out")]) == 0
    return folder / "out"


@pytest.mark.parametrize("name", FILES)
def test_pieces_make_the_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the pieces are, at page boundaries and not, the image is the same."""
    (tmp_path / "part").write_bytes(bytes(at * 7 % 251 for at in range(40_001)))
    monkeypatch.setattr(contents, "PIECE", 1 << 30)
    whole = encoded(tmp_path, FILES[name]).read_bytes()
    monkeypatch.setattr(regular, "PIECE", 1000)
    for piece in (4096, 5000):
        monkeypatch.setattr(contents, "PIECE", piece)
        assert encoded(tmp_path, FILES[name]).read_bytes() == whole


@pytest.mark.parametrize("given", [{"file": "sparse"}, {"random": 1}])
def test_contents_are_never_held(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoding 24 MiB takes a fraction of that, whether they are read or made."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(24 << 20)
    monkeypatch.setattr(contents, "noise", lambda seed, offset, length: bytes(length))
    encoded(tmp_path, {"size": 1})
    tracemalloc.start()
    try:
        made = encoded(tmp_path, {"size": 24 << 20, "folio": "huge", "contents": given})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.stat().st_size > 24 << 20
    assert peak < 8 << 20
