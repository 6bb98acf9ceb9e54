from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.cli.main import main
from khotool.decode.open import open_image
from khotool.errors import KhotoolError
from khotool.extract.folder import write_folder
from khotool.extract.names import Names, file_name
from khotool.model.lookup import find_node
from tests.builders import CAPTURES, capture

IMAGE = Path(__file__).parents[3] / "fixtures" / "real" / "linux-7.3.4" / "image.elf.xz"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("vm-alpha", "vm-alpha"),
        ("../../etc/x", "%2E.%2F..%2Fetc%2Fx"),
        (".", "%2E"),
        ("..", "%2E."),
        ("", "~empty"),
        ("a\x1b[31m\n", "a%1B%5B31m%0A"),
        ("100%", "100%25"),
        ("\udcff", "%ED%B3%BF"),
    ],
)
def test_names_are_percent_encoded(text: str, name: str) -> None:
    """Nothing but plain characters reaches the file system."""
    assert file_name(text) == name


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=()), max_size=80), max_size=30))
def test_names_are_distinct_and_stay_in_their_folder(texts: list[str]) -> None:
    """Any names give distinct, short, plain file names, also where case does not count."""
    names = Names()
    made = [names.take(text) for text in texts]
    assert len({name.lower() for name in made}) == len(made)
    for name in made:
        assert name not in ("", ".", "..")
        assert not name.startswith(".")
        assert "/" not in name
        assert len(name) < 240
        assert name.isascii()
        assert name.isprintable()


def test_session_as_folder(tmp_path: Path) -> None:
    """--all writes each file of a session and a manifest with their hashes."""
    truth = json.loads(IMAGE.with_name("truth.json").read_text())
    out = tmp_path / "out"
    assert main(["extract", str(IMAGE), "/LUO/sessions[vm-alpha]", "--all", "-o", str(out)]) == 0
    rows = {row["path"]: row for row in json.loads((out / "manifest.json").read_text())["files"]}
    for file in truth["sessions"][0]["files"]:
        row = rows[f"/LUO/sessions[vm-alpha]/files[{file['token']}]"]
        assert (row["sha256"], row["size"]) == (file["sha256"], file["size"])
        assert (out / row["file"]).stat().st_size == file["size"]


def test_whole_image_leaves_out_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files with missing bytes are named and not written; all others are."""
    out = tmp_path / "out"
    assert main(["extract", str(IMAGE), "--all", "-o", str(out)]) == 3
    assert "2 of 13 files" in capsys.readouterr().err
    assert (out / "subtrees" / "memblock").stat().st_size == 294
    assert (out / "sessions" / "%C3%BCn%C3%AFcode%2Fn%C3%A4me" / "0x7").is_file()
    assert not (out / "regions").is_dir() or not any((out / "regions").iterdir())
    # The folder is in use now.
    assert main(["extract", str(IMAGE), "--all", "-o", str(out)]) == 2


def test_hostile_session_names_stay_inside(tmp_path: Path) -> None:
    """Names that climb, hide or collide end up as files below the folder."""
    from khotool.extract.folder import write_folder

    image = open_image(IMAGE)
    sessions = find_node(image, "/LUO/sessions")
    keyed = [node for node in sessions.elements() if node.get("files")]
    for node, name in zip(keyed, ["../../x", "..", "manifest.json", "\x1b[2J"], strict=True):
        node.key = name
    first = keyed[0].get("files")
    assert first is not None
    for node in first.elements():
        node.key = "../../../escape"
    write_folder(image, sessions, tmp_path / "a" / "b" / "out", None)
    inside = tmp_path / "a" / "b" / "out"
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert files
    assert all(path.is_relative_to(inside) for path in files)
    assert {path.name for path in files if "escape" in path.name} == {
        "%2E.%2F..%2F..%2Fescape",
        *(f"%2E.%2F..%2F..%2Fescape~{n}" for n in (2, 3, 4)),
    }


def test_verify(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """The right hash exits 0, a wrong one 1 and leaves nothing."""
    truth = json.loads(IMAGE.with_name("truth.json").read_text())["sessions"][0]["files"][1]
    out = tmp_path / "out"
    call = ["extract", str(IMAGE), "/LUO/sessions[vm-alpha]/files[0x2]", "-o", str(out), "--verify"]
    assert main([*call, "0" * 64]) == 1
    assert list(tmp_path.iterdir()) == []
    assert main([*call, truth["sha256"]]) == 0
    assert out.stat().st_size == 12345


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No output, no such path, and missing bytes are declared errors; an older file stays."""
    assert main(["extract", str(IMAGE), "/memblock"]) == 2
    assert main(["extract", str(IMAGE), "/nothing", "-o", str(tmp_path / "x")]) == 2
    old = tmp_path / "old"
    old.write_bytes(b"old")
    assert main(["extract", str(IMAGE), "/memblock/regions[trace]", "-o", str(old)]) == 3
    assert old.read_bytes() == b"old"
    call = ["extract", str(IMAGE), "/memblock/regions[trace]", "-o", str(old), "--fill", "zero"]
    assert main(call) == 0
    assert old.stat().st_size == 2 << 20
    assert "2097152 missing" in capsys.readouterr().err


@pytest.mark.parametrize("number", range(5))
def test_members_that_become_links_lead_nowhere(number: int, tmp_path: Path) -> None:
    """Whatever is replaced while the folder is written, nothing outside of it is."""
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    image = capture(CAPTURES[-1])

    def replace_all(done: int, total: int | None) -> None:
        if done != number:
            return
        (work,) = tmp_path.glob(".khotool-*")
        for place in (work / "manifest.json", *sorted(work.rglob("*"), reverse=True), work):
            is_folder = place.is_dir()
            if is_folder:
                place.rename(tmp_path / f"away-{len(os.listdir(tmp_path))}")
            place.unlink(missing_ok=True)
            place.symlink_to(outside if is_folder else outside / "file")

    with contextlib.suppress(KhotoolError):
        write_folder(image, image.tree, out, "zero", lambda _, done, all: replace_all(done, all))
    assert os.listdir(outside) == []
