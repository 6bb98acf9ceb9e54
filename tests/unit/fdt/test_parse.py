from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.fdt.blob import Blob, FdtError, Node, Nop, Problem
from khotool.fdt.parse import MAX_REMARKS, check, parse
from khotool.fdt.write import build_sequential, emit, gaps
from tests.unit.fdt.made import fdt, words
from tests.unit.fdt.real_blobs import ALL, LUO_6_19, ROOT_6_19
from tests.unit.fdt.trees import flat, wild_roots

# Inputs on which other FDT libraries crash, hang or silently read something else.
UNKNOWN_TAG = (
    "d00dfeed00000066000000380000006400000028000000110000001000000000000000020000002c"
    "000000000000000000000000000000000000000100000000000000076576696c0000000000000003"
    "000000040000000078797a0000000002000000097000"
)
LENGTH_MINUS_1 = (
    "d00dfeed00000056000000380000005400000028000000110000001000000000000000020000001c"
    "00000000000000000000000000000000000000010000000000000003ffffffff0000000000000002"
    "000000097800"
)
NAME_OFFSET_MINUS_1 = (
    "d00dfeed000000580000003800000058000000280000001100000010000000000000000000000020"
    "0000000000000000000000000000000000000001000000000000000300000004ffffffff01020304"
    "0000000200000009"
)
TWO_ROOTS = (
    "d00dfeed0000006d0000003800000068000000280000001100000010000000000000000500000030"
    "00000000000000000000000000000000000000010000000000000002000000017365636f6e640000"
    "0000000300000004000000000102030400000002000000096c6f737400"
)
NO_END_NODE = (
    "d00dfeed0000005a0000003800000058000000280000001100000010000000000000000200000020"
    "00000000000000000000000000000000000000010000000000000003000000080000000001010101"
    "01010101000000096100"
)
PROPERTY_AND_NODE = (
    "d00dfeed00000066000000380000006400000028000000110000001000000000000000020000002c"
    "00000000000000000000000000000000000000010000000000000003000000040000000001000000"
    "00000001640000000000000200000002000000096400"
)
HIGH_BYTES = (
    "d00dfeed0000005a0000003800000058000000280000001100000010000000000000000200000020"
    "00000000000000000000000000000000000000010000000000000003000000030000000080818200"
    "00000002000000097000"
)
ESCAPES = (
    "d00dfeed0000005e000000380000005c000000280000001100000010000000000000000200000024"
    "00000000000000000000000000000000000000010000000000000003000000060000000061226"
    "25c6300000000000002000000097000"
)
EMPTY_ROOT = (
    "d00dfeed000000480000003800000048000000280000001100000010000000000000000000000010"
    "0000000000000000000000000000000000000001000000000000000200000009"
)


def codes(data: bytes) -> list[str]:
    return [problem.code for problem in parse(data).problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UNKNOWN_TAG, ["unknown-tag", "missing-end"]),
        (LENGTH_MINUS_1, ["truncated", "missing-end"]),
        (TWO_ROOTS, ["second-root", "missing-end"]),
        (NO_END_NODE, ["missing-end"]),
    ],
)
def test_malformed_blob_is_incomplete_with_its_problem(text: str, expected: list[str]) -> None:
    """A broken structure is reported with an offset inside the blob and never called complete."""
    data = bytes.fromhex(text)
    blob = parse(data)
    assert [problem.code for problem in blob.problems] == expected
    assert all(56 <= problem.offset <= len(data) for problem in blob.problems)
    assert not blob.complete


@pytest.mark.parametrize("text", [PROPERTY_AND_NODE, HIGH_BYTES, ESCAPES, EMPTY_ROOT])
def test_legal_blob_has_no_problem(text: str) -> None:
    """What the format allows is accepted and written back."""
    data = bytes.fromhex(text)
    blob = parse(data)
    assert (blob.problems, check(blob), blob.complete) == ([], [], True)
    assert emit(blob) == data


def test_property_with_impossible_name_offset_keeps_its_value() -> None:
    """A name offset outside the strings block loses the name and nothing else."""
    data = bytes.fromhex(NAME_OFFSET_MINUS_1)
    blob = parse(data)
    assert [problem.code for problem in blob.problems] == ["bad-offset"]
    assert blob.root is not None
    (item,) = blob.root.properties
    assert (item.name, item.recovered, item.value) == ("", True, b"\1\2\3\4")
    assert item.name_offset == 0xFFFFFFFF
    assert emit(blob) == data


