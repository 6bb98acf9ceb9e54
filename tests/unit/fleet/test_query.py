"""Questions to a scan: SQL, named questions, comparison, report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from khotool.cli.main import main
from khotool.errors import UsageError
from khotool.fleet import engine
from khotool.fleet.compare import compare
from khotool.fleet.query import ask
from khotool.fleet.questions import QUESTIONS
from khotool.fleet.store import Store
from khotool.fleet.summary import LISTED, summarise
from khotool.fleet.tables import TABLES, arrow_schema
from khotool.render.fleet_html import fleet_html
from tests.schemas import validate_output
from tests.unit.fleet.conftest import REAL, Scan, make_images, scan_into


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tables of one scan, and beside it the images."""
    folder = tmp_path_factory.mktemp("fleet")
    make_images(folder / "images")
    scan_into(folder / "scan", folder / "images")
    return Store.at(folder / "scan")


def test_the_tables_are_as_documented(store: Store) -> None:
    """Every table has the documented columns, in their order, with their types."""
    import pyarrow.parquet as parquet

    for table in TABLES:
        assert parquet.read_schema(store.table(table)).equals(arrow_schema(table))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "COPY images TO 'x.csv'",
        "DROP VIEW images",
        "SELECT 1; SELECT 2",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELEC 1",
        "",
        "SELECT nothing FROM images",
    ],
)
def test_a_query_reads_the_scan_alone(store: Store, sql: str) -> None:
    """Anything but one SELECT over the tables is refused in one line."""
    before = sorted(os.listdir(store.folder))

    with pytest.raises(UsageError, match="query: ") as caught:
        ask(store, sql)

    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(store.folder)) == before


@pytest.mark.parametrize("name", QUESTIONS)
def test_named_questions_are_answered(store: Store, name: str) -> None:
    """Every question is valid SQL over the tables."""
    assert ask(store, QUESTIONS[name].sql).columns


def test_refused_images_are_named(store: Store) -> None:
    """Kernel 7.3 drops what 6.18 and 6.19 hand over."""
    answer = ask(store, QUESTIONS["refused-by"].sql)

    found = [(row["host"], row["outcome"]) for row in answer.records()]
    assert found == [("host-0", "ignore"), ("host-1", "ignore")]


def test_growth_follows_a_host(tmp_path: Path, run_scan: Scan) -> None:
    """First and last image of a host, by the time at which they were taken."""
    folder = tmp_path / "images/host-7"
    folder.mkdir(parents=True)
    for day, kernel in enumerate(("7.3.4", "6.18.15")):
        path = folder / f"{day}.elf.xz"
        shutil.copy(REAL / f"linux-{kernel}/image.elf.xz", path)
        os.utime(path, (86400 * (day + 1), 86400 * (day + 1)))
    run_scan(tmp_path / "images")

    (row,) = ask(Store.at(tmp_path / "scan"), QUESTIONS["growth"].sql).records()

    assert row["host"] == "host-7"
    assert row["first"] == "1970-01-02T00:00:00Z"
    assert row["pages_gained"] == int(str(row["pages_last"])) - int(str(row["pages_first"])) > 0


def test_equal_scans_compare_equal(store: Store) -> None:
    """A scan compared with itself has no differences."""
    assert compare(store, store).equal


def test_changes_between_scans(store: Store) -> None:
    """Added, removed and changed images, and verdicts that are others now."""
    images = store.folder.parent / "images"
    shutil.copy(images / "host-2/image.elf.xz", images / "host-1/image.elf.xz")
    (images / "garbage.bin").unlink()
    shutil.copy(images / "host-0/image.elf.xz", images / "new.elf.xz")
    scan_into(store.folder.parent / "other", images)

    found = compare(store, Store.at(store.folder.parent / "other"))

    rows = found.answers["images"].rows
    changes = {(Path(str(image)).name, change) for change, image, *_ in rows}
    assert changes == {
        ("garbage.bin", "removed"),
        ("new.elf.xz", "added"),
        ("image.elf.xz", "changed"),
    }
    assert [row[2:4] for row in found.answers["verdicts"].rows] == [("ignore", "accept")]


def test_the_report_is_one_page(store: Store) -> None:
    """The page needs nothing else, and escapes what it quotes."""
    page = fleet_html("<scan>", summarise(store))

    assert "<scan>" not in page
    assert "&lt;scan&gt;" in page
    assert "src=" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<tr>") < 10 * (LISTED + 1)


def test_commands_answer(store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Query, ask, compare and report through the command line."""
    folder = str(store.folder)
    sql = "SELECT release, count(*) AS n FROM images WHERE error IS NULL GROUP BY 1 ORDER BY 1"

    assert main(["fleet", "query", folder, sql, "--json"]) == 0
    text = capsys.readouterr().out
    assert validate_output(text) == "fleet"
    document = json.loads(text)
    assert document["columns"] == ["release", "n"]
    assert document["rows"][0] == {"release": "6.18.15", "n": 1}
    assert main(["fleet", "query", folder, sql, "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["release,n", "6.18.15,1"]
    for question in QUESTIONS:
        assert main(["fleet", "ask", folder, question, "--json"]) == 0
        assert validate_output(capsys.readouterr().out) == "fleet"
    assert main(["fleet", "compare", folder, folder, "--json"]) == 0
    assert validate_output(capsys.readouterr().out) == "fleet"
    assert main(["fleet", "ask", folder, "leaks"]) == 0
    assert "unowned_pages" in capsys.readouterr().out
    assert main(["fleet", "ask", folder, "leeks"]) == 2
    assert "did you mean 'leaks'?" in capsys.readouterr().err
    assert main(["fleet", "ask", folder]) == 0
    assert capsys.readouterr().out.startswith("refused-by")
    assert main(["fleet", "compare", folder, folder]) == 0
    assert capsys.readouterr().out == "no differences\n"
    assert main(["fleet", "report", folder, "-o", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_wrong_arguments_are_one_line(
    images: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kernels, limits, labels and folders are refused before anything is scanned."""
    monkeypatch.setattr(engine, "ANSWER", 0.5)
    scan = ["fleet", "scan", str(images), "-o", str(tmp_path / "s")]
    for words, said in (
        ([*scan, "--kernel", "9.9"], "unknown kernel release '9.9'"),
        ([*scan, "--limit", "nodes=3"], "names: seconds, memory"),
        ([*scan, "--label", "host"], "NAME=REGEX"),
        ([*scan, "--workers", "0"], "at least 1"),
        ([*scan[:-1], str(images / "garbage.bin")], "is not a folder"),
        ([*scan, "--cluster", "tcp://127.0.0.1:1"], "no scheduler answers"),
        (["fleet", "ask", str(tmp_path), "leaks"], "no scan here"),
    ):
        assert main(words) in (2, 3)
        assert said in capsys.readouterr().err


def test_a_query_is_implied_besides(store: Store) -> None:
    """As a process of its own, which ends in its own way."""
    words = ["fleet", "query", str(store.folder), "SELECT 1 AS x"]
    done = subprocess.run(
        [sys.executable, "-m", "khotool", *words], capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("x\n1\n", "")
