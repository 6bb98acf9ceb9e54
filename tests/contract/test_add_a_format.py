"""The how-to on formats, to its end: its files in the TUI, and as an installed package."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from khotool.cli.main import main
from khotool.limits import OpenOptions
from tests.contract.repository import ROOT
from tests.contract.test_docs import steps
from tests.installed import installed
from tests.tui.driver import Driver, drive

PAGE = ROOT / "docs/howto/add-a-format.md"
FILE = "/LUO/sessions[vm]/files[0x1]"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the page names, in the current folder; nothing of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for step in steps(PAGE.read_text(encoding="utf-8")):
        if step.file:
            target = tmp_path / step.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("\n".join(step.expected) + "\n", encoding="utf-8")


def test_tui_shows_a_format_of_one_file(tmp_path: Path) -> None:
    """One TOML file is enough for the TUI: the tree, the field and its help, bytes, the list."""
    assert main(["encode", "demo.toml", "--formats", "my-formats", "-o", "demo.elf"]) == 0

    async def story(d: Driver) -> None:
        await d.goto(f"{FILE}/data/flags")
        assert d.path() == f"{FILE}/data/flags"
        field = d.text("#field")
        assert "DEMO_RUNNING" in field
        assert "state of the device" in field
        assert "demo-dev-v1" in field
        assert "03 00 00 00" in d.text("#hex")
        await d.goto(f"{FILE}/data/ring")
        assert "memory that the device writes to" in d.text("#field")
        await d.press("5")
        assert "demo-dev-v1" in d.text()

    options = OpenOptions(formats=[str(tmp_path / "my-formats")])
    drive(story, tmp_path / "demo.elf", options=options)


def test_package_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The package brings its definition and its handler without a flag."""
    project = tomllib.loads((tmp_path / "khotool-demo/pyproject.toml").read_text())
    groups = project["project"]["entry-points"]
    entry_points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in rows.items())
        for group, rows in groups.items()
    )
    files = {
        "khotool_demo/demo-dev-v1.toml": (
            tmp_path / "my-formats/demo/demo-dev-v1.toml"
        ).read_text(),
        "khotool_demo/handler.py": (tmp_path / "khotool-demo/khotool_demo/handler.py").read_text(),
    }
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)
    with installed(site) as folder:
        folder.install(project["project"]["name"], entry_points, files)
        assert main(["formats", "show", "demo-dev-v1"]) == 0
        assert "from      khotool-demo 1.0, demo-dev-v1.toml" in capsys.readouterr().out
        assert main(["encode", "demo.toml", "-o", "demo.elf"]) == 0
        assert main(["dump", "demo.elf", FILE]) == 0
        assert "device 03:01.0" in capsys.readouterr().out
        assert main(["extract", "demo.elf", FILE, "-o", "ring.bin"]) == 0
        assert (tmp_path / "ring.bin").read_bytes() == b"x" * 4096
        assert main(["extract", "demo.elf", "/", "--all", "-o", "all"]) == 0
        assert (tmp_path / "all/sessions/vm/0x1").stat().st_size == 4096
        out, err = capsys.readouterr()
        assert "warning" not in out + err
