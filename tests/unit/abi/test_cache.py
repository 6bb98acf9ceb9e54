"""The compiled definitions that are kept: used only where they are those of the files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from khotool.abi import cache
from khotool.abi.folder import NAMES_FILE, SETS_FILE, builtin_formats, toml_files

BESIDE = (NAMES_FILE, SETS_FILE)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "toml_files", lambda folder: texts())
    return tmp_path / "khotool"


def texts() -> list[tuple[str, bytes]]:
    """What is shipped, with a few of its definitions: all of them take long to read."""
    rows = sorted(toml_files(builtin_formats()))
    return [row for place, row in enumerate(rows) if place % 20 == 0 or row[0] in BESIDE]


def test_kept_definitions_are_the_same(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run writes one file for its user alone; the next reads that and no definition."""
    first = cache.load_shipped()
    (file,) = kept.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(cache, "compile_texts", lambda texts: pytest.fail("read again"))
    assert cache.load_shipped() == first == cache.loaded(file.read_bytes()[32:])


def test_an_edited_definition_is_read_anew() -> None:
    """Any change of a file, or of its name, is another digest."""
    rows = texts()
    digest = cache.digest_of(rows)
    name, text = rows[5]
    assert digest == cache.digest_of(rows)
    assert digest != cache.digest_of([*rows[:5], (name, text + b"\n"), *rows[6:]])
    assert digest != cache.digest_of([*rows[:5], (f"{name}l", text), *rows[6:]])
    assert digest != cache.digest_of(rows[1:])


@pytest.mark.parametrize("damage", ["cut", "another digest", "another object", "empty"])
def test_a_damaged_file_is_made_again(kept: Path, damage: str) -> None:
    """Whatever is in the file, the definitions are right, and so is the file afterwards."""
    first = cache.load_shipped()
    (file,) = kept.iterdir()
    raw = file.read_bytes()
    changed = {
        "cut": raw[:-100],
        "another digest": b"\0" * 32 + raw[32:],
        "another object": raw[:32] + pickle.dumps(([], [1])),
        "empty": b"",
    }[damage]
    file.write_bytes(changed)
    assert cache.load_shipped() == first
    assert file.read_bytes() == raw


def test_nothing_but_definitions_is_built() -> None:
    """A file that names any other class or function is not used, and nothing of it is called."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, ("never",)

    assert cache.loaded(pickle.dumps(([Evil()], []))) is None
    assert cache.loaded(pickle.dumps(([Path("x")], []))) is None
    assert not Path("never").exists()


def test_a_cache_that_cannot_be_written(kept: Path) -> None:
    """A file in the place of the folder costs nothing but time."""
    kept.write_text("")
    assert len(cache.load_shipped()[0]) == len(texts()) - 2


def test_few_files_are_kept(kept: Path) -> None:
    """Those of other versions go, the oldest first."""
    kept.mkdir()
    for number in range(6):
        (kept / f"definitions-{number}").write_text("")
        os.utime(kept / f"definitions-{number}", (number, number))
    cache.load_shipped()
    names = sorted(file.name for file in kept.iterdir())
    old = [name for name in names if len(name) == len("definitions-0")]
    assert old == ["definitions-3", "definitions-4", "definitions-5"]
    assert len(names) == cache.MAX_KEPT


def test_the_file_of_a_wheel(tmp_path: Path) -> None:
    """What a build writes is what a run would keep."""
    cache.load_shipped()
    cache.write_compiled(tmp_path / "made")
    (file,) = (tmp_path / "khotool").iterdir()
    assert (tmp_path / "made").read_bytes()[:32] == file.read_bytes()[:32]
    assert cache.loaded((tmp_path / "made").read_bytes()[32:]) == cache.load_shipped()
