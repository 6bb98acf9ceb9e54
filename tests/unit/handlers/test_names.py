"""Names that systemd gives, in the views that list files by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.cli.main import main
from khotool.view.luo import Luo
from tests.contract.repository import ROOT
from tests.unit.decode.fixture_images import good

RECIPE = ROOT / "fixtures/good/7.2-systemd-units/recipe.toml"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The recipe, and a copy with another size of the guest's memory."""
    folder: Path = tmp_path_factory.mktemp("names")
    text = RECIPE.read_text(encoding="utf-8")
    paths = []
    for name, size in (("old", "4096"), ("new", "8192")):
        manifest = folder / f"{name}.toml"
        manifest.write_text(text.replace("size = 4096", f"size = {size}", 1), encoding="utf-8")
        paths.append(str(folder / f"{name}.elf"))
        assert main(["encode", str(manifest), "-o", paths[-1]]) == 0
    return paths[0], paths[1]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, whatever the width of the terminal."""
    return " ".join(capsys.readouterr().out.split())


def test_pages(images: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the owner, in text and in JSON."""
    assert main(["pages", images[0]]) == 0
    assert "/LUO/sessions[systemd]/files[0x1] (vm@7.service: guest-ram)" in told(capsys)
    assert main(["pages", "--json", images[0]]) == 0
    assert '"name": "vm@7.service: guest-ram"' in told(capsys)


def test_diff(images: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the path of what changed."""
    assert main(["diff", *images]) == 1
    line = "/LUO/sessions[systemd]/files[0x1]/data/size (vm@7.service: guest-ram) 4096"
    assert line in told(capsys)


def test_diff_json(images: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """In a key of its own."""
    assert main(["diff", "--json", *images]) == 1
    assert '"named": "vm@7.service: guest-ram"' in told(capsys)


def test_the_nearest_name_counts() -> None:
    """A path below a file has the file's name, one below a session that of the session."""
    luo = Luo(good("7.2-systemd-units"))

    assert luo.name_of("/LUO/sessions[vm-7]/files[0x1]/data") == "vm@7.service: state"
    assert luo.name_of("/LUO/sessions[systemd]/files[0x2]") == "db.service: cache"
    assert luo.name_of("/LUO/sessions[systemd]") == ""
    assert luo.name_of("/kho_test") == ""
