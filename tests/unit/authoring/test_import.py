"""``khotool formats import``: structs of a kernel's BTF as a definition."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.abi.definition import Kind
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import Origin, Registry, shipped_registry
from khotool.abi.validate import check_folder
from khotool.authoring.btf import Btf
from khotool.authoring.compare_btf import definitions_of
from khotool.authoring.draft import Drafter
from khotool.cli.main import main
from khotool.errors import InputError
from khotool.render.draft import draft_text, split_known, with_uses
from tests.unit.authoring.btf_sections import BOOL, CHAR, SIGNED, Builder
from tests.unit.authoring.elf_builder import elf

ROOT = Path(__file__).parents[3]
KERNELS = sorted((ROOT / "fixtures/real").glob("*/vmlinux.btf"))
REGISTRY = shipped_registry()


def page_size(path: Path) -> int:
    return 16384 if "16k" in path.parent.name else 4096


def drafted(btf: Btf, *names: str, known: Registry | None = None) -> str:
    drafter = Drafter(btf)
    wanted = [drafter.draft(name).name for name in names]
    registry = known if known is not None else Registry([])
    structs, uses = split_known(drafter.done.values(), wanted, registry)
    return with_uses(draft_text(structs, "x-v1", Kind.FILE, None, "vmlinux"), uses.values())


def loaded(text: str, known: Registry | None = None) -> Registry:
    definition = load_definition(text.encode(), "x.toml")
    base = known if known is not None else Registry([])
    return base.extended([(definition, Origin("folder"))])


def leaves(compiled: CompiledStruct) -> list[tuple[int, int]]:
    """Offset and size in bits of everything that is no struct."""
    rows: list[tuple[int, int]] = []
    stack: list[tuple[int, PlacedField]] = [(0, placed) for placed in compiled.fields]
    while stack:
        base, placed = stack.pop()
        at = base + placed.offset * 8
        if placed.nested is not None:
            size = placed.size // placed.count
            for index in range(placed.count):
                stack += [(at + 8 * index * size, inner) for inner in placed.nested.fields]
        elif placed.parts:
            for part in placed.parts:
                low = (part.mask & -part.mask).bit_length() - 1
                rows.append((at + low, part.mask.bit_count()))
        else:
            rows.append((at, placed.size * 8))
    return sorted(rows)


def known_structs() -> list[tuple[Path, str, str]]:
    rows = []
    for path in KERNELS:
        release = path.parent.name.removeprefix("linux-").partition("-")[0]
        abi = REGISTRY.set_for(release)
        assert abi is not None
        names = Btf(path.read_bytes()).structs
        rows += [
            (path, definition.id, name)
            for definition in definitions_of(abi, REGISTRY)
            for name in definition.structs
            if name in names
        ]
    return rows


KNOWN = known_structs()


def test_every_kernel_is_looked_at() -> None:
    """Each capture has a BTF, and every one knows several structs of its set."""
    assert len(KERNELS) == len(list((ROOT / "fixtures/real").iterdir()))
    for path in KERNELS:
        assert sum(1 for row in KNOWN if row[0] == path) >= 5


@pytest.mark.parametrize(
    ("path", "identifier", "name"), KNOWN, ids=[f"{p.parent.name}-{i}-{n}" for p, i, n in KNOWN]
)
def test_import_is_what_khotool_ships(path: Path, identifier: str, name: str) -> None:
    """A struct drafted from a kernel has the offsets and sizes of the shipped definition."""
    text = drafted(Btf(path.read_bytes()), name, known=REGISTRY)
    registry = loaded(text, REGISTRY)
    geometry = Geometry(page_size(path))
    found = registry.compile(registry.get("x-v1"), name, geometry)
    ours = REGISTRY.compile(REGISTRY.get(identifier), name, geometry)
    assert found.size == ours.size
    assert (found.struct.size == "page") == (ours.struct.size == "page")
    assert leaves(found) == leaves(ours)


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.parent.name)
def test_draft_passes_the_check(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written with -o is accepted by formats check, with all structs in one file."""
    names = [name for name in Btf(path.read_bytes()).structs if name != "kho_vmalloc"]
    out = tmp_path / "draft" / "x.toml"
    out.parent.mkdir()
    words = [str(path), *names, "--id", "x-v1", "--kind", "file", "-o", str(out)]
    assert main(["formats", "import", *words]) == 0
    capsys.readouterr()
    assert main(["formats", "check", str(out.parent)]) == 0
    assert capsys.readouterr().out == "1 definition checked, 0 mistakes\n"
    definition = load_definition(out.read_bytes(), "x.toml")
    assert definition.match == {"compatible": ("x-v1",)}
    assert definition.content == names[0]
    # What each line says of a role says that it is a guess.
    lines = out.read_text().splitlines()
    for line in lines:
        assert "role = " not in line or "a guess from the" in line or "leads to" in line


