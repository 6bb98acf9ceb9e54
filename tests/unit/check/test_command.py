"""khotool check, rules and explain as commands."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from khotool.cli.main import main

FIXTURES = Path(__file__).parents[3] / "fixtures"
GOOD = str(FIXTURES / "real" / "linux-7.3.4" / "image.elf.xz")
BAD = str(FIXTURES / "verdicts" / "folio-index-duplicate" / "image.elf.xz")
Out = pytest.CaptureFixture[str]


def test_exit_codes(capsys: Out) -> None:
    """0 for a good image, 1 for findings at the threshold or a verdict that is not accept."""
    assert main(["check", GOOD]) == 0
    assert main(["check", BAD]) == 1
    assert main(["check", BAD, "--fail-on", "never"]) == 0
    assert main(["check", GOOD, "--kernel", "7.3"]) == 0
    assert main(["check", GOOD, "--kernel", "6.19"]) == 1
    assert main(["check", GOOD, "--kernel", "5.4"]) == 2
    assert "the nearest that khotool knows is 6.16" in capsys.readouterr().err


def test_json_is_the_contract(capsys: Out) -> None:
    """Findings and verdict have the keys of khotool.check/1."""
    assert main(["check", BAD, "--json", "--kernel", "7.3"]) == 1
    document = json.loads(capsys.readouterr().out)

    assert document["schema"] == "khotool.check/1"
    assert set(document["findings"][0]) == {
        "rule",
        "slug",
        "severity",
        "path",
        "address",
        "message",
        "data",
    }
    assert document["verdict"]["outcome"] == "partial"
    assert document["verdict"]["steps"][0]["stage"] == "kho-root"


def test_select_ignore_and_baseline(capsys: Out, tmp_path: Path) -> None:
    """Rules are chosen by pattern; a baseline leaves known findings out."""
    known = str(tmp_path / "known.json")

    assert main(["check", BAD, "--ignore", "HND"]) == 0
    assert main(["check", BAD, "--select", "MEM"]) == 0
    assert main(["check", BAD, "--write-baseline", known]) == 0
    assert main(["check", BAD, "--baseline", known]) == 0
    assert main(["check", BAD, "--select", "NOPE"]) == 2
    assert "NOPE" in capsys.readouterr().err


def test_other_formats(capsys: Out) -> None:
    """SARIF and JUnit parse, GitHub annotations and concise text are a line a finding."""
    main(["check", BAD, "--output-format", "sarif"])
    results = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    main(["check", BAD, GOOD, "--output-format", "junit"])
    suites = ElementTree.fromstring(capsys.readouterr().out)
    main(["check", BAD, "--output-format", "github"])
    annotations = capsys.readouterr().out.splitlines()

    assert [result["ruleId"] for result in results] == ["HND602", "HND605"]
    assert [suite.get("failures") for suite in suites] == ["1", "0"]
    assert annotations[0].startswith("::error file=")


def test_several_images_at_once(capsys: Out) -> None:
    """--jobs gives the same answer in the same order."""
    main(["check", GOOD, BAD, "--json"])
    one = capsys.readouterr().out
    main(["check", GOOD, BAD, "--json", "--jobs", "2"])

    assert capsys.readouterr().out == one


def test_rules_and_explain(capsys: Out) -> None:
    """The catalogue is listed, and one rule explained."""
    assert main(["rules", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rules"]) > 50
    assert main(["explain", "MEM302"]) == 0
    assert "referenced-not-preserved" in capsys.readouterr().out