def test_unknown_tag_does_not_become_a_node() -> None:
    """Nothing behind an unknown tag is read."""
    blob = parse(bytes.fromhex(UNKNOWN_TAG))
    assert blob.root is not None
    assert blob.root.items == []
    assert blob.struct_end == 0x40


@pytest.mark.parametrize("name", ALL)
def test_kernel_blob_parses_without_problem(name: str) -> None:
    """What kernels write is complete and spotless, also inside a longer page."""
    for data in (ALL[name], ALL[name] + bytes(4096 - len(ALL[name]))):
        blob = parse(memoryview(data))
        assert (blob.problems, check(blob), blob.complete) == ([], [], True)
        assert blob.data == ALL[name]


def test_offsets_point_at_what_they_name() -> None:
    """Offsets of tokens and values count from the start of the blob."""
    blob = parse(ROOT_6_19)
    assert blob.root is not None
    item = blob.root.get("preserved-memory-map")
    assert item is not None
    assert ROOT_6_19[item.tag_offset : item.tag_offset + 4] == words(3)
    assert ROOT_6_19[item.value_offset :].startswith(item.value)
    assert blob.strings[item.name_offset :].startswith(b"preserved-memory-map\0")
    child = blob.root.child("LUO")
    assert child is not None
    assert ROOT_6_19[child.tag_offset + 4 :].startswith(b"LUO\0")


@pytest.mark.parametrize("data", [ROOT_6_19, LUO_6_19])
def test_cut_blob_gives_what_is_left(data: bytes) -> None:
    """A capture cut at any length gives a prefix of the tree, and is never complete."""
    whole = parse(data)
    assert whole.root is not None
    values = [item.value for _, node in whole.root.walk() for item in node.properties]
    for size in range(len(data)):
        if size < 40:
            with pytest.raises(FdtError) as caught:
                parse(data[:size])
            assert caught.value.offset == size
            continue
        blob = parse(data[:size])
        assert not blob.complete
        assert Problem("truncated", size, f"{size} of {len(data)} bytes are present") in (
            blob.problems
        )
        if blob.root is not None:
            found = [item.value for _, node in blob.root.walk() for item in node.properties]
            assert found == values[: len(found)]
        with pytest.raises(FdtError):
            emit(blob)


def test_blob_without_strings_keeps_values() -> None:
    """With the strings block cut off every property is there without a name."""
    blob = parse(ROOT_6_19[:224])
    assert blob.root is not None
    assert "strings-missing" in [problem.code for problem in blob.problems]
    assert [child.name for child in blob.root.children] == ["memblock", "LUO", "kho_test"]
    items = [item for _, node in blob.root.walk() for item in node.properties]
    assert len(items) == 5
    assert all(item.recovered and item.name == "" for item in items)
    assert items[0].value == b"kho-v1\0"
    assert blob.root.get("") is None


def test_152_of_260_bytes() -> None:
    """A root tree cut inside the structure block keeps the nodes that came before."""
    blob = parse(ROOT_6_19[:152])
    assert blob.root is not None
    assert [child.name for child in blob.root.children] == ["memblock", "LUO"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (fdt(words(9)), ["no-root"]),
        (fdt(words(2, 9)), ["unbalanced", "missing-end", "no-root"]),
        (fdt(words(3, 0, 0, 1, 0, 2, 9)), ["property-outside-node"]),
        (fdt(words(1, 0, 2)), ["missing-end"]),
        (fdt(words(1, 0, 2, 9, 5)), ["data-after-end"]),
        (fdt(words(1, 0x61000000, 2, 9)), ["named-root"]),
        (fdt(words(1, 0, 1, 0, 2, 2, 9)), ["name-empty"]),
        (fdt(words(1, 0, 1, 0x612F6200, 2, 2, 9)), ["slash-in-name"]),
        (fdt(words(1, 0, 1, 0x61E96200, 2, 2, 9)), ["name-not-ascii"]),
        (fdt(words(1, 0, 1, 0x61000000, 2, 3, 0, 0, 2, 9)), ["property-after-node"]),
        (fdt(words(1, 0, 3, 0, 0, 3, 0, 0, 2, 9)), ["duplicate-property"]),
        (fdt(words(1, 0) + words(1, 0x61000000, 2) * 2 + words(2, 9)), ["duplicate-node"]),
        (fdt(words(1, 0, 2, 9), off_dt_struct=4096), ["bad-offset"]),
        (fdt(words(1, 0, 2, 9), off_dt_strings=8), ["bad-offset"]),
        (fdt(words(1, 0, 2, 9), off_mem_rsvmap=4096), ["bad-offset"]),
        (fdt(words(1, 0, 2, 9), off_mem_rsvmap=0), ["bad-offset"]),
        (fdt(words(1, 0, 2, 9), totalsize=0), ["bad-totalsize"]),
        (fdt(words(1, 0, 2, 9), totalsize=0xFFFFFFFF), ["truncated"]),
        (fdt(words(1, 0, 2, 9), size_dt_struct=4096), ["size-beyond-file"]),
        (fdt(words(1, 0, 2, 9), size_dt_strings=4096), ["size-beyond-file"]),
        (fdt(words(1, 0, 2, 9), size_dt_struct=8), ["missing-end"]),
        (fdt(words(1, 0, 2, 9), off_dt_strings=60), ["strings-overlap-struct"]),
        (fdt(words(1, 0, 2, 9), version=3), ["version"]),
        (fdt(words(1, 0, 2, 9), version=2, off_dt_strings=0xFFFFFFFF), ["strings-missing"]),
        (fdt(words(1, 0x61616161)), ["truncated", "missing-end", "no-root"]),
    ],
)
def test_each_problem_has_its_code(data: bytes, expected: list[str]) -> None:
    """Every kind of damage has a code of its own."""
    found = codes(data)
    assert [code for code in expected if code not in found] == []


