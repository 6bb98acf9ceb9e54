"""``khotool fuzz``: damaged images, what was done to them, and what it causes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from khotool.check.kernels.judge import judge
from khotool.check.run import check_image
from khotool.cli.main import main
from khotool.decode.open import open_image
from khotool.errors import KhotoolError
from khotool.fixture.fuzz import sample
from tests.builders import ALL_SETS, REAL, REGISTRY, decode, worst

CAPTURE = str(REAL / "linux-7.3.4" / "image.elf.xz")
INPUTS = {"capture": [CAPTURE], "set": ["--abi", "7.2"], "old set": ["--abi", "6.17.3"]}
COUNT = 8
CARRIERS = [name for name in ALL_SETS if len(sample(REGISTRY.sets[name], REGISTRY)) > 2]
"""Sets that carry more than entries of their own, as the oldest postings do."""


def fuzz(folder: Path, *words: str) -> dict[str, Any]:
    """The manifest of a run."""
    assert main(["fuzz", "-q", "-n", str(COUNT), "-o", str(folder), *words]) == 0
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return document


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", INPUTS)
def test_the_same_seed_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Images and manifest repeat; another seed gives other images."""
    for folder, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        fuzz(tmp_path / folder, "--seed", seed, *INPUTS[name])
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    assert len(first) == COUNT + 1
    other = contents(tmp_path / "c")
    assert sum(first[image] != other[image] for image in first) > COUNT // 2


@pytest.mark.parametrize("name", INPUTS)
def test_the_manifest_says_what_is_expected(name: str, tmp_path: Path) -> None:
    """Rules and verdict of the list are those of check on the file that was written."""
    listed = fuzz(tmp_path, "--most", "2", *INPUTS[name])
    kernel = listed["kernel"]
    seen = 0
    for row in listed["images"]:
        assert row["mutations"]
        assert all(mutation["op"] for mutation in row["mutations"])
        try:
            image = open_image(tmp_path / row["file"])
        except KhotoolError:
            assert row["error"]
            continue
        found = {finding.rule for finding in check_image(image)}
        assert set(row["rules"]) <= found
        assert row["verdict"] == str(judge(image, kernel).outcome)
        seen += bool(row["rules"])
    assert seen >= COUNT // 2


def test_images_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    """The manifest describes every image of its folder; other files are not touched."""
    other = tmp_path / "mutant-notes.elf"
    other.write_bytes(b"mine")
    for count in ("3", "1"):
        assert main(["fuzz", "--abi", "7.3", "-n", count, "-o", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "manifest.json",
        "mutant-00000.elf",
        "mutant-notes.elf",
    ]


def test_the_kernel_can_be_chosen(tmp_path: Path) -> None:
    """--kernel asks another kernel than the one that the image is for."""
    listed = fuzz(tmp_path, "--kernel", "6.17", CAPTURE)
    assert listed["kernel"] == "6.17"
    assert {row["verdict"] for row in listed["images"]} <= {"ignore", "panic", "corrupt", None}


@pytest.mark.parametrize("abi", CARRIERS)
@pytest.mark.parametrize("page", [4096, 65536])
def test_a_sample_of_every_set_is_sound(abi: str, page: int) -> None:
    """What is made up to be damaged has no fault itself."""
    image = decode(sample(REGISTRY.sets[abi], REGISTRY, page))
    assert worst(image) == []
    assert image.entries


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give an image, or --abi SET"),
        (["--abi", "7.2", "--abi", "7.1"], "give an image, or --abi SET"),
        (["--abi", "nonsense"], "unknown kernel release or ABI set"),
        (["--abi", "7.2", "--kernel", "2.6"], "unknown kernel release '2.6'"),
    ],
)
def test_errors(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each says what is missing; none writes an image."""
    assert main(["fuzz", "-o", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))
