"""Verdicts against what real kernels did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from khotool.check.kernels import judge
from khotool.check.run import check_image
from khotool.decode.open import open_image

FIXTURES = Path(__file__).parents[3] / "fixtures"
VERDICTS = sorted(path.parent for path in (FIXTURES / "verdicts").glob("*/result.json"))
ACROSS = json.loads((FIXTURES / "verdicts" / "across-kernels.json").read_bytes())
NOT_IN_THE_IMAGE = {
    "kho-test-csum": "a checksum over folios whose contents the image does not hold",
}
"""Damage that shows only with the payload."""
MATRIX = {
    "6.17.8": ("accept", "panic", "panic", "ignore", "ignore"),
    "6.18.15": ("corrupt", "accept", "accept", "ignore", "ignore"),
    "6.19.11": ("corrupt", "partial", "accept", "ignore", "ignore"),
    "7.1.13": ("ignore", "ignore", "ignore", "accept", "ignore"),
    "7.3.4": ("ignore", "ignore", "ignore", "ignore", "accept"),
}
"""Image by release, and what each of the same releases does with it."""


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_bytes())
    return result


@pytest.mark.parametrize("folder", VERDICTS, ids=lambda folder: folder.name)
def test_outcome_is_that_of_the_real_kernel(folder: Path) -> None:
    """The overall outcome is one that the real kernel's behaviour allows."""
    if folder.name in NOT_IN_THE_IMAGE:
        pytest.skip(NOT_IN_THE_IMAGE[folder.name])
    result = result_of(folder)
    verdict = judge(open_image(folder / "image.elf.xz"), result["kernel"])

    assert str(verdict.outcome) in result["outcome_any"]


@pytest.mark.parametrize("folder", VERDICTS, ids=lambda folder: folder.name)
def test_files_come_back_as_from_the_real_kernel(folder: Path) -> None:
    """Every file that the image still lists comes back with the real kernel's result."""
    result = result_of(folder)
    verdict = judge(open_image(folder / "image.elf.xz"), result["kernel"])
    real = {
        (session["name"], file["token"]): file["result"]
        for session in result["sessions"]
        for file in session.get("files", [])
    }
    mine = {(s.name, f.token): f.result for s in verdict.sessions for f in s.files}

    assert mine == {key: real[key] for key in mine}
    # What is left out is what the damaged image no longer names.
    assert {real[key] for key in set(real) - set(mine)} <= {"ENOENT"}


@pytest.mark.parametrize("folder", VERDICTS, ids=lambda folder: folder.name)
def test_damage_is_named(folder: Path) -> None:
    """Damage that shows in the image gives a finding; the clean image gives none."""
    findings = check_image(open_image(folder / "image.elf.xz"))

    assert bool(findings) == (folder.name != "clean" and folder.name not in NOT_IN_THE_IMAGE)


@pytest.mark.parametrize("row", ACROSS, ids=lambda row: f"{row['old']}-to-{row['new']}")
def test_kernels_of_other_releases(row: dict[str, Any]) -> None:
    """An undamaged image in another kernel: outcome and number of files that come back."""
    path = FIXTURES / "real" / f"linux-{row['old_release']}" / "image.elf.xz"
    verdict = judge(open_image(path), row["new_release"])
    files = [file.result for session in verdict.sessions for file in session.files]

    assert str(verdict.outcome) in row["outcome_any"]
    assert files.count("ok") == row["files_returned"]


@pytest.mark.parametrize("release", MATRIX)
def test_acceptance_matrix(release: str) -> None:
    """What each release does with an image of each."""
    image = open_image(FIXTURES / "real" / f"linux-{release}" / "image.elf.xz")

    assert tuple(str(judge(image, kernel).outcome) for kernel in MATRIX) == MATRIX[release]
