"""Scans: nothing is lost, nothing is done twice."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from khotool.check.catalogue import severity
from khotool.check.run import check_image
from khotool.errors import InputError
from khotool.findings import Severity
from khotool.fleet.backlog import Work
from khotool.fleet.examiner import Examined, Examiner
from khotool.fleet.inputs import Item
from khotool.fleet.query import ask
from khotool.fleet.scan import scan
from khotool.fleet.settings import Settings
from khotool.fleet.store import JOURNAL, Journal, Store
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
    """Of several results of an image, in tables and journal, the newest is in the tables."""
    store = Store.at(tmp_path / "s", create=True)
    for release in ("6.19", "7.3"):
        with store.journal() as journal:
            journal.add(row("a", release="1"))
            journal.add(row("a", release=release, digest="d", settings="s"))
            journal.add(row("b", error="broken", error_kind="unreadable", digest="e"))
            store.fold(journal)

    found = rows(store.folder, "SELECT image, release FROM images ORDER BY image")
    assert found == [("a", "7.3"), ("b", None)]
    assert rows(store.folder, "SELECT count(*) FROM findings") == [(2,)]
    assert list(store.known("s")) == [("a", "d")]
    assert list(store.known("other")) == []
    assert not store.interrupted


def test_an_interrupted_fold_is_done_again(tmp_path: Path) -> None:
    """Tables that were replaced before the journal was emptied end up the same."""
    store = Store.at(tmp_path / "s", create=True)
    with store.journal() as journal:
        journal.add(row("a"))
        store.fold(journal)
        journal.add(row("a"))
        store.table("owners").unlink()
        store.fold(journal)

    assert {path.name for path in store.folder.iterdir()} == {f"{t}.parquet" for t in TABLES}
    assert rows(store.folder, "SELECT count(*) FROM findings") == [(1,)]


def test_one_scan_at_a_time_writes(tmp_path: Path) -> None:
    """A second scan into a folder does not take the results of the first."""
    store = Store.at(tmp_path / "s", create=True)
    with store.journal(), pytest.raises(InputError, match="another scan is writing here"):
        Journal(store.folder / JOURNAL)

    assert not store.interrupted


def test_rows_of_one_image_are_kept_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image with more rows than are converted at once."""
    monkeypatch.setattr("khotool.fleet.store.BATCH", 10)
    store = Store.at(tmp_path / "s", create=True)
    with store.journal() as journal:
        journal.add(row("a") | {"findings": [{"rule": f"X{n:02}"} for n in range(25)]})
        assert max(map(len, journal.batches("findings"))) < 20
        store.fold(journal)

    assert rows(store.folder, "SELECT count(DISTINCT rule), max(rule) FROM findings") == [
        (25, "X24")
    ]


def test_names_need_not_be_text(tmp_path: Path, run_scan: Scan) -> None:
    """A file name that is not UTF-8 is a row like any other."""
    source = tmp_path / "images"
    source.mkdir()
    (source / os.fsdecode(b"\xff.elf")).write_bytes(b"x" * 64)

    assert run_scan(source).failed == 1
    ((name,),) = rows(tmp_path / "scan", "SELECT image FROM images")
    assert str(name).endswith("/\\xff.elf")


def test_memory_does_not_grow_with_the_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, digests and results of many images are on disk, not in memory."""
    monkeypatch.setattr("khotool.fleet.store.BATCH", 200)
    store = Store.at(tmp_path / "s", create=True)

    def run(count: int) -> int:
        items = (Item(f"image-{n:06}", "p", labels={"host": f"h{n}"}) for n in range(count))
        gc.collect()
        tracemalloc.start()
        try:
            scan(items, store, Settings(), lambda _: Recorded(), lambda _: None)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    run(10)
    few, many = run(600), run(2_400)

    # Bytes an image: an item in a list takes several hundred.
    assert (many - few) / 1_800 < 150
    assert rows(store.folder, "SELECT count(*) FROM images") == [(2_400,)]


class Recorded:
    """An engine that has the same result for every image."""

    workers = 1

    def run(self, work: Iterable[Work]) -> Iterator[Examined]:
        for item, known in work:
            assert known is None
            yield Examined(item.name, row(item.name, digest="d"))

    def close(self) -> None:
        pass


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


EMPTY = 40_000
"""Bytes of a journal without or with few results."""


def wait_for_results(out: Path, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if sum(path.stat().st_size for path in out.glob(f"{JOURNAL}-wal")) > EMPTY:
            return
        time.sleep(0.01)
    raise AssertionError("no result in time")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_scan_loses_nothing(tmp_path: Path, how: signal.Signals) -> None:
    """What was found before a Ctrl-C or a kill is there, and the next scan does the rest."""
    source, out = tmp_path / "images", tmp_path / "scan"
    many(source, 60)
    child = start(source, out)
    wait_for_results(out, child)
    os.kill(child.pid, how)
    _, error = child.communicate(timeout=60)

    assert child.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), error
    if how == signal.SIGINT:
        assert 0 < int(str(rows(out, "SELECT count(*) FROM images")[0][0])) < 60
    rest = start(source, out)
    _, error = rest.communicate(timeout=120)
    assert rest.returncode == 0, error
    assert rows(out, "SELECT count(*) FROM images WHERE error IS NULL") == [(60,)]
    assert b"60 examined" not in error
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
