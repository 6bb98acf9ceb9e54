"""``khotool fixture``: building recipes and comparing images with what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from khotool.cli.fixture import dump_text
from khotool.cli.main import main
from khotool.encode.fixture import build_fixture, check_fixture, digest, find_fixtures, read_rules
from khotool.errors import EncodeError, InputError
from khotool.image.open import open_image
from tests.builders import REGISTRY

TEXT = 'abi = "7.2"\n[[session]]\nname = "vm"\n[[session.file]]\ntoken = 1\nsize = 5000\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "7.2-story"
    place.mkdir()
    (place / "recipe.toml").write_text(TEXT, encoding="utf-8")
    return place


def test_check_after_update(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without expectations each missing file is named; --update writes them; then all is well."""
    assert main(["fixture", "check", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "image.sha256: is missing; write it with --update" in printed
    assert main(["fixture", "check", "--update", str(folder)]) == 0
    before = {p: p.stat().st_mtime_ns for p in (folder / "expect").iterdir()}
    assert main(["fixture", "check", "--update", str(folder)]) == 0
    assert {p: p.stat().st_mtime_ns for p in (folder / "expect").iterdir()} == before
    assert main(["fixture", "check", str(folder)]) == 0
    assert sorted(p.name for p in (folder / "expect").iterdir()) == ["dump.json", "image.sha256"]


def test_changed_recipe_is_seen(folder: Path) -> None:
    """Another image shows in the digest and, line by line, in the dump."""
    (fixture,) = find_fixtures([folder])
    check_fixture(fixture, REGISTRY, dump_text, update=True)
    (folder / "recipe.toml").write_text(TEXT.replace("5000", "5001"), encoding="utf-8")
    problems = check_fixture(fixture, REGISTRY, dump_text)
    assert "image.sha256: the image is another" in problems[0]
    assert any(line.startswith("  +") and "5001" in line for line in problems)


def test_digest_sees_every_part() -> None:
    """Bytes, addresses, root, notes and byte order are all in the digest."""
    from tests.builders import build

    base: dict[str, Any] = {"abi": "7.2", "session": [{"name": "vm"}]}
    changes: list[dict[str, Any]] = [
        {}, {"endian": "big"}, {"osrelease": "7.2.1"}, {"machine": "aarch64"},
        {"memory": [{"start": 1 << 32, "size": 1 << 30}]}, {"liveupdate_number": 2},
    ]  # fmt: skip
    assert len({digest(build(base | change)) for change in changes}) == len(changes)


def test_build_writes_beside_the_recipe(folder: Path, tmp_path: Path) -> None:
    """image.elf stands next to the recipe, or where -o says; both are the same and decode."""
    assert main(["fixture", "build", "-q", str(folder)]) == 0
    output = tmp_path / "other.elf"
    assert main(["fixture", "build", "-q", str(folder / "recipe.toml"), "-o", str(output)]) == 0
    assert (folder / "image.elf").read_bytes() == output.read_bytes()
    image = open_image(output)
    assert image.entry("LUO") is not None


def test_build_refuses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """-o takes one image and is not the recipe; a folder without recipes is an input error."""
    recipe = folder / "recipe.toml"
    assert main(["fixture", "build", str(recipe), "-o", str(recipe)]) == 2
    assert recipe.read_text(encoding="utf-8") == TEXT
    assert "is the input itself" in capsys.readouterr().err
    assert main(["fixture", "build", str(recipe), str(recipe), "-o", "x.elf"]) == 2
    assert "2 recipes; one file takes one image" in capsys.readouterr().err
    assert main(["fixture", "build", "--update", str(recipe)]) == 2
    assert "--update goes with check" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"no recipe\.toml here or below"):
        find_fixtures([folder.parent / "nowhere"])


def test_dump_is_no_recipe(folder: Path) -> None:
    """A full dump is refused: recipes are for people."""
    (folder / "recipe.toml").write_text('{"schema": "khotool.dump/1", "model": {}}')
    with pytest.raises(EncodeError, match="a recipe is a manifest"):
        build_fixture(find_fixtures([folder])[0], REGISTRY)


def test_rules_are_read(tmp_path: Path) -> None:
    """Lines of verb and rule, comments and blank lines; anything else names file and line."""
    path = tmp_path / "rules.txt"
    path.write_text("# why\n\nmust MEM301\nmay REC404  # also\n", encoding="utf-8")
    assert read_rules(path) == [("must", "MEM301"), ("may", "REC404")]
    path.write_text("must MEM301\nshould REC404\n", encoding="utf-8")
    with pytest.raises(EncodeError, match=r"rules\.txt:2: expected 'must RULE' or 'may RULE'"):
        read_rules(path)


DANGLING = TEXT + '[[mutate]]\nop = "dangle"\npath = "/LUO/sessions[vm]/files"\n'


def test_rules_are_compared(folder: Path) -> None:
    """A rule that must fire and does not, and an error that nobody expects, are problems."""
    (folder / "recipe.toml").write_text(DANGLING, encoding="utf-8")
    (fixture,) = find_fixtures([folder])
    unexpected = check_fixture(fixture, REGISTRY, dump_text, update=True)
    assert any("MEM301 at /LUO/sessions[vm]/files" in line for line in unexpected)
    rules = fixture.expect / "rules.txt"
    fired = sorted({line.split(": ")[1].split()[0] for line in unexpected})
    rules.write_text("".join(f"must {rule}\n" for rule in fired), encoding="utf-8")
    assert check_fixture(fixture, REGISTRY, dump_text) == []
    rules.write_text(rules.read_text(encoding="utf-8") + "must FDT101\n", encoding="utf-8")
    assert check_fixture(fixture, REGISTRY, dump_text) == [
        f"{rules}: FDT101 must fire and does not"
    ]


def test_image_that_does_not_open(folder: Path) -> None:
    """A recipe may destroy the root; then its error is what is expected."""
    text = DANGLING.replace('"dangle"', '"truncate"').replace("/LUO/sessions[vm]/files", "/")
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    (fixture,) = find_fixtures([folder])
    assert check_fixture(fixture, REGISTRY, dump_text, update=True) == [
        f"{fixture.recipe}: the image does not open"
    ]
    (fixture.expect / "rules.txt").write_text("# nothing to decode\n", encoding="utf-8")
    assert check_fixture(fixture, REGISTRY, dump_text) == []
