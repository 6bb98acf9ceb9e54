"""Scans: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from khotool.check.catalogue import severity
from khotool.check.run import check_image
from khotool.errors import InputError
from khotool.findings import Severity
from khotool.fleet.examiner import Examiner
from khotool.fleet.inputs import Item
from khotool.fleet.query import ask
from khotool.fleet.settings import Settings
from khotool.fleet.store import Known, Store
from khotool.fleet.tables import TABLES
from khotool.opening.load import load_image
from tests.unit.fleet.conftest import REAL, Scan


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    return list(ask(Store.at(folder), sql).rows)


def test_every_image_has_a_row(images: Path, tmp_path: Path, run_scan: Scan) -> None:
    """A file that is no image is a row with its error; the others count what check counts."""
    done = run_scan(images)

    assert (done.done, done.failed) == (4, 1)
    found = rows(tmp_path / "scan", "SELECT image, error, errors, warnings, notes FROM images")
    assert len(found) == 4
    for image, error, *counts in found:
        path = str(image)
        if path.endswith("garbage.bin"):
            assert "not recognised" in str(error)
            continue
        levels = [severity(finding.rule) for finding in check_image(load_image(path))]
        assert error is None
        assert counts == [
            levels.count(level) for level in (Severity.ERROR, Severity.WARNING, Severity.NOTE)
        ]


def test_tables_hold_what_the_guest_saw(images: Path, tmp_path: Path, run_scan: Scan) -> None:
    """Sessions and files of a real capture, with the bytes that they own."""
    run_scan(images)
    truth = json.loads((REAL / "linux-7.3.4/truth.json").read_text())

    found = rows(
        tmp_path / "scan",
        "SELECT session, token, bytes FROM files WHERE image LIKE '%host-2%' ORDER BY ALL",
    )

    assert {(session, token) for session, token, _ in found} == {
        (session["name"], file["token"])
        for session in truth["sessions"]
        for file in session["files"]
    }
    assert rows(tmp_path / "scan", "SELECT DISTINCT labels['host'] FROM images ORDER BY 1") == [
        ("host-0",),
        ("host-1",),
        ("host-2",),
        (None,),
    ]
    assert rows(tmp_path / "scan", "SELECT outcome FROM verdicts WHERE image LIKE '%host-2%'") == [
        ("accept",)
    ]


def test_owners_add_up(images: Path, tmp_path: Path, run_scan: Scan) -> None:
    """The bytes of all owners are the preserved memory."""
    run_scan(images)

    assert (
        rows(
            tmp_path / "scan",
            "SELECT image FROM images i WHERE error IS NULL AND preserved_pages * page_size <> "
            "(SELECT sum(bytes) FROM owners o WHERE o.image = i.image)",
        )
        == []
    )


def test_a_second_scan_does_only_what_is_new(images: Path, tmp_path: Path, run_scan: Scan) -> None:
    """Known images are skipped by digest; changed ones, and those with an error, are not."""
    run_scan(images)
    again = run_scan(images)
    shutil.copy(images / "host-1/image.elf.xz", images / "host-0/image.elf.xz")
    changed = run_scan(images)

    assert (again.done, again.unchanged, again.failed) == (4, 3, 1)
    assert (changed.unchanged, changed.failed) == (2, 1)
    assert rows(tmp_path / "scan", "SELECT release FROM images WHERE image LIKE '%host-0%'") == [
        ("6.19.11",)
    ]
    assert rows(tmp_path / "scan", "SELECT count(*), count(DISTINCT image) FROM images") == [(4, 4)]


def test_other_settings_are_another_scan(images: Path, run_scan: Scan) -> None:
    """A scan for another kernel examines all images again; other limits do not."""
    run_scan(images)

    assert run_scan(images, memory=8 << 30).unchanged == 3
    assert run_scan(images, formats=(str(images.parent),)).unchanged == 0


def test_an_image_that_takes_too_long_is_a_row(
    images: Path, tmp_path: Path, run_scan: Scan
) -> None:
    """Time is bounded for each image, and the next one has a process again."""
    done = run_scan(images, seconds=0.01)

    assert done.failed == 4
    assert rows(tmp_path / "scan", "SELECT DISTINCT error_kind FROM images") == [("time",)]


def test_a_process_that_dies_is_a_row() -> None:
    """An image that ends the process that decodes it is an error; the next one is examined."""
    examiner = Examiner(Settings())
    examiner.child = subprocess.Popen(
        ["sh", "-c", "read line; kill -SEGV $$"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    path = str(REAL / "linux-6.18.15/image.elf.xz")
    try:
        first = examiner.examine(Item(path, path))
        second = examiner.examine(Item(path, path))
    finally:
        examiner.close()

    assert first.rows is not None
    assert first.rows["images"][0]["error_kind"] == "crash"
    assert "SIGSEGV" in first.rows["images"][0]["error"]
    assert second.rows is not None
    assert second.rows["images"][0].get("error") is None


def test_a_process_without_memory_is_a_row() -> None:
    """Memory is bounded for each image."""
    examiner = Examiner(Settings(memory=96 << 20))
    path = str(REAL / "linux-6.18.15/image.elf.xz")
    try:
        found = examiner.examine(Item(path, path))
    finally:
        examiner.close()

    assert found.rows is not None
    assert found.rows["images"][0]["error_kind"] in ("memory", "crash")


# -- the store ---------------------------------------------------------------------------


def row(image: str, **values: object) -> dict[str, list[dict[str, object]]]:
    return {"images": [{"image": image, "labels": {}, **values}], "findings": [{"rule": "X1"}]}


def test_the_last_result_of_an_image_stays(tmp_path: Path) -> None:
    """Of several results of an image, in tables and journals, the newest is in the tables."""
    store = Store.at(tmp_path / "s", create=True)
    for release in ("6.19", "7.3"):
        with store.journal() as journal:
            journal.add(row("a", release="1"))
            journal.add(row("a", release=release, digest="d", settings="s"))
            journal.add(row("b", error="broken", error_kind="unreadable", digest="e"))
        store.fold()

    found = rows(store.folder, "SELECT image, release FROM images ORDER BY image")
    assert found == [("a", "7.3"), ("b", None)]
    assert rows(store.folder, "SELECT count(*) FROM findings") == [(2,)]
    assert store.known() == {"a": Known("d", "s")}
    assert store.journals() == []


def test_a_line_that_was_cut_off_is_no_result(tmp_path: Path) -> None:
    """A scan that was killed while it wrote leaves all whole lines."""
    store = Store.at(tmp_path / "s", create=True)
    with store.journal() as journal:
        journal.add(row("a"))
        journal.file.write(b'{"images": [{"image": "b"')

    store.fold()

    assert rows(store.folder, "SELECT image FROM images") == [("a",)]


def test_an_interrupted_fold_is_done_again(tmp_path: Path) -> None:
    """Tables that were replaced before the journal went end up the same."""
    store = Store.at(tmp_path / "s", create=True)
    with store.journal() as journal:
        journal.add(row("a"))
    (kept,) = store.journals()
    text = kept.read_bytes()
    store.fold()
    kept.write_bytes(text)
    store.table("owners").unlink()

    store.fold()

    assert {path.name for path in store.folder.iterdir()} == {f"{t}.parquet" for t in TABLES}
    assert rows(store.folder, "SELECT count(*) FROM findings") == [(1,)]


def test_a_folder_without_a_scan_is_an_error(tmp_path: Path) -> None:
    """The error says how to make one."""
    with pytest.raises(InputError, match="khotool fleet scan"):
        Store.at(tmp_path)


# -- the command -------------------------------------------------------------------------


def many(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        shutil.copy(REAL / "linux-6.18.15/image.elf.xz", folder / f"{number:03}.elf.xz")


def start(source: Path, out: Path) -> subprocess.Popen[bytes]:
    words = ["fleet", "scan", str(source), "-o", str(out), "--workers", "1"]
    return subprocess.Popen([sys.executable, "-m", "khotool", *words], stderr=subprocess.PIPE)


def wait_for_results(out: Path, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if sum(path.stat().st_size for path in out.glob("journal-*")):
            return
        time.sleep(0.01)
    raise AssertionError("no result in time")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_scan_loses_nothing(tmp_path: Path, how: signal.Signals) -> None:
    """What was found before a Ctrl-C or a kill is there, and the next scan does the rest."""
    source, out = tmp_path / "images", tmp_path / "scan"
    many(source, 120)
    child = start(source, out)
    wait_for_results(out, child)
    os.kill(child.pid, how)
    _, error = child.communicate(timeout=60)

    assert child.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), error
    if how == signal.SIGINT:
        assert 0 < int(str(rows(out, "SELECT count(*) FROM images")[0][0])) < 120
    rest = start(source, out)
    _, error = rest.communicate(timeout=120)
    assert rest.returncode == 0, error
    assert rows(out, "SELECT count(*) FROM images WHERE error IS NULL") == [(120,)]
    assert b"120 examined" not in error
    assert {path.suffix for path in out.iterdir()} == {".parquet"}


def test_cluster_loses_a_worker_and_no_image(images: Path, tmp_path: Path, run_scan: Scan) -> None:
    """A scheduler with two workers gives the tables of the local pool, though one is killed."""
    pytest.importorskip("distributed")
    source = tmp_path / "many"
    shutil.copytree(images, source)
    for number in range(30):
        shutil.copy(REAL / "linux-6.18.15/image.elf.xz", source / f"{number:03}.elf.xz")
    run_scan(source, "local")
    address_file = tmp_path / "scheduler.json"
    scheduler = _dask("scheduler", "--port", "0", "--scheduler-file", str(address_file))
    workers: list[subprocess.Popen[bytes]] = []
    try:
        _until(address_file.exists)
        address = json.loads(address_file.read_text())["address"]
        workers = [_dask("worker", address, "--nthreads", "1", "--no-nanny") for _ in range(2)]
        out = tmp_path / "cluster"
        words = ["fleet", "scan", str(source), "-o", str(out), "--cluster", address]
        words += ["--kernel", "7.3", "--label", "host=(host-[0-9]+)/"]
        scan = subprocess.Popen([sys.executable, "-m", "khotool", *words], stderr=subprocess.PIPE)
        wait_for_results(out, scan)
        workers[0].kill()
        _, error = scan.communicate(timeout=120)
    finally:
        for process in [*workers, scheduler]:
            process.kill()
            process.wait()

    assert scan.returncode == 1, error
    for table in TABLES:
        skipped = "EXCLUDE (seconds, scanned)" if table == "images" else ""
        sql = f"SELECT * {skipped} FROM {table} ORDER BY image, hash(COLUMNS(*)::VARCHAR)"
        sql = f"SELECT * {skipped} FROM {table}"
        local = sorted(map(str, rows(tmp_path / "local", sql)))
        assert sorted(map(str, rows(out, sql))) == local, table


def _dask(*words: str) -> subprocess.Popen[bytes]:
    more = ["--host", "127.0.0.1", "--no-dashboard"]
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *words, *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _until(condition: object) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.05)
    raise AssertionError("not in time")
