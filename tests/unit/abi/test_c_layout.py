"""Layouts in C: members, bit-fields, comments, and every way to be wrong with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.c_layout import Layout, Member, parse_layout
from khotool.abi.c_text import struct_lines
from khotool.abi.geometry import Geometry
from khotool.abi.types import parse_type
from tests.builders import REGISTRY


def read(text: str, **constants: int) -> Layout:
    return parse_layout(text, "x", constants)


def only(text: str, **constants: int) -> Member:
    layout = read(text, **constants)
    assert layout.problems == []
    (member,) = layout.members
    return member


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("u64 a;", "u64"),
        ("__u8 a;", "u8"),
        ("int16_t a;", "s16"),
        ("__be32 a;", "beu32"),
        ("unsigned int a;", "u32"),
        ("unsigned long long a;", "u64"),
        ("const unsigned short a;", "u16"),
        ("char a;", "u8"),
        ("signed char a;", "s8"),
        ("bool a;", "u8"),
        ("enum state a;", "u32"),
        ("phys_addr_t a;", "u64"),
        ("char a[48];", "char[48]"),
        ("char a[LEN + 1];", "char[8]"),
        ("u8 a[3];", "bytes[3]"),
        ("s8 a[3];", "s8[3]"),
        ("u32 a[4];", "u32[4]"),
        ("u32 a[2][0x3];", "u32[6]"),
        ("u16 a[1 << 4];", "u16[16]"),
        ("u16 a[64 / sizeof(u64)];", "u16[8]"),
        ("u16 a[65536];", "u16[65536]"),
        ("u16 a[010];", "u16[8]"),
        ("struct kho_vmalloc a;", "kho_vmalloc"),
        ("struct part a[2];", "part[2]"),
        ("struct part a[];", "part[]"),
        ("u8 a[];", "bytes[]"),
        ("DECLARE_KHOSER_PTR(a, struct kho_vmalloc_chunk *);", "u64"),
        ("u64 a __aligned(8);", "u64"),
        ("u8 a[] __counted_by(n);", "bytes[]"),
    ],
)
def test_types(text: str, kind: str) -> None:
    """Each type of C that a definition has a type for."""
    assert (only(text, LEN=7).name, only(text, LEN=7).type) == ("a", parse_type(kind))


@pytest.mark.parametrize("text", ["[PAGE_SIZE / sizeof(u64)]", "[(PAGE_SIZE - 8) / sizeof(u64)]"])
def test_arrays_to_the_end_of_the_page(text: str) -> None:
    """A length that follows the page size fills the page."""
    member = only(f"u64 slots{text};")
    assert (member.fill, member.type.text) == (True, "u64")


def test_bit_fields() -> None:
    """Bit-fields of one type share a word as long as they fit; another type begins another."""
    layout = read("u64 a:52, b:12; u32 c:30;\nu32 d:3; u8 : 2; u8 e : 1; u8 : 0; u8 f : 1;")
    assert layout.problems == []
    words = [(m.name, m.type.text, [p.width for p in m.parts]) for m in layout.members]
    assert words == [
        ("a:b", "u64", [52, 12]),
        ("c", "u32", [30]),
        ("d", "u32", [3]),
        ("unused_0:e", "u8", [2, 1]),
        ("f", "u8", [1]),
    ]
    parts = only("u64 order : PAGE_SHIFT; u64 address : 64 - PAGE_SHIFT;").parts
    assert [part.width for part in parts] == ["page_shift", "rest"]
    parts = only("u64 low : 4; u64 a : PAGE_SHIFT; u64 b : 64 - 4 - PAGE_SHIFT;").parts
    assert [part.width for part in parts] == [4, "page_shift", "rest"]


COMMENTED = """\
u64 a;          /* after a */
/* above b,
 * on two lines */
u64 b;
u64 c; // one // more
// first
/* second */
u64 d;   /* third */
u64 e:52;  /* part e */  u64 f:12;
u64 g, h;  /* both */
/* of nothing */
"""


def test_comments() -> None:
    """A comment belongs to the member before it on its line, else to the next one."""
    layout = read(COMMENTED)
    docs = {part.name: part.doc for member in layout.members for part in member.parts or (member,)}
    assert docs == {
        "a": "after a",
        "b": "above b, on two lines",
        "c": "one // more",
        "d": "first second third",
        "e": "part e",
        "f": "",
        "g": "both",
        "h": "both",
    }
    assert [member.line for member in layout.members] == [1, 4, 5, 8, 9, 10, 10]


WHOLE = """\
/**
 * struct x - what it is
 * @a: what a is,
 *     in two lines
 *
 * More.
 * @b: not this, a comment of its own wins
 */
