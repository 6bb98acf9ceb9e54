"""BTF: a kernel's own layouts come back, and no section leads the reader astray."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.authoring.btf import MAX_DEPTH, MAX_MEMBERS, Btf, Member
from khotool.errors import InputError
from tests.unit.authoring.btf_builder import ARRAY, CONST, ENUM, PTR, TYPEDEF, UNION, BtfBuilder


def members(btf: BtfBuilder, name: str = "it") -> list[tuple[str, int, int, int]]:
    """Path, offset, size and element of every leaf of a struct, in bits."""
    found = Btf(btf.section()).struct(name)
    assert found is not None
    return [(leaf.path, leaf.offset, leaf.size, leaf.element) for leaf in found.members]


@pytest.mark.parametrize("order", ["<", ">"])
def test_leaves_of_every_kind(order: str) -> None:
    """Integers, pointers, enums, arrays, typedefs and embedded structs, in either byte order."""
    btf = BtfBuilder(order)
    word, byte = btf.integer(8), btf.integer(1)
    inner = btf.group("inner", 16, [("x", word, 0), ("y", btf.named(PTR, word), 64)])
    alias = btf.named(TYPEDEF, btf.named(CONST, word), "alias_t")
    choice = btf.add("choice", ENUM << 24 | 1, 4, btf.name("A"), 1)
    rows = [
        ("a", alias, 0),
        ("n", inner, 64),
        ("c", choice, 192),
        ("s", btf.array(byte, 4), 224),
        ("m", btf.array(btf.array(byte, 2), 4), 256),
        ("tail", btf.array(word, 0), 320),
    ]
    btf.group("it", 40, rows)
    found = Btf(btf.section())
    assert found.order == order
    assert sorted(found.structs) == ["inner", "it"]
    assert members(btf) == [
        ("a", 0, 64, 64),
        ("n.x", 64, 64, 64),
        ("n.y", 128, 64, 64),
        ("c", 192, 32, 32),
        ("s", 224, 32, 8),
        ("m", 256, 64, 16),
        ("tail", 320, 0, 64),
    ]


def test_bit_fields_have_their_own_width() -> None:
    """The width of a bit-field stands beside its position; other members have none."""
    btf = BtfBuilder()
    word = btf.integer(8)
    rows = [("pfn", word, 52 << 24), ("flags", word, 12 << 24 | 52), ("index", word, 64)]
    btf.group("it", 16, rows, bits=True)
    assert members(btf) == [("pfn", 0, 52, 52), ("flags", 52, 12, 12), ("index", 64, 64, 64)]


def test_unions_count_by_their_first_leaf() -> None:
    """A union is one leaf: its own name, or that of its first member where it has none."""
    btf = BtfBuilder()
    word = btf.integer(8)
    both = btf.group("", 8, [("first", word, 0), ("second", word, 0)], UNION)
    empty = btf.group("", 0, [])
    late = btf.group("", 8, [("", empty, 0), ("third", word, 0)], UNION)
    none = btf.group("", 0, [], UNION)
    rows = [("", both, 0), ("named", both, 64), ("", late, 128), ("gone", none, 192)]
    btf.group("it", 24, rows)
    assert members(btf) == [("", 0, 64, 64), ("named", 64, 64, 64), ("", 128, 64, 64)]
    found = Btf(btf.section()).struct("it")
    assert found is not None
    assert [leaf.name for leaf in found.members] == ["first", "named", "third"]


def test_structs_without_a_name_add_nothing_to_a_path() -> None:
    """Members of an anonymous struct are members of the one around it."""
    btf = BtfBuilder()
    word = btf.integer(8)
    hidden = btf.group("", 8, [("x", word, 0)])
    btf.group("it", 16, [("", hidden, 0), ("y", word, 64)])
    assert [row[0] for row in members(btf)] == ["x", "y"]


def test_first_of_two_structs_with_a_name() -> None:
    """A kernel may have a name twice; the first counts. What it has not is None."""
    btf = BtfBuilder()
    btf.group("it", 8, [])
    btf.group("it", 16, [])
    found = Btf(btf.section())
    first = found.struct("it")
    assert first is not None
    assert first.size == 8
    assert found.struct("other") is None


def test_types_that_do_not_exist_have_no_size() -> None:
    """A number behind the last type, and a circle of typedefs, are members of 0 bits."""
    btf = BtfBuilder()
    circle = btf.count + 1
    assert btf.named(TYPEDEF, circle, "circle_t") == circle
    btf.group("it", 8, [("far", 999, 0), ("round", circle, 0)])
    assert members(btf) == [("far", 0, 0, 0), ("round", 0, 0, 0)]


def test_structs_that_hold_themselves_end() -> None:
    """A struct inside itself is followed so deep, and one that doubles so far."""
    btf = BtfBuilder()
    btf.group("it", 8, [("it", btf.count + 1, 0)])
    assert members(btf) == []
    wide = BtfBuilder()
    word = wide.integer(8)
    number = wide.count + 1
    wide.group("it", 8, [("x", word, 0), ("a", number, 0), ("b", number, 0)])
    assert 1 << MAX_DEPTH - 3 < len(members(wide)) < MAX_MEMBERS
    nested = BtfBuilder()
    nested.integer(4)
    nested.group("it", 8, [("a", nested.array(nested.count + 1, 2), 0)])
    assert members(nested) == [("a", 0, 0, 0)]


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", b"\x7fELF" + bytes(60)])
def test_other_files_are_refused(data: bytes) -> None:
    """What is not BTF is refused with the command that extracts it."""
    with pytest.raises(InputError, match=re.escape("not a BTF section; extract one with objcopy")):
        Btf(data)


def test_cut_sections_are_refused() -> None:
    """A section without all of its strings, or types, is not read in part."""
    btf = BtfBuilder()
    btf.group("it", 8, [("x", btf.integer(8), 0)])
    section = btf.section()
    for length in (24, len(section) // 2, len(section) - 1):
        with pytest.raises(InputError, match="the BTF section is cut short"):
            Btf(section[:length])
    assert Btf(section).struct("it") is not None


def test_last_type_cut_is_left_out() -> None:
    """A type whose members reach behind the types' end is none."""
    btf = BtfBuilder()
    btf.group("whole", 8, [("x", btf.integer(8), 0)])
    btf.add("cut", 4 << 24 | 9, 8)
    assert list(Btf(btf.section()).structs) == ["whole"]


