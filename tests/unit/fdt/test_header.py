from __future__ import annotations

from dataclasses import replace

import pytest

from khotool.fdt.parse import check, parse
from tests.unit.fdt.made import ROOT, fdt, words

BADVERSION, TRUNCATED, ALIGNMENT = "badversion", "truncated", "alignment"


def blocks_at_40(**header: int) -> bytes:
    """A header that promises nothing behind it."""
    fields = dict.fromkeys(("off_mem_rsvmap", "off_dt_struct", "off_dt_strings", "totalsize"), 40)
    fields |= dict.fromkeys(("size_dt_struct", "size_dt_strings"), 0)
    return fdt(ROOT, b"a\0", **(fields | header))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (fdt(), []),
        (fdt(version=1, last_comp_version=1), [(BADVERSION, 20, "version 1 is older than 2")]),
        (fdt(version=2, last_comp_version=2), []),
        (fdt(version=16), []),
        (fdt(version=15), [(BADVERSION, 24, "version 15 is below last_comp_version 16")]),
        (fdt(version=18, last_comp_version=17), []),
        (
            fdt(version=18, last_comp_version=18),
            [(BADVERSION, 24, "last_comp_version 18 is above 17")],
        ),
        (blocks_at_40(), []),
        (
            blocks_at_40(totalsize=39),
            [
                (TRUNCATED, 4, "totalsize 39 is not between 40 and 2^31-1"),
                (TRUNCATED, 16, "off_mem_rsvmap 40..40 is not inside 40..39"),
                (TRUNCATED, 8, "dt_struct 40..40 is not inside 40..39"),
                (TRUNCATED, 12, "dt_strings 40..40 is not inside 40..39"),
            ],
        ),
        (fdt(totalsize=0x7FFFFFFF), []),
        (
            fdt(totalsize=0x80000000),
            [(TRUNCATED, 4, "totalsize 2147483648 is not between 40 and 2^31-1")],
        ),
        (
            fdt(off_mem_rsvmap=44),
            [(ALIGNMENT, 16, "off_mem_rsvmap 44 is not a multiple of 8")],
        ),
        (
            fdt(off_mem_rsvmap=80),
            [(TRUNCATED, 16, "off_mem_rsvmap 80..80 is not inside 40..74")],
        ),
        (fdt(off_dt_struct=58), [(ALIGNMENT, 8, "off_dt_struct 58 is not a multiple of 4")]),
        (fdt(size_dt_struct=18), []),
        (fdt(size_dt_struct=19), [(TRUNCATED, 8, "dt_struct 56..75 is not inside 40..74")]),
        (fdt(size_dt_struct=19, version=16), []),
        (fdt(off_dt_struct=36, version=16), []),
        (fdt(off_dt_struct=76, totalsize=76, version=16), []),
        (
            fdt(off_dt_struct=76, totalsize=75, version=16),
            [(TRUNCATED, 8, "dt_struct 76..76 is not inside 36..75")],
        ),
        (
            fdt(off_dt_struct=36, size_dt_struct=9),
            [(TRUNCATED, 8, "dt_struct 36..45 is not inside 40..74")],
        ),
        (fdt(off_dt_strings=39), [(TRUNCATED, 12, "dt_strings 39..41 is not inside 40..74")]),
        (fdt(size_dt_strings=3), [(TRUNCATED, 12, "dt_strings 72..75 is not inside 40..74")]),
    ],
)
def test_header_fails_where_libfdt_fails(data: bytes, expected: list[tuple[str, int, str]]) -> None:
    """Every test of fdt_check_header holds up to its bound and names its header field."""
    found = [(problem.code, problem.offset, problem.text) for problem in check(parse(data))]
    assert found == [
        (f"libfdt-{error}", offset, f"-FDT_ERR_{error.upper()}: {message}")
        for error, offset, message in expected
    ]


@pytest.mark.parametrize(
    ("version", "size"), [(0, 28), (1, 28), (2, 32), (3, 36), (16, 36), (17, 40), (18, 40)]
)
def test_header_grew_with_its_version(version: int, size: int) -> None:
    """The header has the fields that its version brought."""
    assert parse(fdt(version=version)).header_size == size


def test_another_magic_has_the_name_of_libfdt() -> None:
    """A damaged root that was found without its magic fails the first test; no data fails none."""
    blob = parse(fdt())
    (problem,) = check(replace(blob, data=words(0xD00DFEEE) + blob.data[4:]))
    assert (problem.code, problem.offset) == ("libfdt-badmagic", 0)
    assert problem.text == "-FDT_ERR_BADMAGIC: magic is 0xd00dfeee"
    assert check(replace(blob, data=b"")) == []
