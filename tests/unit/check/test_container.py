"""A capture that is cut off: a finding, and nothing that a verdict could be certain of."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from khotool.check.kernels import judge
from khotool.check.kernels.verdict import Outcome, Unseen
from khotool.check.run import check_image
from khotool.cli.main import main
from khotool.decode.open import open_image
from tests.unit.check.damage import FIXTURES

GOOD = FIXTURES / "real" / "linux-7.3.4" / "image.elf.xz"


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """An ELF core whose last segment is cut short."""
    path = tmp_path / "cut.elf"
    path.write_bytes(lzma.decompress(GOOD.read_bytes())[:-100])
    return path


def test_a_cut_off_capture_is_a_finding(cut: Path) -> None:
    """It says what is missing, of how many; the whole file has no such finding."""
    found = [finding for finding in check_image(open_image(cut)) if finding.rule == "MEM323"]

    assert [finding.data["part"] for finding in found] == ["segments"]
    assert found[0].data["missing"] == 1
    assert not [f for f in check_image(open_image(GOOD)) if f.rule == "MEM323"]


def test_nothing_is_accepted_of_a_cut_off_capture(cut: Path) -> None:
    """The handover that counts may be in the part that is missing."""
    verdict = judge(open_image(cut), "7.3")

    assert verdict.outcome is not Outcome.ACCEPT
    assert Unseen.TRUNCATED in verdict.unseen


def test_strict_fails_for_a_cut_off_capture(cut: Path) -> None:
    """--strict counts warnings; without it they pass."""
    assert main(["check", str(cut), "--select", "MEM323"]) == 0
    assert main(["check", str(cut), "--select", "MEM323", "--strict"]) == 1
