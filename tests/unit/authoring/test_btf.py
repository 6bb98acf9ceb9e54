"""BTF: a kernel's own layouts come back, and no section leads the reader astray."""

from __future__ import annotations

import re
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.authoring import btf as module
from khotool.authoring.btf import MAX_DEPTH, MAX_MEMBERS, MAX_NAME, MAX_TYPES, Btf, Member
from khotool.errors import InputError
from tests.unit.authoring.btf_builder import (
    ARRAY,
    CONST,
    ENUM,
    PTR,
    STRUCT,
    TYPEDEF,
    UNION,
    BtfBuilder,
)


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


FLOAT, ENUM64 = 16, 19


def section(
    types: bytes, strings: bytes, *, header: int = 24, gap: int = 0, strings_first: bool = False
) -> bytes:
    """A section with its blocks where the caller wants them."""
    at_types, at_strings = gap, gap + len(types) + gap
    if strings_first:
        at_strings, at_types = gap, gap + len(strings) + gap
    body = bytearray(b"\xff" * (max(at_types + len(types), at_strings + len(strings)) + gap))
    body[at_types : at_types + len(types)] = types
    body[at_strings : at_strings + len(strings)] = strings
    words = (header, at_types, len(types), at_strings, len(strings))
    return struct.pack("<HBB5I", 0xEB9F, 1, 0, *words).ljust(header, b"\xff") + bytes(body)


