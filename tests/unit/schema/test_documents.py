"""Schemas are valid, and what khotool writes and ships follows them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from khotool.cli.main import main
from khotool.cli.schema import NAMES
from khotool.schema.documents import DOCUMENTS
from tests.schemas import validate, validate_output

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "fixtures").glob("**/recipe.toml"))
DEFINITIONS = sorted(p for p in (ROOT / "formats").glob("*/*.toml"))
IMAGE = "fixtures/good/7.2-everything/recipe.toml"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema_is_valid(name: str) -> None:
    """Every schema is one of draft 2020-12, and every reference in it leads somewhere."""
    schema = DOCUMENTS[name].schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(schema)

    assert all(f'"#/$defs/{used}"' in text or used for used in schema["$defs"])
    for part in text.split('"#/$defs/')[1:]:
        assert part.split('"')[0] in schema["$defs"]


def test_help_lists_all_documents() -> None:
    """The command's list is that of the schemas."""
    assert set(NAMES) == set(DOCUMENTS)


def test_command_prints_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints what the room makes; an unknown name is answered with the nearest."""
    assert main(["schema", "manifest"]) == 0
    assert json.loads(capsys.readouterr().out) == DOCUMENTS["manifest"].schema()
    assert main(["schema", "manifets"]) == 2
    assert "did you mean 'manifest'?" in capsys.readouterr().err


def test_recipes_follow_the_schema() -> None:
    """Every manifest in fixtures is valid."""
    assert RECIPES
    for path in RECIPES:
        validate("manifest", tomllib.loads(path.read_text()))


def test_definitions_follow_the_schema() -> None:
    """Every definition that is shipped is valid."""
    assert DEFINITIONS
    for path in DEFINITIONS:
        validate("definition", tomllib.loads(path.read_text()))


def test_a_typing_error_is_seen() -> None:
    """An unknown key and a wrong type are mistakes."""
    with pytest.raises(AssertionError, match="sesion"):
        validate("manifest", {"abi": "7.3", "sesion": []})
    with pytest.raises(AssertionError, match="page_size"):
        validate("manifest", {"abi": "7.3", "page_size": "5K"})


@pytest.mark.parametrize(
    "words",
    [
        ["dump"],
        ["dump", "--full"],
        ["pages"],
        ["check", "--kernel", "7.2"],
        ["check", IMAGE],
        ["diff", "--pages", "--contents", "fixtures/good/7.2-holes/recipe.toml"],
        ["identify", "0x100000", "0x772000"],
        ["hex", "/LUO"],
    ],
    ids=" ".join,
)
def test_output_follows_its_schema(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What commands print about an image is declared to the last key."""
    monkeypatch.chdir(ROOT)
    command = [words[0], IMAGE, *words[1:]]
    assert main([*command, "--json", "-q"]) in (0, 1)

    assert validate_output(capsys.readouterr().out) == words[0]


@pytest.mark.parametrize(
    "words", [["rules"], ["formats", "list"], ["formats", "show", "luo-v5"]], ids=" ".join
)
def test_catalogues_follow_their_schemas(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """So is what they print about khotool itself."""
    assert main([*words, "--json"]) == 0
    assert validate_output(capsys.readouterr().out) == words[0]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["encode", IMAGE, "--json"], "encode"),
        (["convert", IMAGE, "--to", "6.19", "--json"], "convert"),
        (["pack", IMAGE, "--json"], "pack"),
        (["extract", IMAGE, "/LUO/sessions", "--all", "--fill", "zero", "--json"], "extract"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_written(
    words: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``--json`` of a command that writes a file is a document about it on stdout."""
    monkeypatch.chdir(ROOT)
    target = tmp_path / "out"
    assert main([*words, "-q", "-o", str(target)]) == 0
    out = capsys.readouterr().out
    document = json.loads(out)

    assert validate_output(out) == name
    assert document["output"] == str(target)
    assert target.exists()
    if name == "convert":
        assert "/kexec-metadata: set 6.19 has no such entry" in document["lost"]


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """A rule in full as JSON."""
    assert main(["explain", "MEM302", "--json"]) == 0
    assert validate_output(capsys.readouterr().out) == "explain"
