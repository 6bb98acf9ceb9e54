"""Drafts at every bound: what one struct becomes, line by line, as ``drafts.txt`` has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from khotool.abi.definition import Kind
from khotool.authoring.btf import MAX_DEPTH, Btf
from khotool.authoring.draft import MOST_BYTES, Drafter
from khotool.errors import InputError
from khotool.render.draft import draft_text
from tests.unit.authoring.btf_sections import BOOL, CHAR, SIGNED, Builder, Member

EXPECTED = Path(__file__).parent / "drafts.txt"
ROLES = (
    "a_pa",
    "pa",
    "spa",
    "phys",
    "x_phys",
    "phys_x",
    "pfn",
    "a_pfn",
    "pfns",
    "nr_a",
    "num_a",
    "anr_b",
    "a_count",
    "cnt",
    "counts",
    "flags",
    "a_flags",
    "size",
    "len",
    "nbytes",
    "a_bytes",
    "order",
    "a_order",
    "token",
    "magic",
    "magics",
    "_pa",
    "a_paddr",
    "phys_addr",
    "a_phys_start",
    "a",
    "number",
    "size_x",
)


class Kit(Builder):
    """The types that C has, by their usual names."""

    def __init__(self, order: str = "<") -> None:
        super().__init__(order)
        self.u8 = self.typedef("u8", self.number("unsigned char", 1))
        self.char = self.number("char", 1, SIGNED | CHAR)
        self.s8 = self.number("signed char", 1, SIGNED)
        self.u16, self.u32 = self.number("short", 2), self.number("unsigned int", 4)
        self.u64, self.u128 = self.number("unsigned long", 8), self.number("__int128", 16)
        self.flag = self.number("_Bool", 1, BOOL)

    def x(self, size: int, *members: Member) -> int:
        """The struct that is drafted."""
        return self.struct("x", size, *members)

    def one_of(self, *members: Member, size: int = 8) -> int:
        """A struct that holds a union without a name."""
        return self.x(size, ("u", self.struct("", size, *members, union=True), 0))

    def nested(self, levels: int, name: str = "") -> int:
        """Structs of one member inside each other, so many inside the one that is drafted."""
        inner = self.struct(f"{name}0" if name else "", 4, ("leaf", self.u32, 0))
        for level in range(1, levels):
            inner = self.struct(f"{name}{level}" if name else "", 4, (name, inner, 0))
        return self.x(4, (name, inner, 0))

    def drafter(self) -> Drafter:
        return Drafter(Btf(self.section()))


def drafted(kit: Kit) -> list[str]:
    """Lines of the structs of a draft, the one that was asked for first."""
    drafter = kit.drafter()
    first = drafter.draft("x")
    structs = [first, *(one for one in drafter.done.values() if one is not first)]
    text = draft_text(structs, "x-v1", Kind.FILE, None, "vmlinux")
    return [line.strip() for line in text[text.index("[struct.") :].splitlines() if line]


CASES: dict[str, Callable[[Kit], object]] = {
    "bit-fields share a word that ends before the next member": lambda k: k.x(
        8, ("a", k.u32, 0, 5), ("b", k.u32, 5, 20), ("c", k.u8, 32, 0), ("d", k.u8, 40, 0)
    ),
    "a word is as long as there is room": lambda k: k.x(
        8, ("a", k.u32, 0, 8), ("b", k.u8, 8, 0), ("c", k.u16, 16, 0), ("d", k.u32, 32, 0)
    ),
    "bit-fields that overlap": lambda k: k.x(
        8, ("a", k.u32, 0, 8), ("b", k.u32, 4, 8), ("c", k.u32, 32, 0)
    ),
    "bit-fields of two words": lambda k: k.x(16, ("a", k.u64, 0, 40), ("b", k.u64, 64, 3)),
    "bit-fields that fill one word": lambda k: k.x(8, ("a", k.u32, 0, 32), ("b", k.u32, 32, 32)),
    "bit-fields of a packed struct": lambda k: k.x(
        3, ("a", k.u8, 0, 0), ("b", k.u16, 8, 9), ("c", k.u16, 17, 7)
    ),
    "bits without a name": lambda k: k.x(4, ("a", k.u32, 3, 5), ("b", k.u32, 12, 4)),
    "bits that are named nothing": lambda k: k.x(4, ("a", k.u32, 0, 5), ("", k.u32, 5, 27)),
    "bits of a type of 16 bytes": lambda k: k.x(4, ("a", k.u128, 8, 5), ("b", k.u8, 24, 0)),
    "bits at the end": lambda k: k.x(1, ("a", k.u32, 0, 5)),
    "bits at the end of a longer struct": lambda k: k.x(6, ("a", k.u32, 0, 0), ("b", k.u32, 32, 9)),
    "a flexible array": lambda k: k.x(
        8, ("n", k.u64, 0), ("rows", k.array(k.struct("other", 4, ("id", k.u32, 0)), 0), 64)
    ),
    "a flexible array of numbers in between": lambda k: k.x(
        8, ("rows", k.array(k.u32, 0), 0), ("n", k.u64, 0)
    ),
    "a flexible array of a struct without a name": lambda k: k.x(
        8, ("n", k.u64, 0), ("rows", k.array(k.struct("", 4, ("id", k.u32, 0)), 0), 64)
    ),
    "65536 elements, and one more": lambda k: k.x(
        65536 + 65537, ("a", k.array(k.u8, 65536), 0), ("b", k.array(k.u8, 65537), 65536 * 8)
    ),
    "65537 numbers": lambda k: k.x(4 * 65537, ("b", k.array(k.u32, 65537), 0)),
    "one byte less than bytes may have": lambda k: k.x(
        1 << 20, ("b", k.array(k.u8, (1 << 20) - 1), 0), ("c", k.u8, ((1 << 20) - 1) * 8)
    ),
    "as many bytes as a struct may have": lambda k: k.x(1 << 20, ("b", k.array(k.u8, 1 << 20), 0)),
    "a number of 16 bytes": lambda k: k.x(16, ("b", k.u128, 0)),
    "two numbers of 16 bytes": lambda k: k.x(32, ("b", k.array(k.u128, 2), 0)),
    "no type": lambda k: k.x(16, ("b", 0, 0), ("c", k.u64, 0), ("d", k.u64, 64)),
    "an array of three dimensions": lambda k: k.x(
        48, ("g", k.array(k.array(k.array(k.u16, 2), 3), 4), 0)
    ),
    "characters and bytes": lambda k: k.x(
        20,
        ("a", k.array(k.char, 4), 0),
        ("b", k.array(k.typedef("u8", k.char), 4), 32),
        ("c", k.array(k.s8, 4), 64),
        ("d", k.char, 96),
        ("e", k.s8, 104),
        ("f", k.array(k.typedef("name_t", k.char), 4), 112),
        ("g", k.array(k.flag, 2), 144),
    ),
    "roles of names": lambda k: k.x(
        len(ROLES), *((name, k.u8, 8 * at) for at, name in enumerate(ROLES))
    ),
    "as many structs inside each other as are followed": lambda k: k.nested(MAX_DEPTH, "s_"),
    "one struct more": lambda k: k.nested(MAX_DEPTH + 1, "s_"),
    "structs without a name": lambda k: k.nested(MAX_DEPTH),
    "one struct without a name more": lambda k: k.nested(MAX_DEPTH + 1),
    "a struct inside itself": lambda k: k.x(8, ("me", k.count + 1, 0), ("id", k.u32, 32)),
    "a struct inside what it holds": lambda k: k.x(
        4, ("id", k.struct("y", 4, ("me", k.count + 2, 0)), 0)
    ),
    "a union is its first member of full length": lambda k: k.one_of(
        ("a", k.u32, 0), ("b", k.u64, 0), ("c", k.u64, 0)
    ),
    "a union with an array": lambda k: k.one_of(("a", k.array(k.u64, 1), 0), ("c", k.u64, 0)),
    "a union with a bit-field": lambda k: k.one_of(("a", k.u64, 0, 8), ("c", k.u64, 0, 0)),
    "a union of short members": lambda k: k.one_of(("a", k.u32, 0), ("c", k.u32, 0)),
    "a union of nine": lambda k: k.one_of(*((f"m{i}", k.u64, 0) for i in range(9))),
    "a union with a struct": lambda k: k.one_of(
        ("in", k.struct("", 8, ("p", k.u64, 0)), 0), ("c", k.u64, 0)
    ),
    "a union in a union": lambda k: k.one_of(
        ("in", k.struct("", 8, ("p", k.u64, 0), ("q", k.u8, 0), union=True), 0), ("c", k.u64, 0)
    ),
    "a union whose member has a role": lambda k: k.one_of(("flags", k.u64, 0), ("c", k.u64, 0)),
    "a union with a pointer to a number": lambda k: k.one_of(
        ("a", k.u64, 0), ("c", k.pointer(k.u32), 0)
    ),
    "a union with a pointer to anything": lambda k: k.one_of(
        ("a", k.u64, 0), ("c", k.pointer(0), 0)
    ),
    "a union with a pointer to what is declared elsewhere": lambda k: k.one_of(
        ("c", k.pointer(k.add("later", 7 << 24, 0)), 0), ("a", k.u64, 0)
    ),
    "a pointer to a struct without a name": lambda k: k.x(
        8, ("c", k.pointer(k.struct("", 4, ("a", k.u32, 0))), 0)
    ),
    "a pointer to a number": lambda k: k.x(8, ("c", k.pointer(k.u32), 0)),
    "values of enums": lambda k: k.x(
        25,
        ("a", k.enum("e", 4, {"N": -1, "TOP": (1 << 31) - 1, "H": -1 << 31}, signed=True), 0),
        ("b", k.enum("f", 4, {"B": (1 << 32) - 1}), 32),
        ("c", k.enum64("g", {"B": (1 << 64) - 1, "C": 1 << 32}), 64),
        ("d", k.enum("h", 1, {"A": 1}), 128),
        ("e", k.enum("i", 3, {"A": 1}), 136),
        (
            "f",
            k.add(
                "s",
                19 << 24 | 1 << 31 | 2,
                8,
                k.name("A"),
                0xFFFFFFFF,
                0xFFFFFFFF,
                k.name("A"),
                5,
                0,
            ),
            136,
        ),
    ),
    "an enum of 257 names": lambda k: k.x(
        4, ("a", k.enum("e", 4, {f"N{i}": i for i in range(257)}), 0)
    ),
    "signed numbers have no role": lambda k: k.x(
        8,
        ("flags", k.enum("e", 4, {"A": 1}, signed=True), 0),
        ("n", k.typedef("phys_addr_t", k.u32), 32),
    ),
    "big-endian numbers": lambda k: k.x(
        4,
        ("a", k.typedef("__be16", k.u16), 0),
        ("b", k.typedef("x16", k.typedef("__be16", k.u16)), 16),
    ),
    "names that are no names, or taken": lambda k: k.x(
        7,
        ("a", k.u8, 0),
        ("a", k.u8, 8),
        ("a_2", k.u8, 16),
        ("a-b", k.u8, 24),
        ("1x", k.u8, 32),
        ("_y", k.u8, 40),
        ("", k.u8, 48),
    ),
    "a struct called like a type": lambda k: k.x(4, ("a", k.struct("u32", 4, ("b", k.u32, 0)), 0)),
    "three structs of one name": lambda k: k.x(
        6, *((f"m{i}", k.struct("in", 2, ("b", k.u16, 0)), 16 * i) for i in range(3))
    ),
    "an empty struct inside": lambda k: k.x(4, ("a", k.struct("in", 0), 0), ("b", k.u32, 0)),
    "members that overlap": lambda k: k.x(4, ("a", k.u32, 0), ("b", k.u16, 16)),
    "a member that ends outside": lambda k: k.x(
        4, ("a", k.u16, 0), ("b", k.u32, 16), ("c", k.u16, 16)
    ),
    "a gap in front": lambda k: k.x(3, ("a", k.u8, 16)),
    "padding at the end that is natural": lambda k: k.x(16, ("a", k.u64, 0), ("b", k.u8, 64)),
    "a packed struct aligns nothing": lambda k: k.x(
        7, ("a", k.u8, 0), ("b", k.struct("p", 6, ("c", k.u16, 0), ("d", k.u32, 16)), 8)
    ),
    "a natural struct aligns itself": lambda k: k.x(
        16, ("a", k.u8, 0), ("b", k.struct("p", 8, ("c", k.u16, 0), ("d", k.u32, 32)), 32)
    ),
    "a packed struct inside a natural one": lambda k: k.x(
        12,
        ("a", k.u8, 0),
        ("b", k.struct("p", 6, ("c", k.u16, 0), ("d", k.u32, 16)), 8),
        ("e", k.u32, 64),
    ),
    "a natural struct inside a natural one": lambda k: k.x(
        12, ("a", k.u8, 0), ("b", k.struct("p", 8, ("c", k.u16, 0), ("d", k.u32, 32)), 32)
    ),
    "room that ends in the last byte of a word": lambda k: k.x(
        8, ("a", k.u64, 0, 8), ("b", k.u8, 56, 0)
    ),
    "a union of one byte": lambda k: k.one_of(("a", k.u8, 0, 3), ("b", k.u8, 0, 4), size=1),
    "roles of arrays, and of types": lambda k: k.x(
        24,
        ("flags", k.array(k.u32, 2), 0),
        ("a_pfn", k.typedef("phys_addr_t", k.u64), 64),
        ("b", k.typedef("mine", k.typedef("phys_addr_t", k.u64)), 128),
    ),
    "a number with a point": lambda k: k.x(8, ("a", k.add("double", 16 << 24, 8), 0)),
    "a page of nothing": lambda k: k.x(4096),
    "a page of structs that fit every page": lambda k: k.x(
        4096,
        ("a", k.u32, 0),
        ("b", k.array(k.struct("odd", 12, ("c", k.array(k.u32, 3), 0)), 341), 32),
    ),
    "a page of text": lambda k: k.x(4096, ("a", k.u64, 0), ("b", k.array(k.char, 4088), 64)),
    "a page of numbers": lambda k: k.x(16384, ("a", k.u64, 0), ("b", k.array(k.u64, 2047), 64)),
    "a page of numbers behind a packed one": lambda k: k.x(
        4096, ("a", k.u32, 0), ("b", k.u64, 32), ("c", k.u32, 96), ("d", k.array(k.u64, 510), 128)
    ),
    "a struct of nothing that is not empty": lambda k: k.x(
        8, ("a", k.struct("in", 4), 0), ("b", k.u32, 32)
    ),
    "a page of structs that fit no other page": lambda k: k.x(
        4096,
        ("a", k.u64, 0),
        ("b", k.array(k.struct("odd", 7, ("c", k.array(k.u8, 7), 0)), 584), 64),
    ),
    "a page whose end is no array": lambda k: k.x(
        4096, ("a", k.array(k.u32, 1023), 0), ("b", k.u32, 4092 * 8)
    ),
    "a page whose array ends before it": lambda k: k.x(
        4096, ("a", k.u64, 0), ("b", k.array(k.u32, 1021), 64)
    ),
    "two pages": lambda k: k.x(8192, ("a", k.u64, 0), ("b", k.array(k.u64, 1023), 64)),
    "an array that begins where a smaller page ends": lambda k: k.x(
        16384, ("a", k.array(k.char, 4096), 0), ("b", k.array(k.u64, 1536), 32768)
    ),
}


def padded(size: int) -> Callable[[Kit], object]:
    """A byte, padding of so many bytes, a byte, and as much behind it."""
    return lambda k: k.x(2 * size + 2, ("a", k.u8, 0), ("b", k.u8, 8 * (size + 1)))


CASES |= {f"{size} bytes of padding": padded(size) for size in (1, 2, 3, 4, 5, 8)}


def expected() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in EXPECTED.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            found[line[3:]] = lines = []
        elif line:
            lines.append(line)
    return found


def test_every_draft_has_a_case() -> None:
    """Nothing is expected that is not made."""
    assert list(expected()) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_draft(case: str) -> None:
    """Every line of what one struct becomes."""
    kit = Kit()
    CASES[case](kit)
    assert drafted(kit) == expected()[case]


@pytest.mark.parametrize(
    ("members", "parts"),
    [
        ([("a", 3, 5), ("b", 12, 4)], "unused_0:16 b:4 unused_20:4 a:5 unused_29:3"),
        ([("a", 0, 5), ("b", 5, 27)], "b:27 a:5"),
        ([("a", 0, 32)], "a:32"),
    ],
)
def test_bits_of_a_big_endian_kernel(members: list[tuple[str, int, int]], parts: str) -> None:
    """There the first bit-field holds the most significant bits."""
    kit = Kit(">")
    kit.x(4, *((name, kit.u32, at, width) for name, at, width in members))
    (word,) = kit.drafter().draft("x").fields
    assert " ".join(f"{name}:{width}" for name, width in word.parts) == parts


def test_bits_in_no_word() -> None:
    """A bit-field that no word of eight bytes holds is an error."""
    kit = Kit()
    kit.x(9, ("a", kit.u64, 4, 64), ("c", kit.u8, 64, 0))
    drafter = kit.drafter()
    for _ in range(2):
        with pytest.raises(InputError, match=r"^bit-field a fits into no word of 8 bytes$"):
            drafter.draft("x")


@pytest.mark.parametrize("levels", [1, MAX_DEPTH, MAX_DEPTH + 1, 3000])
def test_structs_of_flexible_arrays(levels: int) -> None:
    """Elements of flexible arrays are drafted too, as deep as embedded structs are."""
    kit = Kit()
    inner = kit.struct("s0", 4, ("leaf", kit.u32, 0))
    for level in range(1, levels):
        inner = kit.struct(f"s{level}", 4, ("n", kit.u32, 0), ("row", kit.array(inner, 0), 32))
    kit.x(4, ("n", kit.u32, 0), ("row", kit.array(inner, 0), 32))
    drafter = kit.drafter()
    drafter.draft("x")
    assert len(drafter.done) == min(levels, MAX_DEPTH) + 1


@pytest.mark.parametrize(
    ("levels", "text"),
    [(1, "u64"), (MAX_DEPTH, "u64"), (MAX_DEPTH + 1, "bytes[8]"), (3000, "bytes[8]")],
)
def test_unions_in_unions(levels: int, text: str) -> None:
    """A union is followed through so many unions; a deeper one is bytes."""
    kit = Kit()
    inner = kit.u64
    for _ in range(levels):
        inner = kit.struct("", 8, ("u", inner, 0), union=True)
    kit.x(8, ("u", inner, 0))
    (field,) = kit.drafter().draft("x").fields
    assert field.type == text


def test_typedefs_are_no_integers() -> None:
    """An integer is not known by its own name, and many typedefs before it are passed."""
    kit = Kit()
    kind = kit.number("__be32", 4)
    deep = kit.typedef("__be32", kit.u32)
    for _ in range(MAX_DEPTH - 1):
        deep = kit.typedef("t", deep)
    kit.x(16, ("a", kind, 0), ("b", kit.array(kind, 2), 32), ("c", deep, 96))
    assert [field.type for field in kit.drafter().draft("x").fields] == ["u32", "u32[2]", "beu32"]


@pytest.mark.parametrize(
    ("size", "good"), [(0, False), (1, True), (MOST_BYTES, True), (MOST_BYTES + 1, False)]
)
def test_sizes(size: int, good: bool) -> None:
    """A struct has a byte to a mebibyte."""
    assert MOST_BYTES == 1 << 20
    kit = Kit()
    kit.x(size, ("a", kit.u8, 0))
    if good:
        assert kit.drafter().draft("x").size == size
        return
    with pytest.raises(InputError, match=rf"^struct x has {size} bytes; a definition has 1 to"):
        kit.drafter().draft("x")


@pytest.mark.parametrize(("left", "good"), [(4, True), (3, False)])
def test_members_are_counted(left: int, good: bool) -> None:
    """Every member is one, those of structs without a name and of embedded ones as well."""
    kit = Kit()
    inner = kit.struct("in", 4, ("c", kit.u32, 0))
    kit.x(8, ("", kit.struct("", 4, ("b", kit.u32, 0)), 0), ("d", inner, 32))
    drafter = Drafter(Btf(kit.section()), _left=left)
    if good:
        assert [field.name for field in drafter.draft("x").fields] == ["b", "d"]
        return
    with pytest.raises(InputError, match=r"^a struct of this BTF holds far too many members$"):
        drafter.draft("x")


def test_the_nearest_name() -> None:
    """Of two names like it, the nearer one is the hint; a name like no other has none."""
    kit = Kit()
    for name in ("samples_of_x", "sample"):
        kit.struct(name, 4, ("a", kit.u32, 0))
    with pytest.raises(InputError, match=r"has no struct samplex; did you mean sample[?]$"):
        kit.drafter().draft("samplex")
    with pytest.raises(InputError, match=r"has no struct zzz$"):
        kit.drafter().draft("zzz")


@pytest.mark.parametrize(
    "name", ["string", "bytes", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "char"]
)
def test_a_struct_called_like_any_type(name: str) -> None:
    """A struct cannot have the name of a type, of C or of a definition."""
    kit = Kit()
    kit.struct(name, 4, ("a", kit.u32, 0))
    made = kit.drafter().draft(name).name
    assert made == (f"{name}_2" if name in ("string", "bytes") else f"{name}_")


def test_a_struct_is_drafted_once() -> None:
    """Asked for again, it is the same draft, under the same name."""
    kit = Kit()
    kit.x(4, ("a", kit.struct("in", 4, ("b", kit.u32, 0)), 0))
    drafter = kit.drafter()
    first = drafter.draft("x")
    assert drafter.draft("x") is first
    assert drafter.draft("in").name == "in"
    assert [one.name for one in drafter.done.values()] == ["in", "x"]