def sample(order: str = "<") -> bytes:
    """One struct of everything."""
    b = Builder(order)
    u8 = b.typedef("u8", b.number("unsigned char", 1))
    char = b.number("char", 1, SIGNED | CHAR)
    u16, u32 = b.number("short unsigned int", 2), b.number("unsigned int", 4)
    s32, u64 = b.number("int", 4, SIGNED), b.number("long unsigned int", 8)
    flag = b.number("_Bool", 1, BOOL)
    be = b.typedef("__be32", u32)
    phys = b.typedef("phys_addr_t", b.typedef("u64", u64))
    other = b.struct("other", 8, ("id", u32, 0), ("kind", u16, 32))
    khoser = b.struct("", 8, ("phys", phys, 0), ("ptr", b.pointer(other), 0), union=True)
    mixed = b.struct("", 6, ("a", b.array(u8, 6), 0), ("b", u16, 0), union=True)
    mode = b.enum("mode", 4, {"OFF": 0, "ON": 1})
    level = b.enum("level", 4, {"LOW": -1, "HIGH": 1}, signed=True)
    big = b.enum64("big", {"HUGE": 1 << 63})
    inner = b.struct("", 8, ("x", u32, 0), ("y", u32, 32))
    b.struct(
        "sample",
        152,
        ("name", b.array(char, 16), 0),
        ("raw", b.array(u8, 4), 128),
        ("be", be, 160),
        ("list", b.array(u32, 3), 192),
        ("on", flag, 288),
        ("delta", s32, 320),
        ("next", khoser, 384),
        ("base", phys, 448),
        ("data_pa", u64, 512),
        ("mode", mode, 576),
        ("level", level, 608),
        ("big", big, 640),
        ("others", b.array(other, 2), 704),
        ("", inner, 832),
        ("named", inner, 896),
        ("mixed", mixed, 960),
        ("kernel", b.pointer(other), 1024),
        ("grid", b.array(b.array(u16, 2), 3), 1088),
        ("rows", b.array(other, 0), 1216),
    )
    bits = [
        ("pfn", u64, 0, 52),
        ("flags", u64, 52, 12),
        ("a", u32, 64, 3),
        ("", u32, 67, 5),
        ("b", u32, 72, 1),
        ("tail", u16, 80, 0),
    ]
    b.struct("fields", 16, *bits)
    b.struct("tight", 7, ("a", u32, 0), ("b", u16, 32), ("c", flag, 48))
    b.struct("loose", 24, ("a", u32, 0), ("b", u64, 128))
    b.struct("table", 4096, ("next", u64, 0), ("slots", b.array(u64, 511), 64))
    b.struct("odd", 4096, ("next", u64, 0), ("slots", b.array(other, 511), 64))
    b.struct("nothing", 0)
    return b.section()


EVERYTHING = '''\
[struct.sample]
# rows[] of struct other at the end, a flexible array at +0x98: left out; a field has to count it
size = 152
packed = false
layout = """
char name[16];
u8 raw[4];
__be32 be;
u32 list[3];
u8 on;
s32 delta;
u64 next;                   /* a union of phys, ptr: taken as phys */
u64 base;
u64 data_pa;
u32 mode;
s32 level;
u64 big;
struct other others[2];
u32 x;
u32 y;
struct sample_named named;
u8 mixed[6];                /* a type that a definition cannot say: kept as bytes */
u64 kernel;                 /* a kernel pointer to struct other: of no use to the next kernel */
u16 grid[6];
"""

[struct.sample.fields]
next    = { role = "address" }  # leads to struct other: points_to has to say how
base    = { role = "address" }  # a guess from the type
data_pa = { role = "address" }  # a guess from the name
mode    = { enum = "sample_mode" }
level   = { enum = "sample_level" }
big     = { enum = "sample_big" }

[enum.sample_mode]
OFF = 0
ON = 1

[enum.sample_level]
LOW = -1
HIGH = 1

[enum.sample_big]
HUGE = "0x8000000000000000"

[struct.other]
size = 8
packed = false
layout = """
u32 id;
u16 kind;
"""

[struct.sample_named]
size = 8
layout = """
u32 x;
u32 y;
"""
'''