def test_nops_outside_the_root_are_kept() -> None:
    """NOPs are part of the model wherever they stand."""
    data = fdt(words(4, 4, 1, 0, 4, 2, 4, 9))
    blob = parse(data)
    assert (blob.nops_before, blob.nops_after, blob.problems) == (2, 1, [])
    assert blob.root is not None
    assert blob.root.items == [Nop(72)]
    assert emit(blob) == data


def test_reservations_are_read_up_to_the_terminator() -> None:
    """Reservations are big-endian pairs; without a terminator the blob is incomplete."""
    data = bytearray(fdt(bytes(16) + words(1, 0, 2, 9), off_dt_struct=72))
    data[40:56] = struct.pack(">QQ", 0x1000, 0x20)
    struct.pack_into(">I", data, 36, 16)
    blob = parse(data)
    assert (blob.reservations, blob.problems, blob.complete) == ([(0x1000, 0x20)], [], True)
    assert emit(blob) == bytes(data)
    data[56:72] = struct.pack(">QQ", 1, 1)
    assert not parse(bytes(data)).complete


def test_limits_stop_the_walk() -> None:
    """Depth, tokens and names are bounded, and reaching a bound is a problem."""
    deep = fdt(words(1, 0) * 100 + words(2) * 100 + words(9))
    assert "depth" in codes(deep)
    assert not parse(deep).complete
    assert parse(deep, max_depth=100).complete
    assert "limit" in [problem.code for problem in parse(deep, max_tokens=50).problems]
    long = fdt(words(1, 0, 1) + b"n" * 299 + b"\0" + words(2, 3, 0, 0, 2, 9), b"p" * 299 + b"\0")
    blob = parse(long)
    assert [p.code for p in blob.problems if p.code == "name-too-long"] == ["name-too-long"] * 2
    assert blob.root is not None
    assert [len(child.name) for child in blob.root.children] == [256]
    assert [len(item.name) for item in blob.root.properties] == [256]
    assert parse(long, max_name=300).complete


def test_names_that_share_one_long_string_do_not_amplify() -> None:
    """Names pointing into one string cost at most 256 bytes each, and the report is bounded."""
    count = 4000
    structure = words(1, 0) + b"".join(words(3, 0, i) for i in range(count)) + words(2, 9)
    blob = parse(fdt(structure, b"x" * 60000 + b"\0"))
    assert blob.root is not None
    assert sum(len(item.name) for item in blob.root.properties) <= 256 * count
    assert len(blob.problems) == MAX_REMARKS + 1
    assert blob.problems[-1].text == f"{2 * count - 1 - MAX_REMARKS} more problems are not listed"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"version": 1, "last_comp_version": 1}, "-FDT_ERR_BADVERSION"),
        ({"last_comp_version": 18, "version": 18}, "-FDT_ERR_BADVERSION"),
        ({"version": 15}, "-FDT_ERR_BADVERSION"),
        ({"totalsize": 39}, "-FDT_ERR_TRUNCATED"),
        ({"totalsize": 0x80000000}, "-FDT_ERR_TRUNCATED"),
        ({"off_mem_rsvmap": 44}, "-FDT_ERR_ALIGNMENT"),
        ({"off_mem_rsvmap": 8192}, "-FDT_ERR_TRUNCATED"),
        ({"off_dt_struct": 58}, "-FDT_ERR_ALIGNMENT"),
        ({"size_dt_struct": 0xFFFFFFFF}, "-FDT_ERR_TRUNCATED"),
        ({"off_dt_strings": 0}, "-FDT_ERR_TRUNCATED"),
        ({"size_dt_strings": 3}, "-FDT_ERR_TRUNCATED"),
    ],
)
def test_check_answers_as_libfdt(field: dict[str, int], expected: str) -> None:
    """Each header test of fdt_check_header fails under libfdt's name."""
    found = check(parse(fdt(words(1, 0, 2, 9), b"a\0", **field)))
    assert expected in [problem.text.split(":")[0] for problem in found]


