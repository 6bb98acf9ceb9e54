from __future__ import annotations

import pytest

from khotool.fdt.blob import FdtError, Node, Property
from khotool.fdt.parse import parse
from khotool.fdt.text import comment
from khotool.fdt.write import build_sequential
from khotool.render.device_tree import to_dts
from tests.unit.fdt.made import fdt, words


def nested(levels: int) -> bytes:
    """A chain of nodes, the root being level 1."""
    return fdt(words(1, 0) + words(1, 0x61000000) * (levels - 1) + words(2) * levels + words(9))


def test_levels_are_indented() -> None:
    """Each level stands four blanks further in, up to sixteen levels."""
    lines = to_dts(parse(nested(20))).splitlines()
    opened = [len(line) - len(line.lstrip()) for line in lines if line.endswith(" {")]
    assert opened == [4 * min(level, 16) for level in range(20)]
    closed = [len(line) - len(line.lstrip()) for line in lines if line.endswith("};")]
    assert closed == opened[::-1]


def test_text_of_a_small_tree() -> None:
    """Properties stand one level inside their node."""
    inner = Node("b", items=[Property("q", b"x\0")])
    root = Node("", items=[Property("p", b""), Node("a", items=[inner])])
    text = to_dts(parse(build_sequential(root)))
    assert text.splitlines()[-8:] == [
        "/ {",
        "    p;",
        "    a {",
        "        b {",
        '            q = "x";',
        "        };",
        "    };",
        "};",
    ]
    assert text.endswith("};\n")
    assert not text.endswith("\n\n")


def test_as_many_levels_as_pyfdt_can_take() -> None:
    """128 levels make a text; the node below them is named by its offset."""
    blob = parse(nested(128), max_depth=200)
    assert blob.complete
    assert to_dts(blob).count(" {") == 128
    with pytest.raises(FdtError, match="more than 128 levels of nodes") as found:
        to_dts(parse(nested(129), max_depth=200))
    assert found.value.offset == 56 + 8 * 128


def test_a_problem_is_told_once() -> None:
    """A problem of an item stands beside it; the others stand at the top, by offset."""
    text = to_dts(parse(fdt(words(1, 0, 1, 0x612F6200, 2, 2, 9), off_mem_rsvmap=44)))
    problem = "node name 'a/b' has a slash"
    assert text.count(problem) == 1
    assert f"a_2fb {{ /* real name 'a/b' */ /* {problem} */\n" in text
    first, second, third, *_ = text.splitlines()
    assert first == "/dts-v1/;"
    assert second == "/* offset 0x10: off_mem_rsvmap 44 is not a multiple of 8 */"
    assert third.startswith("/* offset 0x4c: ")


def test_real_names_come_before_other_notes() -> None:
    """What the name really is stands first, then the meaning, then problems."""
    data = fdt(words(1, 0, 3, 0, 0, 3, 0, 7, 2, 9), b"a b\0")
    lines = to_dts(parse(data), lambda path, item: "meaning").splitlines()
    problem = "property name at 0x7 of the strings block has no end"
    assert "    a_20b; /* real name 'a b' */ /* meaning */" in lines
    assert "    unnamed-0x7; /* name at 0x7 of the strings is unknown */ /* meaning */" in lines
    assert f"/* offset 0x54: {problem} */" in lines


def test_nodes_without_a_name_of_their_own() -> None:
    """The root is ``/`` whatever it is called; another empty name gets a stand-in."""
    text = to_dts(parse(fdt(words(1, 0x61000000, 1, 0, 2, 2, 9))))
    assert "/ { /* the root node is named 'a' */\n" in text
    assert "    unnamed-node { /* real name '' */ /* a node name is empty */\n" in text


def test_no_root_is_an_empty_tree() -> None:
    """A blob without a root still has a text, and nothing to annotate."""
    seen: list[str] = []
    text = to_dts(parse(fdt(words(9))), lambda path, item: seen.append(path))
    assert text.endswith("/ {\n};\n")
    assert "/* offset 0x3c: there is no root node */" in text
    assert seen == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a", "/* a */"),
        ("a\nb", "/* a\\nb */"),
        ("\udc80\u200b", "/* \\udc80\\u200b */"),
        ("*/", "/* * / */"),
    ],
)
def test_comments_show_what_cannot_be_printed(text: str, shown: str) -> None:
    """Every character that is no print is escaped, and nothing else."""
    assert comment(text) == shown