def test_types(tmp_path: Path) -> None:
    """Every kind of member becomes what a definition can say, or a comment with the reason."""
    text = drafted(Btf(sample()), "sample")
    assert text[text.index("[struct.") :] == EVERYTHING
    (tmp_path / "x.toml").write_text(text)
    assert check_folder(tmp_path, Registry([])) == (1, [])


@pytest.mark.parametrize("order", ["<", ">"])
def test_bit_fields(order: str) -> None:
    """Words are cut from the least significant bit up, and no bit is left without a name."""
    data = sample(order)
    registry = loaded(drafted(Btf(data), "fields"))
    byteorder = Geometry(4096, "little" if order == "<" else "big")
    compiled = registry.compile(registry.get("x-v1"), "fields", byteorder)
    word, second, tail = compiled.fields[0], compiled.fields[1], compiled.fields[2]
    names = [part.field.name for part in word.parts]
    if order == "<":
        assert names == ["pfn", "flags"]
        assert [part.field.width for part in word.parts] == [52, 12]
        assert (second.offset, second.size) == (8, 2)
        assert [p.field.name for p in second.parts] == ["a", "unused_3", "b", "unused_9"]
    else:
        assert names == ["flags", "pfn"]
        assert [p.field.name for p in second.parts] == ["unused_0", "b", "unused_8", "a"]
    assert (tail.offset, tail.size) == (10, 2)


def test_layouts() -> None:
    """Packed, natural and padded structs, and pages, are told from offsets and sizes."""
    text = drafted(Btf(sample()), "tight", "loose", "table", "odd", "other")
    definition = load_definition(text.encode(), "x.toml")
    structs = definition.structs
    assert structs["tight"].packed
    assert not structs["other"].packed
    assert structs["loose"].packed
    assert [field.name for field in structs["loose"].fields] == ["a", "pad_4", "b"]
    assert structs["table"].size == "page"
    assert structs["table"].fields[1].fill == "page"
    assert structs["odd"].size == 4096 or structs["odd"].size == "page"


