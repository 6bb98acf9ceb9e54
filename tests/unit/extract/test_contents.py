from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from khotool.decode.open import open_image
from khotool.errors import InputError, UsageError
from khotool.extract.memfd import pages_from_gaps
from khotool.extract.select import payload_plan, raw_plan
from khotool.extract.sparse import Hashing
from khotool.extract.write import MissingError, write_plan
from khotool.model.image import Image
from khotool.model.lookup import find_node
from khotool.model.path import quote_key

REAL = Path(__file__).parents[3] / "fixtures" / "real"
RELEASES = ["6.19.11", "7.1.13", "7.3.4", "7.3.4-arm64-16k"]


def capture(release: str) -> Image:
    return open_image(REAL / f"linux-{release}" / "image.elf.xz")


def digest(image: Image, path: str) -> tuple[int, str | None]:
    plan = payload_plan(image, find_node(image, path))
    sink = Hashing(None, hashlib.sha256())
    return write_plan(plan, image.space, sink).size, sink.hexdigest()


@pytest.mark.parametrize("release", RELEASES)
def test_files_have_the_hash_that_the_next_kernel_read(release: str) -> None:
    """Every file of every capture, empty ones and partial last pages included."""
    truth: Any = json.loads((REAL / f"linux-{release}" / "truth.json").read_text())
    image = capture(release)
    for session in truth["sessions"]:
        for file in session["files"]:
            path = f"/LUO/sessions[{quote_key(session['name'])}]/files[{file['token']}]"
            assert digest(image, path) == (file["size"], file["sha256"]), path


def test_file_data_and_folios_mean_the_same_contents() -> None:
    """The node of a file, its data and its folios are all taken for its contents."""
    image = capture("7.3.4")
    file = "/LUO/sessions[vm-alpha]/files[0x2]"
    assert digest(image, file) == digest(image, f"{file}/data")
    assert digest(image, file) == digest(image, f"{file}/data/folios")


def test_missing_memory_lists_file_ranges() -> None:
    """Memory outside the capture is an error with the ranges of the file."""
    image = capture("7.3.4")
    plan = payload_plan(image, find_node(image, "/memblock/regions[trace]"))
    with pytest.raises(MissingError, match="0x0-0x200000") as caught:
        write_plan(plan, image.space, Hashing(None, hashlib.sha256()))
    assert caught.value.ranges.tolist() == [[0, 0x200000]]
    sink = Hashing(None, hashlib.sha256())
    done = write_plan(plan, image.space, sink, "zero")
    assert (done.missing, done.ranges) == (0x200000, [(0, 0x200000)])
    assert sink.hexdigest() == hashlib.sha256(bytes(0x200000)).hexdigest()
    sink = Hashing(None, hashlib.sha256())
    write_plan(plan, image.space, sink, "pattern")
    assert sink.hexdigest() == hashlib.sha256(b"KHOTOOL-MISSING\n" * 0x20000).hexdigest()


def test_blobs_records_and_folios() -> None:
    """Sub-trees give their blob, records their bytes, rows of a test their folio."""
    image = capture("7.3.4")
    assert payload_plan(image, find_node(image, "/memblock")).size == 294
    assert payload_plan(image, find_node(image, "/kho_test/folios[0]")).kind == "folio"
    session = find_node(image, "/LUO/sessions[vm-alpha]")
    raw = raw_plan(image, session)
    assert bytes(image.space.read(int(raw.address[0]), raw.size))[:9] == b"vm-alpha\0"
    with pytest.raises(UsageError, match="--all"):
        payload_plan(image, session)
    with pytest.raises(UsageError, match="--raw"):
        payload_plan(image, find_node(image, "/LUO/liveupdate_number"))
    raw = raw_plan(image, find_node(image, "/LUO/sessions[vm-alpha]/files[0x10]/data/folios"))
    assert raw.size == 32 * 16


def test_folio_sizes_from_gaps_are_aligned_powers_of_two() -> None:
    """Without a map a folio ends before the next index and is aligned; the last may reach on."""
    pfn = np.array([512, 1024, 1027, 2048], np.uint64)
    index = np.array([0, 512, 515, 1024], np.uint64)
    room = np.array([512, 3, 509, 3], np.uint64)
    assert pages_from_gaps(pfn, index, room, 12).tolist() == [512, 2, 1, 4]
    none = np.zeros(0, np.uint64)
    assert len(pages_from_gaps(none, none, none, 12)) == 0


def test_lost_folio_records_are_an_error() -> None:
    """Records that were not captured leave unknown parts, not silent holes."""
    image = capture("7.3.4")
    node = find_node(image, "/LUO/sessions[vm-alpha]/files[0x10]")
    table = find_node(image, f"{node.path}/data/folios").table
    assert table is not None
    table.records = table.records[:5]
    with pytest.raises(InputError, match="27 of its records"):
        digest(image, node.path)


@pytest.mark.parametrize("seed", range(4))
def test_hostile_folio_tables_only_give_declared_errors(seed: int) -> None:
    """Any records and any size give a plan inside the file, or a declared error."""
    image = capture("7.3.4")
    node = find_node(image, "/LUO/sessions[vm-alpha]/files[0x10]")
    data = find_node(image, f"{node.path}/data")
    table = find_node(image, f"{node.path}/data/folios").table
    size = data.get("size")
    assert table is not None
    assert size is not None
    random = np.random.default_rng(seed)
    for value in (0, 1, 4095, 1 << 32, (1 << 63) + 7, (1 << 64) - 1):
        rows = random.integers(0, 1 << 64, (32, 2), np.uint64, endpoint=False)
        rows[::2] &= np.uint64(0xFFFF)
        table.records = np.frombuffer(rows.tobytes(), table.compiled.dtype)
        size.value = value
        plan = payload_plan(image, node)
        ends = plan.offset + plan.length
        assert bool((ends <= np.uint64(value)).all())
        assert bool((plan.offset[1:] >= ends[:-1]).all())
        assert plan.size == value
        if plan.size < 1 << 30:
            write_plan(plan, image.space, Hashing(None, hashlib.sha256()), "zero")