def test_not_an_fdt() -> None:
    """Only a short header or another magic is no FDT at all."""
    with pytest.raises(FdtError, match="40-byte"):
        parse(b"\xd0\x0d\xfe\xed")
    with pytest.raises(FdtError, match="magic"):
        parse(bytes(64))
    with pytest.raises(ValueError, match="offset 0x0"):
        parse(bytes(64))


@given(wild_roots)
def test_parse_gives_back_what_was_built(root: Node) -> None:
    """Any tree that can be written is read back equal, with nothing between the blocks."""
    data = build_sequential(root)
    blob = parse(data)
    assert blob.complete
    assert flat(blob.root) == flat(root)
    assert gaps(blob) == []
    assert emit(blob) == data


_edits = st.lists(
    st.tuples(
        st.integers(0, 10_000), st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 3, 9]))
    ),
    min_size=1,
    max_size=6,
)


@given(st.sampled_from(sorted(ALL)), _edits)
def test_mutated_blob_is_read_or_refused(name: str, edits: list[tuple[int, int]]) -> None:
    """Damage never raises anything but FdtError, and what is complete is written back exactly."""
    data = bytearray(ALL[name])
    for offset, byte in edits:
        data[offset % len(data)] = byte
    try:
        blob = parse(data)
    except FdtError:
        assert data[:4] != b"\xd0\x0d\xfe\xed"
        return
    check(blob)
    if blob.complete:
        assert emit(blob, gaps(blob)) == bytes(data[: blob.totalsize])


@given(st.sampled_from(range(4, 40, 4)), st.integers(0, 600) | st.integers(0, 2**32 - 1))
def test_any_header_word(offset: int, value: int) -> None:
    """Any value in any header word is read or reported, also when blocks then overlap."""
    data = bytearray(ROOT_6_19)
    struct.pack_into(">I", data, offset, value)
    blob = parse(data)
    check(blob)
    if blob.complete:
        assert emit(blob, gaps(blob)) == bytes(data[: blob.totalsize])


@given(st.binary(max_size=400))
def test_garbage_after_a_magic(tail: bytes) -> None:
    """Arbitrary bytes behind the magic end in a blob or in FdtError."""
    data = b"\xd0\x0d\xfe\xed" + tail
    if len(data) < 40:
        with pytest.raises(FdtError):
            parse(data)
    else:
        parse(data)


DTS = """/dts-v1/;
/memreserve/ 0x1000 0x2000;
/ {
    compatible = "a", "b";
    x = <1 2>;
    y = "z";
    empty;
    node@1 {
        w = [01 02 03 04 05 06 07 08 09];
        sub { v = <3>; q = "12345678"; deep { r = <1 2 3>; }; };
        after { s = "x"; };
    };
};
"""


@pytest.mark.skipif(shutil.which("dtc") is None, reason="dtc is not installed")
@pytest.mark.parametrize("version", [1, 2, 3, 16])
def test_old_versions_are_read_as_libfdt_reads_them(version: int, tmp_path: Path) -> None:
    """Before version 16 names are paths and long values are aligned; dtc adds "name"."""

    def compiled(number: int) -> Blob:
        path = tmp_path / f"v{number}.dtb"
        subprocess.run(
            ["dtc", "-q", "-V", str(number), "-O", "dtb", "-o", str(path), "-"],
            input=DTS.encode(),
            check=True,
        )
        return parse(path.read_bytes())

    def content(blob: Blob) -> list[tuple[int, str, list[tuple[str, bytes]]]]:
        assert blob.root is not None
        return [
            (depth, node.name, [(p.name, p.value) for p in node.properties if p.name != "name"])
            for depth, node in blob.root.walk()
        ]

    old, new = compiled(version), compiled(17)
    assert old.version == version
    assert content(old) == content(new)
    assert old.reservations == new.reservations
    assert {problem.code for problem in old.problems} <= {"version"}
    if version < 16:
        assert [p.value for p in old.root.properties if p.name == "name"] == [b"\0"]  # type: ignore[union-attr]
