"""The configuration of a project: found upward, read with all its mistakes, and overruled."""

from __future__ import annotations

import json
import typing
from pathlib import Path

import pytest

from khotool.cli.main import main
from khotool.cli.settings import SETTINGS
from khotool.config.project import (
    KEYS,
    Configuration,
    ConfigurationError,
    Project,
    find_configuration,
)
from tests.schemas import validate, validate_output

RECIPE = Path(__file__).parents[3] / "fixtures/good/7.2-everything/recipe.toml"
TEXT = 'select = ["MEM"]\n\nfail-on = "warning"\nformats = ["f"]\nascii = true\n'


def test_nearest_file_applies(tmp_path: Path) -> None:
    """A file is found from a folder below it; its folders are relative to it."""
    (tmp_path / "khotool.toml").write_text(TEXT)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    found = find_configuration(inner)

    assert found.path == tmp_path / "khotool.toml"
    assert found.values == {
        "select": ["MEM"],
        "fail-on": "warning",
        "formats": [str(tmp_path / "f")],
        "ascii": True,
    }
    assert found.origin("fail-on") == f"{tmp_path}/khotool.toml:3"
    assert found.origin("color") == "default"


def test_pyproject(tmp_path: Path) -> None:
    """A pyproject.toml counts if it has the table, whatever else is in it."""
    outer = tmp_path / "pyproject.toml"
    outer.write_text('[project]\nname = "x"\n[tool.other]\nx = 1\n[tool.khotool]\ncolor="never"\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\n")
    found = find_configuration(inner)

    assert found.values == {"color": "never"}
    assert found.origin("color") == f"{outer}:6"


@pytest.mark.parametrize("text", ["# see tool.khotool\n", "[tool.khotool-plugin]\nx = 1\n"])
def test_pyproject_that_only_mentions_the_table(tmp_path: Path, text: str) -> None:
    """A comment or a table with a similar name does not end the search."""
    (tmp_path / "khotool.toml").write_text('color = "never"\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text(text)

    assert find_configuration(inner).path == tmp_path / "khotool.toml"


def test_nothing_found(tmp_path: Path) -> None:
    """Without a file, nothing is set."""
    assert find_configuration(tmp_path / "gone") in (
        Configuration(),
        find_configuration(tmp_path.parent),
    )


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Every mistake has file and line, and the nearest key or value."""
    path = tmp_path / "khotool.toml"
    path.write_text('selct = []\nfail-on = "eror"\nascii = 1\n')
    with pytest.raises(ConfigurationError) as caught:
        find_configuration(tmp_path)

    assert caught.value.lines == (
        f"{path}:1: selct: unknown key 'selct'; did you mean 'select'?",
        f"{path}:2: fail-on: unknown fail-on 'eror'; did you mean 'error'?",
        f"{path}:3: ascii: expected true or false, found an integer 1",
    )


def test_every_key_is_a_setting(tmp_path: Path) -> None:
    """Each declared key has an option that it stands for, and a valid file is valid by schema."""
    assert {key for key, _ in SETTINGS.values()} == set(KEYS)
    assert len(typing.get_type_hints(Project)) == len(KEYS)
    validate("config", {"select": ["MEM"], "fail-on": "never", "ascii": True})


def test_options_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting is used without an option, and an option replaces it."""
    (tmp_path / "khotool.toml").write_text('kernels = ["7.2"]\nascii = true\n')
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(RECIPE), "--json"]) == 0
    assert '"kernel": "7.2"' in capsys.readouterr().out
    main(["check", str(RECIPE), "--json", "--kernel", "7.1"])
    out = capsys.readouterr().out
    assert '"kernel": "7.1"' in out
    assert '"kernel": "7.2"' not in out
    assert main(["dump", str(RECIPE), "/LUO"]) == 0
    out = capsys.readouterr().out
    assert "|-- sessions" in out
    assert not set("├└│─") & set(out)


def test_command_says_where_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``khotool config`` lists every key with its value and its line."""
    (tmp_path / "khotool.toml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[0] != " "] == list(KEYS)
    assert f"{tmp_path}/khotool.toml:3" in " ".join(lines)
    assert any(line.startswith("fail-on       warning") for line in lines)
    assert main(["config", "--json"]) == 0
    out = capsys.readouterr().out
    assert validate_output(out) == "settings"
    assert json.loads(out)["settings"][0]["value"] == ["MEM"]


def test_mistakes_end_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong configuration is a usage error of every command that it is for."""
    (tmp_path / "khotool.toml").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    assert main(["dump", str(RECIPE)]) == 2
    assert "khotool.toml:1: x: unknown key 'x'" in capsys.readouterr().err


def test_files_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Suppressions and a policy are found beside the configuration, from any folder below it."""
    (tmp_path / "khotool.toml").write_text(
        'kernels = ["7.2"]\nsuppressions = ["known.toml"]\npolicy = "policy.toml"\n'
    )
    (tmp_path / "policy.toml").write_text('mandatory = ["memfd-*"]\n')
    (tmp_path / "known.toml").write_text(
        '[[suppress]]\nrule = "MEM305"\nreason = "fixed in the next build"\nuntil = 2020-01-31\n'
    )
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert main(["check", str(RECIPE), "--json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["verdict"]["policy"]["decision"] == "proceed"
    assert "a suppression of MEM305 ended on 2020-01-31" in output.err
