"""The registry: definitions found by what an image or a user says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from khotool.abi.definition import Definition, Kind
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry, load_registry
from khotool.abi.sets import load_sets
from khotool.errors import DefinitionError, UsageError
from tests.builders import REGISTRY
from tests.unit.abi.texts import struct

HEAD = 'title = "X"\nkind = "file"\ncontent = "x_ser"\nstatus = "local"\n'
STRUCT = struct("u64 a;")
MINE = f'id = "mine-v1"\nmatch = {{ compatible = "mine-v1" }}\n{HEAD}{STRUCT}'


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.15", None),
        ("6.16", "6.16"),
        ("6.17.8", "6.16"),
        ("6.18.15-rt3", "6.18"),
        ("6.19", "6.19"),
        ("7.0.0-rc2+", "7.0"),
        ("kho-v2", "kho-v2"),
        ("7.1", "7.1"),
        ("7.1.13", "7.1"),
        ("7.2", "7.2"),
        ("7.3.4", "7.2"),
        ("7.1-rc1", "kho-v2"),
        ("7.1.0-rc3", "7.1-rc5"),
        ("7.1-rc6", "7.1"),
        ("v7.3", "7.2"),
        ("8.0", None),
        ("", None),
        ("x.y", None),
        ("7", None),
        ("6", None),
        ("²", None),
    ],
)
def test_sets_by_release(release: str, expected: str | None) -> None:
    """A release, with whatever stands behind it, selects its set; others none."""
    found = REGISTRY.set_for(release)
    assert (found.id if found else None) == expected


def test_matches() -> None:
    """Formats are found by compatible, by entry and by name, each within its kind."""
    for definition in REGISTRY:
        for key, values in definition.match.items():
            for value in values:
                assert REGISTRY.match(definition.kind, key, value) is not None
                # Several may share a string; their bytes tell them apart.
                assert definition in REGISTRY.candidates(definition.kind, key, value)
    assert REGISTRY.match(Kind.ROOT, "compatible", "luo-v5") is None
    handler = REGISTRY.handler("file", "memfd-v2")
    assert handler is REGISTRY.get("memfd-v2")
    flb = REGISTRY.handler("flb", "liveupdate-test-flb-v1")
    assert flb is REGISTRY.get("liveupdate-test-flb")
    assert REGISTRY.handler("file", "liveupdate-test-flb-v1") is None


def test_unknown_id_names_the_nearest() -> None:
    """A typing mistake gets a hint."""
    with pytest.raises(UsageError, match=re.escape("no format 'luo-v55'; did you mean luo-v5?")):
        REGISTRY.get("luo-v55")
    with pytest.raises(UsageError, match="no format '~'; see khotool formats list"):
        REGISTRY.get("~")


def test_structs_are_compiled_once() -> None:
    """The same struct and geometry is the same object; another geometry is another."""
    definition = REGISTRY.get("memfd-v2")
    first = REGISTRY.compile(definition, "memfd_luo_ser", Geometry())
    assert REGISTRY.compile(definition, "memfd_luo_ser", Geometry()) is first
    assert REGISTRY.compile(definition, "memfd_luo_ser", Geometry(65536)) is not first
    with pytest.raises(DefinitionError, match=re.escape("'nothing' is not defined here or in us")):
        REGISTRY.compile(definition, "nothing", Geometry())


def test_folders_add_and_win(tmp_path: Path) -> None:
    """--formats: files of further folders are added; the same id replaces the shipped one."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine-v1.toml").write_text(MINE, encoding="utf-8")
    (tmp_path / "memfd-v2.toml").write_text(MINE.replace("mine-v1", "memfd-v2"), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no definition", encoding="utf-8")
    registry = load_registry([tmp_path])
    assert registry.handler("file", "mine-v1") is registry.get("mine-v1")
    assert registry.get("memfd-v2").title == "X"
    assert REGISTRY.get("memfd-v2").title != "X"
    assert set(registry.sets) == set(REGISTRY.sets)


def test_folder_with_sets(tmp_path: Path) -> None:
    """A folder may bring a set of its own."""
    (tmp_path / "mine-v1.toml").write_text(MINE, encoding="utf-8")
    (tmp_path / "sets.toml").write_text(
        '[[set]]\nid = "mine"\nreleases = { first = "9.9", last = "9.9" }\nroot = "kho-v4"\n'
        'files = ["mine-v1"]\n',
        encoding="utf-8",
    )
    registry = load_registry([tmp_path])
    found = registry.set_for("mine")
    assert found is not None
    assert found.files == ("mine-v1",)


def test_folders_that_are_wrong(tmp_path: Path) -> None:
    """A missing folder and a wrong file are named."""
    with pytest.raises(UsageError, match="no such folder"):
        load_registry([tmp_path / "nowhere"])
    (tmp_path / "bad.toml").write_text("id = 1", encoding="utf-8")
    with pytest.raises(DefinitionError, match=r"/bad\.toml:1: id: expected a string"):
        load_registry([tmp_path])


def test_names_have_to_exist() -> None:
    """What a definition uses and what a set names has to be defined."""
    text = MINE.replace("status", 'uses = ["other"]\nstatus').encode()
    with pytest.raises(DefinitionError, match=re.escape("m.toml: uses 'other', which is not def")):
        Registry([load_definition(text, "m.toml")])
    sets = load_sets(
        b'[[set]]\nid = "s"\nreleases = { first = "1", last = "1" }\nroot = "kho-v9"\n', "s.toml"
    )
    with pytest.raises(DefinitionError, match=re.escape("sets.toml.s: names 'kho-v9', which is")):
        Registry(REGISTRY, sets)
    rows = b'[[set]]\nid = "s"\nroot = "kho-v4"\nlayouts = { gone-v1 = "l" }\n'
    with pytest.raises(DefinitionError, match=re.escape("sets.toml.s: names 'gone-v1', which is")):
        Registry(REGISTRY, load_sets(rows, "s.toml"))


def test_the_first_of_several() -> None:
    """A string that several definitions have means the first of them."""
    texts = [MINE.replace('id = "mine-v1"', f'id = "{name}"') for name in ("one", "two", "three")]
    registry = Registry([load_definition(text.encode(), "m.toml") for text in texts])
    found = registry.candidates(Kind.FILE, "compatible", "mine-v1")
    assert [definition.id for definition in found] == ["one", "two", "three"]
    assert registry.match(Kind.FILE, "compatible", "mine-v1") is found[0]


def test_folder_of_nothing_but_sets(tmp_path: Path) -> None:
    """Sets alone are enough; a folder of neither changes nothing."""
    assert load_registry([tmp_path]) is load_registry()
    (tmp_path / "sets.toml").write_text('[[set]]\nid = "mine"\nroot = "kho-v4"\n')
    assert set(load_registry([tmp_path]).sets) == set(REGISTRY.sets) | {"mine"}


def test_what_a_string_means_where_nothing_tells() -> None:
    """Without a probe before with one, released before developed; the order of files is last."""
    text = 'id = "x"\nmatch = { compatible = "s" }\n' + HEAD.replace("x_ser", "none")

    def made(identifier: str, status: str, probed: bool) -> Definition:
        body = text.replace('id = "x"', f'id = "{identifier}"').replace("local", status)
        return load_definition(
            (body + ("probe = [ { length = 8 } ]\n" * probed)).encode(), "x.toml"
        )

    given = [
        made("signed", "merged", True),
        made("signed-posted", "development", True),
        made("posted", "development", False),
        made("released", "merged", False),
    ]
    registry = Registry(given)
    found = registry.handlers("file", "s")
    assert [one.id for one in found] == ["released", "posted", "signed", "signed-posted"]
    assert registry.handler("file", "s") is found[0]
    assert registry.handler("file", "t") is None


def test_what_is_read_can_be_a_key() -> None:
    """Definitions, all that they hold, and sets have a hash, and equal ones the same."""
    for definition in REGISTRY:
        parts = [definition, *definition.structs.values(), *definition.layouts.values()]
        parts += [] if definition.fdt is None else [definition.fdt]
        for part in parts:
            assert len({part, replace(part)}) == 1  # type: ignore[type-var]
    assert len({*REGISTRY.sets.values(), *map(replace, REGISTRY.sets.values())}) == len(
        REGISTRY.sets
    )
