"""Folio tables that are looked at together, and one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.abi.registry import load_registry
from khotool.check.rules import folios
from khotool.check.run import check_image
from khotool.decode.open import open_image
from khotool.encode.segments import write_image
from khotool.model.image import Image
from khotool.opening.models import Model, build_model

FAULTS = [
    ("flags", 0, "HND601"),
    ("flags", 1, "REC412"),
    ("index", 0, "HND602"),
    ("index", 1, "HND603"),
    ("pfn", 0, "HND605"),
]
"""A column, whether its bits are set in a row, and the rule that this breaks."""


def image_of(path: Path) -> Image:
    """Three files of three pages."""
    files = [{"token": token, "size": 12288} for token in (1, 2, 3)]
    model = Model.of(Path("model.toml"), {"abi": "7.3", "session": [{"name": "s", "file": files}]})
    write_image(path, build_model(model, load_registry()))
    return open_image(path)


@pytest.mark.parametrize(("label", "word", "rule"), FAULTS)
def test_one_bad_row_of_many_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, word: int, rule: str
) -> None:
    """What joined tables report is what each of them alone would."""
    image = image_of(tmp_path / "image.elf")
    assert not check_image(image)
    bad = [node for node in image.tree.walk() if node.table is not None][1]
    assert bad.table is not None
    placed = bad.table.compiled.by_label(label)
    mask = next((p.mask for p in placed.parts if p.field.label == label), (1 << 64) - 1)
    bad.table.records = bad.table.records.copy()
    rows = bad.table.records[placed.field.name]
    rows[1] = rows[1] & ~rows.dtype.type(mask) | rows.dtype.type(mask if word else 0)
    together = check_image(image)
    monkeypatch.setattr(folios, "SHORT", 0)
    assert together == check_image(image)
    found = {finding.rule for finding in together if finding.path.startswith(bad.path)}
    assert rule in found