def one_struct() -> bytes:
    """An integer, and a struct ``it`` of one member ``a``; names at 1 and 4."""
    types = struct.pack("<4I", 0, 1 << 24, 8, 64)
    return types + struct.pack("<6I", 1, STRUCT << 24 | 1, 8, 4, 1, 0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_header_has_24_bytes(order: str) -> None:
    """A section of no types and no names is one; less than a header is none."""
    head = struct.pack(f"{order}HBB5I", 0xEB9F, 1, 0, 24, 0, 0, 0, 0)
    assert Btf(head).structs == {}
    for length in range(24):
        with pytest.raises(InputError, match="not a BTF section"):
            Btf(head[:length])


@pytest.mark.parametrize("header", [24, 32])
@pytest.mark.parametrize("gap", [0, 4, 40])
@pytest.mark.parametrize("strings_first", [False, True])
def test_blocks_lie_where_the_header_says(header: int, gap: int, strings_first: bool) -> None:
    """Types and strings count from the end of the header, in either order, with room between."""
    strings = b"\0it\0a\0"
    data = section(one_struct(), strings, header=header, gap=gap, strings_first=strings_first)
    found = Btf(data)
    assert (list(found.structs), found.strings) == (["it"], strings)
    layout = found.struct("it")
    assert layout is not None
    assert [(leaf.name, leaf.path, leaf.size) for leaf in layout.members] == [("a", "a", 64)]
    with pytest.raises(InputError, match="cut short"):
        Btf(data[: len(data) - gap - 1])


def test_names_end_with_the_strings() -> None:
    """A name without a NUL ends where the strings do, and a long one at 512 bytes."""
    data = section(one_struct(), b"\0it\0abc", gap=4)
    layout = Btf(data).struct("it")
    assert layout is not None
    assert layout.members[0].name == "abc"
    name = b"n" * MAX_NAME
    assert Btf(section(b"", b"\0" + name + b"\0")).string(1) == name.decode()
    assert Btf(section(b"", b"\0" + name + b"n\0")).string(1) == name.decode()


def test_first_and_last_type() -> None:
    """Types count from 1; 0 and numbers behind the last are void and have no head."""
    found = Btf(section(one_struct(), b"\0it\0a\0"))
    assert [found.string_of(number) for number in (-1, 0, 1, 2, 3)] == [
        "void",
        "void",
        "",
        "it",
        "void",
    ]
    assert [found.head(number)[0] for number in (-1, 0, 1, 2, 3)] == [0, 0, 1, STRUCT, 0]
    assert found.head(3) == (0, 0, 0, 0, 0)


def test_a_head_has_a_flag_in_its_highest_bit() -> None:
    """Bit 31 is the flag; bits between it and the kind are not looked at."""
    for info, flag in ((STRUCT << 24 | 1 << 31, 1), (STRUCT << 24 | 3 << 29, 0)):
        found = Btf(section(struct.pack("<3I", 1, info, 0), b"\0it\0"))
        assert found.head(1)[:3] == (STRUCT, 0, flag)


def test_a_type_of_twelve_bytes_may_be_the_last() -> None:
    """Three words are a type; fewer bytes behind it are none."""
    types = struct.pack("<3I", 1, STRUCT << 24, 0)
    for more in (b"", bytes(11)):
        assert list(Btf(section(types + more, b"\0it\0")).structs) == ["it"]
    assert list(Btf(section(types * 2, b"\0it\0")).offsets) == [0, 0, 12]


def test_no_more_types_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many types as allowed are read, the void type included."""
    assert MAX_TYPES == 4_000_000
    monkeypatch.setattr(module, "MAX_TYPES", 3)
    types = struct.pack("<3I", 1, STRUCT << 24, 0) + struct.pack("<3I", 4, STRUCT << 24, 0)
    types += struct.pack("<3I", 6, STRUCT << 24, 0)
    assert list(Btf(section(types, b"\0it\0a\0b\0")).structs) == ["it", "a"]


@pytest.mark.parametrize(("kind", "bits"), [(FLOAT, 64), (ENUM64, 64), (17, 0), (12, 0)])
def test_sizes_of_other_kinds(kind: int, bits: int) -> None:
    """Floating point and wide enumerations have a size; declarations have none."""
    types = struct.pack("<3I", 0, kind << 24, 8) + (bytes(4) if kind == 17 else b"")
    assert Btf(section(types, b"\0")).bits(1) == bits


def test_paths_of_nested_leaves() -> None:
    """A path has the names of all structs around a leaf that have one."""
    btf = BtfBuilder()
    word = btf.integer(8)
    inner = btf.group("", 8, [("x", word, 0)])
    nameless = btf.group("", 8, [("", inner, 0)])
    pair = btf.group("", 8, [("first", word, 0), ("other", word, 0)], UNION)
    rows = [("", nameless, 0), ("a", nameless, 64), ("", pair, 128), ("b", pair, 192)]
    btf.group("it", 40, [*rows, ("", word, 256)])
    found = Btf(btf.section()).struct("it")
    assert found is not None
    assert [(leaf.name, leaf.path, leaf.offset) for leaf in found.members] == [
        ("x", "x", 0),
        ("x", "a.x", 64),
        ("first", "", 128),
        ("b", "b", 192),
        ("", "", 256),
    ]


def test_all_structs_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members count against one limit; a struct is flattened once, however often it is asked."""
    monkeypatch.setattr(module, "ALL_MEMBERS", 5)
    btf = BtfBuilder()
    word = btf.integer(8)
    for name in ("one", "two", "three"):
        btf.group(name, 16, [("x", word, 0), ("y", word, 64)])
    found = Btf(btf.section())
    first = found.struct("one")
    assert first is not None
    assert found.struct("one") is first
    sizes = []
    for name in ("one", "two", "three", "three"):
        layout = found.struct(name)
        assert layout is not None
        sizes.append(len(layout.members))
    assert sizes == [2, 2, 1, 1]


KINDS = {
    "VOLATILE": (9, 0),
    "CONST": (10, 0),
    "RESTRICT": (11, 0),
    "FUNC": (12, 0),
    "FUNC_PROTO": (13, 2 * 8),
    "VAR": (14, 4),
    "DATASEC": (15, 2 * 12),
    "FLOAT": (16, 0),
    "DECL_TAG": (17, 4),
    "TYPE_TAG": (18, 0),
    "ENUM64": (19, 2 * 12),
    "INT": (1, 4),
    "PTR": (2, 0),
    "ARRAY": (3, 12),
    "STRUCT": (4, 2 * 12),
    "UNION": (5, 2 * 12),
    "ENUM": (6, 2 * 8),
    "FWD": (7, 0),
    "TYPEDEF": (8, 0),
}
"""Number of each kind of type, and bytes behind the head of one with two members."""


@pytest.mark.parametrize("kind", KINDS)
def test_types_of_every_kind_are_passed_over(kind: str) -> None:
    """The type behind one of any kind is found, for each is as long as its kind says."""
    number, size = KINDS[kind]
    other = struct.pack("<3I", 0, number << 24 | 2, 8) + bytes(size)
    found = Btf(section(one_struct() + other + one_struct(), b"\0it\0a\0"))
    assert [found.head(at)[0] for at in range(1, 7)] == [1, STRUCT, number, 1, STRUCT, 0]


@pytest.mark.parametrize("kind", ["TYPEDEF", "VOLATILE", "CONST", "RESTRICT", "TYPE_TAG"])
def test_what_stands_before_a_type_is_passed_over(kind: str) -> None:
    """A typedef or a qualifier has the size of what it stands for; a struct in it is opened."""
    b = BtfBuilder()
    inner = b.group("in", 8, [("a", b.integer(4), 0), ("b", b.integer(4), 32)])
    b.group(
        "it",
        16,
        [
            ("s", b.named(KINDS[kind][0], inner), 0),
            ("n", b.named(KINDS[kind][0], b.integer(8)), 64),
        ],
    )
    layout = Btf(b.section()).struct("it")
    assert layout is not None
    assert [(leaf.path, leaf.offset, leaf.size) for leaf in layout.members] == [
        ("s.a", 0, 32),
        ("s.b", 32, 32),
        ("n", 64, 64),
    ]


def test_structs_without_a_name_are_not_listed() -> None:
    """Only what can be asked for by a name is."""
    b = BtfBuilder()
    b.group("", 4, [("a", b.integer(4), 0)])
    b.group("it", 4, [("a", b.integer(4), 0)])
    assert list(Btf(b.section()).structs) == ["it"]


def test_bit_fields_begin_at_any_bit() -> None:
    """An offset has 24 bits where a width stands above it."""
    b = BtfBuilder()
    word = b.integer(4)
    rows = [("a", word, 3 << 24), ("b", word, 5 << 24 | 3), ("c", word, 1 << 24 | 0xFFFFFF)]
    b.group("it", 4, rows, bits=True)
    layout = Btf(b.section()).struct("it")
    assert layout is not None
    assert [(leaf.offset, leaf.size, leaf.element) for leaf in layout.members] == [
        (0, 3, 3),
        (3, 5, 5),
        (0xFFFFFF, 1, 1),
    ]


@pytest.mark.parametrize(("levels", "size"), [(MAX_DEPTH, 32), (MAX_DEPTH + 1, 0)])
def test_arrays_of_arrays_end(levels: int, size: int) -> None:
    """Arrays are followed 16 deep; deeper ones have no size."""
    b = BtfBuilder()
    kind = b.integer(4)
    for _ in range(levels):
        kind = b.array(kind, 1)
    assert Btf(b.section()).bits(kind) == size


@pytest.mark.parametrize(("levels", "leaves"), [(MAX_DEPTH, 1), (MAX_DEPTH + 1, 0)])
@pytest.mark.parametrize("kind", [STRUCT, UNION])
def test_structs_in_structs_end(kind: int, levels: int, leaves: int) -> None:
    """So are structs and unions; what is deeper has no leaves."""
    b = BtfBuilder()
    inner = b.integer(4)
    for _ in range(levels):
        inner = b.group("", 4, [("", inner, 0)], kind)
    b.group("it", 4, [("a", inner, 0)])
    layout = Btf(b.section()).struct("it")
    assert layout is not None
    assert len(layout.members) == leaves


def test_split_btf_of_a_module() -> None:
    """A module's types and strings go on where those of the kernel end."""
    kernel = BtfBuilder()
    word = kernel.integer(8)
    inner = kernel.group("kho_vmalloc", 8, [("first", word, 0)])
    base = Btf(kernel.section())
    module = BtfBuilder()
    module.strings = bytearray()
    split_name = len(kernel.strings)

    def name(text: str) -> int:
        module.strings += text.encode() + b"\0"
        return split_name + len(module.strings) - len(text) - 1

    module.types.append(
        module.words(name("acme_ser"), STRUCT << 24 | 2, 16)
        + module.words(name("state"), word, 0, name("rings"), inner, 64)
    )
    found = Btf(module.section(), base).struct("acme_ser")
    assert found is not None
    assert [(m.path, m.offset, m.size) for m in found.members] == [
        ("state", 0, 64),
        ("rings.first", 64, 64),
    ]
    with pytest.raises(InputError, match="--base FILE"):
        Btf(module.section())
    with pytest.raises(InputError, match="byte order"):
        Btf(module.section(), Btf(BtfBuilder(">").section()))