@given(st.data())
def test_any_bytes_are_a_section_or_an_error(data: st.DataObject) -> None:
    """A section with bytes changed is refused, or gives leaves within the limits."""
    btf = BtfBuilder(data.draw(st.sampled_from("<>")))
    inner = btf.group("inner", 8, [("x", btf.integer(8), 0)])
    btf.group("it", 24, [("a", btf.array(inner, 2), 0), ("b", inner, 128)])
    section = bytearray(btf.section())
    for _ in range(data.draw(st.integers(1, 8))):
        section[data.draw(st.integers(0, len(section) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InputError):
        found = Btf(bytes(section))
        for name in found.structs:
            layout = found.struct(name)
            assert layout is not None
            assert len(layout.members) <= MAX_MEMBERS
            assert all(isinstance(leaf, Member) and leaf.size >= 0 for leaf in layout.members)


def test_kinds_are_those_of_the_format() -> None:
    """The builder of these tests writes an array as the format has it: no size, three words."""
    btf = BtfBuilder("<")
    number = btf.array(btf.integer(1), 3)
    found = Btf(btf.section())
    assert found.head(number)[0] == ARRAY
    assert (found.bits(number), found.element(number)) == (24, 8)
    assert found.element(btf.ints[1]) == 8
    assert found.head(0) == found.head(-1) == (0, 0, 0, 0, 0)
