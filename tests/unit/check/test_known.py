"""Baselines and suppressions: what is known, and what is new."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from khotool.check.known import (
    Suppression,
    baseline_document,
    new_findings,
    read_baseline,
    read_suppressions,
    suppress,
)
from khotool.errors import InputError, UsageError
from khotool.findings import Finding
from khotool.structured import StructuredError

LEAK = Finding("MEM305", "/memory_map", "1 page at 0x1000", 0x1000, {"pages": 1})
TODAY = datetime.date(2026, 11, 21)


def known(tmp_path: Path, *findings: Finding) -> Path:
    path = tmp_path / "known.json"
    path.write_text(json.dumps(baseline_document([list(findings)])))
    return path


def test_a_new_leak_is_new(tmp_path: Path) -> None:
    """The same leak elsewhere is known; a second one, or one of another size, is not."""
    baseline = read_baseline(str(known(tmp_path, LEAK)))
    moved = Finding("MEM305", "/memory_map", "1 page at 0x9000", 0x9000, {"pages": 1})
    larger = Finding("MEM305", "/memory_map", "8 pages at 0x9000", 0x9000, {"pages": 8})

    assert new_findings([moved], baseline) == []
    assert new_findings([LEAK, moved], baseline) == [moved]
    assert new_findings([larger], baseline) == [larger]


def test_the_count_of_a_baseline_is_that_of_one_image() -> None:
    """Two images with one leak each do not make two leaks of an image known."""
    document = baseline_document([[LEAK], [LEAK]])

    assert [row["count"] for row in document["known"]] == [1]


@pytest.mark.parametrize(
    "text", ["[]", '{"schema": "khotool.baseline/1", "known": ["MEM305 /memory_map"]}', "{"]
)
def test_other_files_are_no_baselines(tmp_path: Path, text: str) -> None:
    """One of an older version hides too much, and is written again."""
    path = tmp_path / "known.json"
    path.write_text(text)
    with pytest.raises(InputError, match="--write-baseline"):
        read_baseline(str(path))


def suppressions(tmp_path: Path, text: str) -> list[Suppression]:
    path = tmp_path / "suppress.toml"
    path.write_text(text)
    return read_suppressions(str(path))


def test_a_suppression_has_a_reason_and_an_end(tmp_path: Path) -> None:
    """It holds on its last day, and no longer."""
    text = '[[suppress]]\nrule = "MEM305"\nreason = "firmware"\nuntil = 2026-11-21\n'
    found = suppressions(tmp_path, text)

    left, covered = suppress([LEAK], found, TODAY)
    assert not left
    assert covered[0].by.reason == "firmware"
    assert suppress([LEAK], found, TODAY + datetime.timedelta(1)) == ([LEAK], [])


def test_a_suppression_is_for_a_path_and_a_number(tmp_path: Path) -> None:
    """Brackets of a path mean themselves; further findings are left."""
    text = (
        '[[suppress]]\nrule = "HND6"\npath = "/LUO/sessions[a]/*"\ncount = 1\n'
        'reason = "known"\nuntil = 2027-01-01\n'
    )
    found = suppressions(tmp_path, text)
    one = Finding("HND602", "/LUO/sessions[a]/files[0x1]", "x")
    two = Finding("HND602", "/LUO/sessions[b]/files[0x1]", "x")

    assert suppress([one, one, two, LEAK], found, TODAY)[0] == [one, two, LEAK]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[suppress]]\nrule = "MEM305"\nreason = "x"\n', "until"),
        ('[[suppress]]\nrule = "MEM305"\nuntil = 2027-01-01\n', "reason"),
        ('[[suppress]]\nrule = "MEM305"\nreason = " "\nuntil = 2027-01-01\n', "reason"),
        ('[[suppress]]\nrule = "MEM305"\nreason = "x"\nuntil = "soon"\n', "date"),
        ('[[supress]]\nrule = "MEM305"\n', "supress"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    """A suppression without a reason or an end is none."""
    with pytest.raises(StructuredError, match=message):
        suppressions(tmp_path, text)


def test_an_unknown_rule_is_refused(tmp_path: Path) -> None:
    """It would suppress nothing, silently."""
    with pytest.raises(UsageError, match="MEM999"):
        suppressions(tmp_path, '[[suppress]]\nrule = "MEM999"\nreason = "x"\nuntil = 2027-01-01\n')
