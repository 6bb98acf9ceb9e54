from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.errors import InputError
from khotool.extract.plan import Plan, merge
from khotool.extract.sparse import Hashing, SparseFile, Stream
from khotool.extract.write import PATTERN, MissingError, write_plan
from khotool.memory.source import open_source
from khotool.memory.space import AddressSpace

BASE = 0x1000
MEMORY = bytes(range(1, 252)) * 20


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> AddressSpace:
    path = tmp_path_factory.mktemp("sparse") / "memory.bin"
    path.write_bytes(MEMORY)
    source = open_source(path, base=BASE)
    assert isinstance(source, AddressSpace)
    return source


def make(pieces: list[tuple[int, int, int]], tail: int) -> Plan:
    """Pieces are (gap before, address, length)."""
    offset, rows = 0, []
    for gap, address, length in pieces:
        offset += gap
        rows.append((offset, address, length))
        offset += length
    columns = [np.array([row[i] for row in rows], np.uint64) for i in range(3)]
    return Plan("/x", "record", offset + tail, *merge(*columns))


def naive(plan: Plan, fill: str | None) -> tuple[bytes, list[int]]:
    """Byte by byte: what the file holds, and the offsets that are missing."""
    out = bytearray(plan.size)
    missing = []
    for offset, address, length in zip(
        plan.offset.tolist(), plan.address.tolist(), plan.length.tolist(), strict=True
    ):
        for i in range(length):
            where = address + i - BASE
            if 0 <= where < len(MEMORY):
                out[offset + i] = MEMORY[where]
            else:
                missing.append(offset + i)
                if fill == "pattern":
                    out[offset + i] = PATTERN[(offset + i) % len(PATTERN)]
    return bytes(out), missing


PIECES = st.lists(
    st.tuples(
        st.integers(0, 50),
        st.integers(BASE - 100, BASE + len(MEMORY) + 100),
        st.integers(0, 700),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(PIECES, st.integers(0, 40), st.sampled_from(["zero", "pattern", None]))
def test_writers_agree_with_a_byte_by_byte_copy(
    space: AddressSpace,
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[tuple[int, int, int]],
    tail: int,
    fill: str | None,
) -> None:
    """File, pipe and hash hold what a naive copy gives; missing offsets are the same."""
    plan = make(pieces, tail)
    expected, missing = naive(plan, fill)
    found = [i for low, high in plan.missing(space.extents()).tolist() for i in range(low, high)]
    assert found == missing
    path = tmp_path_factory.getbasetemp() / "out.bin"
    with path.open("wb") as file:
        if fill is None and missing:
            with pytest.raises(MissingError):
                write_plan(plan, space, SparseFile(file.fileno()))
            return
        done = write_plan(plan, space, SparseFile(file.fileno()), fill)
    assert path.read_bytes() == expected
    assert (done.missing, done.size) == (len(missing), plan.size)
    assert done.data + done.holes + done.missing == plan.size
    with path.open("wb") as file:
        write_plan(plan, space, Stream(file.fileno()), fill)
    assert path.read_bytes() == expected


def test_holes_take_no_space(space: AddressSpace, tmp_path: Path) -> None:
    """A gigabyte of hole takes no blocks of the disk."""
    plan = make([(1 << 30, BASE, 4096)], 1 << 30)
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        write_plan(plan, space, SparseFile(file.fileno()))
    assert path.stat().st_size == (2 << 30) + 4096
    assert path.stat().st_blocks * 512 < 1 << 20


def test_absurd_sizes_are_refused(space: AddressSpace, tmp_path: Path) -> None:
    """A file that claims 2**64 - 1 bytes is an error at once, whatever it is written to."""
    plan = make([], (1 << 64) - 1)
    with (tmp_path / "x").open("wb") as file:
        with pytest.raises(InputError, match="cannot be made"):
            write_plan(plan, space, SparseFile(file.fileno()))
        with pytest.raises(InputError, match="hole"):
            write_plan(plan, space, Stream(file.fileno()))
    import hashlib

    sink = Hashing(None, hashlib.sha256())
    write_plan(plan, space, sink)
    assert sink.hexdigest() is None


def test_stream_takes_short_writes() -> None:
    """A pipe that takes a little at a time gets every byte."""
    import threading

    low, high = os.pipe()
    data = os.urandom(300_000)
    got = bytearray()

    def read() -> None:
        while part := os.read(low, 777):
            got.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    Stream(high).data([data[i : i + 1001] for i in range(0, len(data), 1001)])
    os.close(high)
    reader.join()
    os.close(low)
    assert bytes(got) == data
