from __future__ import annotations

import re
import shutil
import struct
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.fdt.blob import FdtError, Node, Nop, Property
from khotool.fdt.parse import parse
from khotool.fdt.text import comment, legal_name, value_text
from khotool.fdt.write import build_sequential
from khotool.render.device_tree import to_dts
from tests.unit.fdt.real_blobs import ALL, ROOT_6_19
from tests.unit.fdt.trees import flat, tidy_roots, wild_roots

needs_dtc = pytest.mark.skipif(shutil.which("dtc") is None, reason="dtc is not installed")


def compiled(text: str, *options: str) -> bytes:
    """What dtc makes of the text."""
    run = subprocess.run(
        ["dtc", "-q", "-I", "dts", "-O", "dtb", *options],
        input=text.encode("utf-8"),
        capture_output=True,
        timeout=10,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode("latin-1") + text
    return run.stdout


def u64(path: str, item: Property) -> str | None:
    return f"u64 {struct.unpack('<Q', item.value)[0]:#x}" if len(item.value) == 8 else None


def dts_of(*items: Property | Node | Nop) -> str:
    return to_dts(parse(build_sequential(Node("", items=list(items)))))


@needs_dtc
@pytest.mark.parametrize("name", ALL)
def test_dtc_compiles_kernel_blobs_back(name: str) -> None:
    """The text of a kernel's blob compiles without -f to the same names, values and order."""
    blob = parse(ALL[name])
    assert flat(parse(compiled(to_dts(blob, u64))).root) == flat(blob.root)


@needs_dtc
@settings(max_examples=25, deadline=None)
@given(tidy_roots)
def test_dtc_compiles_any_tidy_tree_back(root: Node) -> None:
    """Any tree DTS can express survives the trip through text, whatever its bytes."""
    # -f and -E: names such as a@b@c, or a property "name", are errors by convention only.
    out = compiled(to_dts(parse(build_sequential(root))), "-f", "-E", "no-name_properties")
    assert flat(parse(out).root) == flat(root)


@needs_dtc
@settings(max_examples=15, deadline=None)
@given(wild_roots)
def test_dtc_accepts_the_text_of_any_tree(root: Node) -> None:
    """Trees DTS cannot express still give text without a syntax error, all values in it."""
    out = parse(compiled(to_dts(parse(build_sequential(root))), "-f", "-E", "no-name_properties"))
    assert out.root is not None
    found = [len(node.properties) for _, node in out.root.walk()]
    assert found == [len(node.properties) for _, node in root.walk()]


@needs_dtc
def test_dtc_takes_the_text_of_a_cut_blob() -> None:
    """A cut capture gives text that compiles, with the problems in comments."""
    for size in range(40, len(ROOT_6_19), 12):
        text = to_dts(parse(ROOT_6_19[:size]))
        assert f"/* offset {size:#x}: {size} of 260 bytes are present */" in text
        compiled(text, "-f")


def test_text_of_a_property() -> None:
    """Values are raw bytes or text; the meaning stands in a comment."""
    blob = parse(ROOT_6_19)
    text = to_dts(blob, u64)
    assert '    compatible = "kho-v1";\n' in text
    assert "preserved-memory-map = [00 c0 33 03 00 00 00 00]; /* u64 0x333c000 */\n" in text


def test_annotate_gets_paths() -> None:
    """The callback sees the path of the node that holds the property."""
    seen: list[str] = []
    inner = Node("b", items=[Property("p", b"")])
    root = Node("", items=[Property("q", b""), Node("a", items=[inner]), Node("c")])
    root.items.append(Node("d", items=[Property("r", b"")]))
    blob = parse(build_sequential(root))

    def annotate(path: str, item: Property) -> None:
        seen.append(f"{path} {item.name}")

    to_dts(blob, annotate)
    assert seen == ["/ q", "/a/b p", "/d r"]


def test_what_dts_cannot_say_is_a_comment() -> None:
    """Illegal names, duplicates, late properties and NOPs leave a trace in the text."""
    text = dts_of(Property("a b", b""), Nop(), Node("x/y"), Node("x/y"), Property("late", b"\1"))
    assert "a_20b; /* real name 'a b' */" in text
    assert "// [NOP]" in text
    assert "x_2fy { /* real name 'x/y' */" in text
    assert "/* duplicate; dtc needs -f */" in text
    assert "late = [01]; /* a property follows a child node; libfdt does not find it */" in text
    assert text.index("late") < text.index("x_2fy {")


def test_recovered_properties_have_a_stand_in() -> None:
    """A property whose name was cut off is named after its place in the strings block."""
    text = to_dts(parse(ROOT_6_19[:224]))
    assert 'unnamed-0x15 = "kho-v1"; /* name at 0x15 of the strings is unknown */' in text


def test_reservations_are_in_the_text() -> None:
    """Memory reservations keep address and size."""
    blob = parse(ROOT_6_19)
    blob.reservations = [(0x1000, 0x20), (2**64 - 1, 0)]
    text = to_dts(blob)
    assert "/memreserve/ 0x1000 0x20;\n/memreserve/ 0xffffffffffffffff 0;\n" in text


@given(st.text())
def test_comment_cannot_be_closed_early(text: str) -> None:
    """A comment is one line, and only its own end closes it."""
    made = comment(text)
    assert "\n" not in made
    assert made.index("*/", 2) == len(made) - 2


@given(st.text(st.characters(codec="latin-1")))
def test_legal_name_is_legal(name: str) -> None:
    """Every stand-in uses letters dtc knows; a legal name stays."""
    made = legal_name(name, "x")
    assert re.fullmatch(r"[a-zA-Z0-9,._+*#?@-]+", made)
    assert legal_name(made, "x") == made


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", ""),
        (b"\0", "[00]"),
        (b"a\0", '"a"'),
        (b"a\0b c\0", '"a", "b c"'),
        (b"a\0\0", "[61 00 00]"),
        (b"abc", "[61 62 63]"),
        (b"\x80\x81\x82", "[80 81 82]"),
        (b'a"b\\c\0', '"a\\"b\\\\c"'),
        (b"tab\t\0", "[74 61 62 09 00]"),
    ],
)
def test_value_text(value: bytes, text: str) -> None:
    """Only printable NUL-terminated pieces become strings."""
    assert value_text(value) == text


def test_depth_of_the_pyfdt_tree_is_bounded() -> None:
    """Trees deeper than pyfdt can recurse are FdtError."""
    root = Node("")
    node = root
    for _ in range(200):
        node.items.append(Node("n"))
        node = node.items[0] if isinstance(node.items[0], Node) else node
    blob = parse(build_sequential(root), max_depth=300)
    assert blob.complete
    with pytest.raises(FdtError, match="128"):
        to_dts(blob)
