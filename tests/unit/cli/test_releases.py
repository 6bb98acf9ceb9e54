"""Kernel releases on the command line: the same names mean the same kernels everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from khotool.abi.releases import unknown_release
from khotool.cli.main import main
from khotool.decode.open import open_image
from tests.builders import REGISTRY
from tests.unit.check.damage import FIXTURES

GOOD = str(FIXTURES / "real" / "linux-7.3.4" / "image.elf.xz")
KHO_V2 = FIXTURES / "good" / "kho-v2-sessions" / "recipe.toml"
REFUSED = unknown_release("8.0", REGISTRY.sets)
COMMANDS = {
    "check": ["check", GOOD, "--kernel", "8.0"],
    "convert": ["convert", GOOD, "-o", "{out}", "--to", "8.0"],
    "encode": ["encode", "{manifest}", "-o", "{out}"],
    "encode --abi-set": ["encode", str(KHO_V2), "-o", "{out}", "--abi-set", "8.0"],
    "fuzz": ["fuzz", GOOD, "-o", "{out}", "--kernel", "8.0"],
    "fuzz --abi": ["fuzz", "-o", "{out}", "--abi", "8.0"],
    "formats versions": ["formats", "versions", "--kernel", "8.0"],
}
Out = pytest.CaptureFixture[str]


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_refuses_an_unknown_kernel(
    words: list[str], tmp_path: Path, capsys: Out
) -> None:
    """A release without an ABI set is refused in the same words, before anything is written."""
    manifest = tmp_path / "m.toml"
    manifest.write_text('abi = "8.0"\n')
    places = {"out": tmp_path / "out", "manifest": manifest}

    assert main([word.format(**places) for word in words]) in (2, 3)
    assert REFUSED in capsys.readouterr().err
    assert not places["out"].is_file()
    assert not list(tmp_path.rglob("*.elf*"))


def test_a_release_candidate_is_a_kernel_of_its_own(tmp_path: Path, capsys: Out) -> None:
    """7.1-rc1 writes and takes kho-v2, which 7.1 gives up."""
    manifest, made = tmp_path / "m.toml", tmp_path / "made.elf"
    manifest.write_text('abi = "7.1-rc1"\n\n[[session]]\nname = "vm"\n')

    assert main(["encode", str(manifest), "-o", str(made)]) == 0
    assert open_image(made).tree.format == "kho-v2"
    capsys.readouterr()
    for release, outcome in (("7.1-rc1", "accept"), ("7.1.0-rc1+", "accept"), ("7.1", "ignore")):
        main(["check", str(made), "--kernel", release, "--json"])
        assert json.loads(capsys.readouterr().out)["verdict"]["outcome"] == outcome
    assert main(["convert", GOOD, "-o", str(made), "--to", "v7.1-rc1"]) == 0
    assert open_image(made).tree.format == "kho-v2"
