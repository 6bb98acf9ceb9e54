"""Mapped files: holes are not read, and memory goes back after use."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from khotool.memory.mapped import Mapping, give_back, map_for_reading, mapping_of, row_releaser
from khotool.memory.source import open_source
from khotool.memory.space import AddressSpace

MIB = 1 << 20
PAGE = 4096


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """A file of 16 MiB: a page, a hole, a page at 8 MiB, and a hole to the end."""
    path = tmp_path / "memory.raw"
    with open(path, "wb") as file:
        file.write(b"A" * PAGE)
        file.seek(8 * MIB)
        file.write(b"B" * PAGE)
        file.truncate(16 * MIB)
    return path


def holes_of(path: Path) -> Mapping:
    with open(path, "rb") as file:
        found = map_for_reading(file)
    if not found.holes:
        pytest.skip("this file system does not tell holes")
    return found


def test_holes_are_known(sparse: Path) -> None:
    """Large holes are listed, and the next one is found from any place."""
    found = holes_of(sparse)

    (first, second) = found.holes
    assert first[1] == 8 * MIB
    assert second[1] == 16 * MIB
    assert found.next_hole(0) == first
    assert found.next_hole(9 * MIB) == second
    assert found.next_hole(16 * MIB) == (16 * MIB, 16 * MIB)


def test_words_of_holes_are_zeros_that_nobody_read(sparse: Path) -> None:
    """A scan sees every page once, in order; those in holes without touching the file."""
    holes_of(sparse)
    space = open_source(sparse, base=0)
    assert isinstance(space, AddressSpace)

    seen = np.concatenate([np.asarray(w)[:, 0] for _, w in space.first_words(PAGE)])

    assert len(seen) == 16 * MIB // PAGE
    assert np.flatnonzero(seen).tolist() == [0, 8 * MIB // PAGE]


def test_the_next_data_is_behind_a_hole(sparse: Path) -> None:
    """Inside a hole the next bytes are at its end; elsewhere, and outside, where one is."""
    holes_of(sparse)
    space = open_source(sparse, base=0)
    assert isinstance(space, AddressSpace)

    assert space.next_data(4 * MIB) == 8 * MIB
    assert space.next_data(8 * MIB) == 8 * MIB
    assert space.next_data(0) == 0
    assert space.next_data(32 * MIB) == 32 * MIB


def test_a_platform_that_does_not_tell_holes(sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SEEK_HOLE all of a file counts as data."""
    monkeypatch.delattr("os.SEEK_HOLE")
    with open(sparse, "rb") as file:
        assert map_for_reading(file).holes == ()


def test_rows_of_a_mapped_array_are_given_back(sparse: Path) -> None:
    """Rows of an array that views a file can be given back, and read again."""
    with open(sparse, "rb") as file:
        found = map_for_reading(file)
    words = np.frombuffer(found, "<u8")

    release = row_releaser(words)

    assert release is not None
    assert words[0]
    release(0, len(words))
    assert words[0]
    assert mapping_of(memoryview(found)) is found


def test_other_arrays_have_nothing_to_give_back(sparse: Path) -> None:
    """Arrays in memory, short ones, and those that run backwards stay."""
    with open(sparse, "rb") as file:
        found = map_for_reading(file)
    words = np.frombuffer(found, "<u8")

    assert row_releaser(np.zeros(1 << 20)) is None
    assert row_releaser(words[:8]) is None
    assert row_releaser(words[::-1]) is None
    assert mapping_of(b"bytes") is None


def test_giving_back_does_no_harm(sparse: Path) -> None:
    """Nothing to give, too little of it, or a place outside the file changes nothing."""
    with open(sparse, "rb") as file:
        found = map_for_reading(file)

    give_back(None, 0, PAGE)
    give_back(found, 0, mmap.PAGESIZE - 1)
    give_back(found, 32 * MIB, PAGE)

    assert found[:1] == b"A"