def test_names_that_do_not_exist(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An unknown struct gets a hint, an unknown kind the list; an empty struct is refused."""
    path = tmp_path / "x.btf"
    path.write_bytes(sample())
    assert main(["formats", "import", str(path), "samples"]) == 3
    assert "has no struct samples; did you mean sample?" in capsys.readouterr().err
    assert main(["formats", "import", str(path), "nothing"]) == 3
    assert "struct nothing has 0 bytes" in capsys.readouterr().err
    assert main(["formats", "import", str(path), "sample", "--kind", "thing"]) == 2
    assert "--kind thing: expected one of root, entry" in capsys.readouterr().err
    assert main(["formats", "import", str(path), "tight", "-o", str(path)]) == 2
    assert main(["formats", "import", str(tmp_path / "gone"), "tight"]) == 3


def test_file_as_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--btf FILE`` in front or behind; without a struct there is nothing to draft."""
    path = tmp_path / "x.btf"
    path.write_bytes(sample())
    assert main(["formats", "import", str(path), "tight", "loose"]) == 0
    expected = capsys.readouterr().out
    for words in (["--btf", str(path), "tight", "loose"], ["tight", "loose", "--btf", str(path)]):
        assert main(["formats", "import", *words]) == 0
        assert capsys.readouterr().out == expected
    assert main(["formats", "import", str(path)]) == 2
    assert "x.btf: name a struct to draft, such as luo_ser" in capsys.readouterr().err


def test_vmlinux(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An ELF file, also a compressed one, gives its section and its release."""
    banner = b"\0Linux version 7.4.0-rc2+ (me@here) (gcc) #1\0"
    path = tmp_path / "vmlinux.xz"
    path.write_bytes(lzma.compress(elf({".BTF": sample(), ".text": b"x"}, more=banner)))
    assert main(["formats", "import", str(path), "tight", "--kind", "entry"]) == 0
    out = capsys.readouterr().out
    assert "from vmlinux.xz of Linux 7.4.0-rc2+." in out
    assert 'releases = { first = "7.4", last = "" }' in out
    assert 'match = { entry = "tight" }' in out
    path = tmp_path / "vmlinux"
    path.write_bytes(elf({".text": b"x"}))
    assert main(["formats", "import", str(path), "tight"]) == 3
    assert "no section .BTF; build the kernel with" in capsys.readouterr().err
    path.write_bytes(b"MZ" + bytes(0x200) + b"HdrS" + bytes(64))
    assert main(["formats", "import", str(path), "tight"]) == 3
    assert "a bzImage, which carries no sections; run scripts/extract" in capsys.readouterr().err


def test_compiler_agrees(tmp_path: Path) -> None:
    """Structs as a compiler lays them out, where one writes BTF."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = tmp_path / "x.c"
    source.write_text(C_SOURCE)
    made = subprocess.run(
        [compiler, "-gbtf", "-c", "-o", tmp_path / "x.o", source],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("this compiler writes no BTF")
    from khotool.authoring.vmlinux import open_vmlinux

    with open_vmlinux(str(tmp_path / "x.o")) as kernel:
        btf = kernel.btf()
    for name, places in C_PLACES.items():
        registry = loaded(drafted(btf, name))
        compiled = registry.compile(registry.get("x-v1"), name, Geometry())
        found = {
            part.field.name: (placed.offset, part.mask)
            for placed in compiled.fields
            for part in placed.parts
        } | {p.field.name: (p.offset, p.size) for p in compiled.fields if not p.parts}
        assert {key: found[key] for key in places} == places


C_SOURCE = """
typedef unsigned char u8; typedef unsigned short u16;
typedef unsigned int u32; typedef unsigned long long u64;
struct in { u8 a; u16 b; };
struct one { u8 a; u64 b; struct in c; u32 d : 5, e : 20; u16 f; };
struct __attribute__((packed)) two { u8 a; u64 b; struct in c; u32 d : 5, e : 19; u16 f; };
struct three { u32 a : 8; u8 b; u16 c; u64 d[3] __attribute__((aligned(32))); };
struct one one; struct two two; struct three three;
"""
C_PLACES: dict[str, dict[str, tuple[int, int]]] = {
    "one": {
        "a": (0, 1),
        "b": (8, 8),
        "c": (16, 4),
        "d": (20, 0x1F),
        "e": (20, 0x1FFFFE0 & ~0x1F),
        "f": (24, 2),
    },
    "two": {"a": (0, 1), "b": (1, 8), "c": (9, 4), "f": (16, 2)},
    "three": {"a": (0, 0xFF), "b": (1, 1), "c": (2, 2), "d": (32, 24)},
}


def test_a_byte_has_no_byte_order() -> None:
    """A section whose integers of four bytes claim to have one still gives a draft that loads."""
    raw = bytearray(sample())
    raw[36] = 8
    btf = Btf(bytes(raw))
    text = drafted(btf, *list(btf.structs)[:4])
    assert "__be8" not in text
    assert load_definition(text.encode("utf-8", "surrogateescape"), "x.toml").structs


def test_a_member_called_after_a_word_of_c() -> None:
    """A name that starts one letter later can be a word of C; the draft still loads."""
    raw = bytearray(sample())
    raw[16] = 1
    btf = Btf(bytes(raw))
    text = drafted(btf, *list(btf.structs)[:4])
    assert "_Bool_;" in text
    assert load_definition(text.encode("utf-8", "surrogateescape"), "x.toml").structs


@given(st.data())
def test_damaged_btf(data: st.DataObject) -> None:
    """Any bytes of a section give a draft that loads, or an error in one line."""
    raw = bytearray(sample())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        btf = Btf(bytes(raw))
        names = list(btf.structs)[:4]
        text = drafted(btf, *names) if names else ""
    except InputError:
        return
    if text:
        definition = load_definition(text.encode("utf-8", "surrogateescape"), "x.toml")
        registry = Registry([definition])
        for name in definition.structs:
            registry.compile(definition, name, Geometry())
        assert re.search(r"^# Drafted by", text)
