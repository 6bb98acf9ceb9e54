from __future__ import annotations

import pytest

from khotool.maps.preserved import KEPT_PROBLEMS, MapPages, PageKind, ProblemLog


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 600])
def test_a_log_counts_all_and_keeps_some(count: int) -> None:
    """256 problems of a code are kept, in order, however they come; all are counted."""
    assert KEPT_PROBLEMS == 256
    single, many, both = ProblemLog(), ProblemLog(), ProblemLog()
    for index in range(count):
        single.add("a", index, f"message {index}")
    many.add_many("a", count, lambda i: (i, f"message {i}"))
    half = count // 2
    both.add_many("a", half, lambda i: (i, f"message {i}"))
    both.add_many("a", count - half, lambda i: (half + i, f"message {half + i}"))
    for log in (single, many, both):
        assert log.counts == ({"a": count} if count else {})
        shown = [(kept.code, kept.address, kept.text) for kept in log.kept]
        assert shown == [("a", i, f"message {i}") for i in range(min(count, 256))]


def test_a_full_code_leaves_room_for_others() -> None:
    """Each code has a room of its own."""
    log = ProblemLog()
    log.add_many("a", 300, lambda i: (i, ""))
    log.add_many("a", 1, lambda i: (i, ""))
    log.add("b", 1, "")
    assert (log.counts, len(log.kept)) == ({"a": 301, "b": 1}, 257)


def test_no_pages() -> None:
    """An empty table has columns of no rows, of the types that every table has."""
    empty = MapPages.empty()
    assert len(empty) == 0
    names = ("address", "kind", "level", "prefix", "parent", "size")
    assert [getattr(empty, name).size for name in names] == [0] * 6
    assert [getattr(empty, name).dtype.name for name in names] == [
        "uint64",
        "uint8",
        "uint8",
        "uint64",
        "int64",
        "uint32",
    ]


def test_kinds_keep_their_numbers() -> None:
    """What the column of kinds holds."""
    assert [kind.value for kind in PageKind] == list(range(len(PageKind)))
    assert [kind.name for kind in PageKind][:4] == ["INTERIOR", "LEAF", "CHUNK", "BITMAP"]


def test_every_kind_of_page_is_another() -> None:
    """No two kinds share a number, and interior nodes have 0, as a fresh column has."""
    assert [(kind.name, kind.value) for kind in PageKind] == [
        ("INTERIOR", 0),
        ("LEAF", 1),
        ("CHUNK", 2),
        ("BITMAP", 3),
        ("TABLE", 4),
    ]
