"""``formats new`` and ``formats diff`` of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.cli.main import main


@pytest.mark.parametrize("kind", ["file", "flb", "entry", "structure"])
def test_new_is_valid(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What ``formats new`` writes is a definition without a mistake, and is used at once."""
    path = tmp_path / "acme.toml"
    assert main(["formats", "new", "acme-nic-v1", "--kind", kind, "-o", str(path)]) == 0
    assert main(["formats", "check", str(tmp_path)]) == 0
    assert "1 definition checked, 0 mistakes" in capsys.readouterr().out
    assert main(["formats", "show", "acme-nic-v1", "--formats", str(tmp_path)]) == 0
    assert "acme_nic_ser" in capsys.readouterr().out


def test_new_needs_a_name_in_c(capsys: pytest.CaptureFixture[str]) -> None:
    """A string that makes no name in C needs one."""
    assert main(["formats", "new", "7-v1"]) == 2
    assert "give one with --struct" in capsys.readouterr().err
    assert main(["formats", "new", "7-v1", "--struct", "seven"]) == 0
    assert "[struct.seven]" in capsys.readouterr().out


def test_diff_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two files with one id are compared with each other, and a file with an id."""
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    assert main(["formats", "new", "acme-nic-v1", "-o", str(old), "-q"]) == 0
    new.write_text(old.read_text().replace("u32 version;", "u16 version; u16 more;"))
    assert main(["formats", "diff", str(old), str(old)]) == 0
    assert capsys.readouterr().out == "same bytes, same meaning\n"
    assert main(["formats", "diff", str(old), str(new)]) == 1
    assert "breaking" in capsys.readouterr().out
    assert main(["formats", "diff", "memfd-v2", str(old)]) == 1
    assert main(["formats", "diff", str(tmp_path / "gone.toml"), str(old)]) == 3
    assert "name a definition that exists" in capsys.readouterr().err