struct x {
	u32 a;
	u64 b;	/* b */
};
"""


def test_whole_structs() -> None:
    """A struct may be pasted with its kernel-doc comment; packed only if it says so."""
    layout = read(WHOLE)
    assert (layout.problems, layout.packed, layout.doc) == ([], False, "what it is")
    assert [member.doc for member in layout.members] == ["what a is, in two lines", "b"]
    for attribute in ("__packed", "__attribute__((packed))", "__attribute__((__packed__))"):
        assert read(WHOLE.replace("};", f"}} {attribute};")).packed is True
    assert read("u64 a;").packed is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("u64 a;\nu63 b;\n", "2:1: unknown type 'u63'"),
        ("u64 a;\n\nfoo_t b[2];\n", "3:1: unknown type 'foo_t'"),
        ("u64 a;;", "1:7: expected a member"),
        ("u64 a\nu64 b;", "2:1: not C: unexpected 'u64'"),
        ("u64 a[;", "1:7: not C: unexpected"),
        ("u64 a", "1:6: not C: unexpected '}'"),
        ("}", "1:2: not C: unexpected '}'"),
        ("u64 *p;", "1:5: p: a pointer; an address in a handover is a u64"),
        ("union { u64 a; } u;", "1:18: u: a union; declare the member that is used"),
        ("struct { u64 a; };", "1:8: a member without a name"),
        ("struct y { u64 a; } y;", "1:21: y: a struct inside; declare it as a struct of its own"),
        ("struct u64 a;", "1:12: a: a struct cannot be called u64"),
        ("u64 a:65;", "1:5: a: a bit-field of u64 has at most 64 bits"),
        ("s64 a:3;", "1:5: a: a bit-field has an unsigned integer type"),
        ("u64 a:PAGE_SHIFT; u64 b:PAGE_SHIFT + 1;", "1:23: b: a width with PAGE_SHIFT is"),
        ("u64 a[N];", "1:5: a: N is not defined; give its value in [constants]"),
        ("u64 a[0];", "1:5: a: an array has at least one element"),
        ("u64 a[65537];", "1:5: a: an array has 1 to 65536 elements"),
        ("u64 a[1 / 0];", "1:5: a: a division by 0"),
        ("u64 a[1 << 65];", "1:5: a: a shift of more than 64 bits"),
        ("u64 a[1 << 64];", "1:5: a: a length beyond 64 bits"),
        ("u64 a[2 ^ 1];", "1:5: a: operator ^ is not for lengths"),
        ("u64 a['x'];", "1:5: a: \"'x'\" is not an integer"),
        ("u64 a[sizeof(struct x)];", "1:5: a: sizeof is for integers here"),
        ("u64 a[-1];", "1:5: a: expected a constant"),
        ("u64 a[];", "1:5: a: an array of open length is of u8, or of structs"),
        ("char a[2][3];", "1:6: a: an array of strings; make a struct of the string"),
        ("u64 a[2][PAGE_SIZE];", "1:5: a: an array that fills the page has one dimension"),
        ("struct y { u64 a; };", "1:8: this is struct y, not x"),
        (f"u64 a[{'(' * 5000}1{')' * 5000}];", "1:1: nested too deeply"),
        ("/" * 70_000, "1:1: 70000 characters; a layout has at most 65536"),
        ("u64 $;", "1:5: $: not a name for a member"),
    ],
)
def test_problems(text: str, problem: str) -> None:
    """One problem, at line and column of what it is about."""
    found = [f"{one.line}:{one.column}: {one.text}" for one in read(text).problems]
    assert len(found) >= 1
    assert found[0].startswith(problem), found


def test_every_problem_is_told() -> None:
    """Members that cannot be are skipped, and those beside them are still there."""
    layout = read("u64 *a;\nfoo_t b;\nu64 c;\nu64 d[N];\n")
    assert [problem.line for problem in layout.problems] == [2, 1, 4]
    assert [member.name for member in layout.members] == ["a", "b", "c", "d"]


@given(st.text(alphabet="u64 a;[]{}:12*/()#\n\"'\\=,", max_size=60))
def test_any_text(text: str) -> None:
    """No text raises; problems are at lines of the text."""
    for problem in read(text).problems:
        assert 1 <= problem.line <= text.count("\n") + 1
        assert problem.column >= 1


def test_shipped_layouts_read_back() -> None:
    """The C that is written of a struct is read as the same struct."""
    for definition in REGISTRY:
        for name, struct in definition.structs.items():
            compiled = REGISTRY.compile(definition, name, Geometry())
            again = parse_layout("\n".join(struct_lines(compiled)), name)
            assert again.problems == []
            for field, member in zip(struct.fields, again.members, strict=True):
                own = [(part.name, part.width, part.doc) for part in field.parts]
                assert own == [(part.name, part.width, part.doc) for part in member.parts]
                assert field.name == member.name
                assert (field.type, field.doc) == (member.type, member.doc)
                assert bool(field.fill) == member.fill
