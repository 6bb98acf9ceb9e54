"""Definitions of one string: every sign, what is said of it, and who decides in doubt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from khotool.abi.definition import Condition, Definition
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.absent import Absent, Reason
from khotool.codec.choose import choose
from khotool.codec.conditions import Evidence, describe, holds
from khotool.codec.contexts import Walk
from khotool.codec.scene import Scene
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.blob import Property
from khotool.maps.preserved import MapPages, PreservedMap
from khotool.memory.overlay import OverlaySpace
from khotool.pages.blocks import Blocks
from tests.unit.decode.fixture_images import changed, good

HEAD = """
title = "t"
kind = "file"
content = "ser"
status = "local"
match = { compatible = "dev" }
"""
STRUCT = """
[struct.ser]
size = 40
layout = '''
u32 version;
u32 pad;
u64 at;
char name[8];
u16 words[4];
struct part inner[2];
'''

[struct.part]
size = 4
layout = '''
u32 mark;
'''
"""
PRESERVED = 0x40_0000


def definition(identifier: str, probe: str = "") -> Definition:
    sign = f"probe = [{probe}]\n" if probe else ""
    return load_definition(f'id = "{identifier}"\n{HEAD}{sign}{STRUCT}'.encode(), identifier)


def scene(*definitions: Definition, preserved: bool = True, **options: Any) -> Scene:
    made = Scene.of(OverlaySpace(None, []), Registry(definitions), Geometry(4096), **options)
    if preserved:
        blocks = Blocks.from_runs(
            np.array([PRESERVED], np.uint64), np.ones(1, np.uint64), np.array([2], np.uint8), 12
        )
        made = made.with_map(PreservedMap("radix", blocks, MapPages.empty(), [], complete=True))
    return made


def record(version: int = 2, at: int = PRESERVED, name: bytes = b"eth0") -> bytes:
    words = b"".join(n.to_bytes(2, "little") for n in (7, 8, 9, 10))
    head = version.to_bytes(4, "little") + bytes(4) + at.to_bytes(8, "little")
    return head + name.ljust(8, b"\0") + words + (5).to_bytes(4, "little") + bytes(4)


TREE = FdtNode("", items=[Property("state", b"\1"), FdtNode("a", items=[Property("b", bytes(16))])])

SIGNS: list[tuple[Condition, Evidence, bool, str]] = [
    (Condition(asked=True), Evidence(), False, "only chosen with --abi"),
    (Condition(has="a/b"), Evidence(TREE), True, "the tree has a/b"),
    (Condition(has="a"), Evidence(TREE), True, "the tree has a"),
    (Condition(has="a", length=1), Evidence(TREE), False, "the tree has a of 1 bytes"),
    (Condition(has="a/c"), Evidence(TREE), False, "the tree has a/c"),
    (Condition(has="x/y/z"), Evidence(TREE), False, "the tree has x/y/z"),
    (Condition(has="a/b"), Evidence(data=record()), False, "the tree has a/b"),
    (Condition(has="a/b", length=16), Evidence(TREE), True, "the tree has a/b of 16 bytes"),
    (
        Condition(has="a/b", above=16),
        Evidence(TREE),
        False,
        "the tree has a/b of more than 16 bytes",
    ),
    (
        Condition(has="a/b", multiple=8),
        Evidence(TREE),
        True,
        "the tree has a/b of a multiple of 8 bytes",
    ),
    (Condition(lacks="state"), Evidence(TREE), False, "the tree has no state"),
    (Condition(lacks="status"), Evidence(TREE), True, "the tree has no status"),
    (Condition(anywhere="b"), Evidence(TREE), True, "a node of the tree has b"),
    (Condition(anywhere="mem"), Evidence(TREE), False, "a node of the tree has mem"),
    (Condition(blob=40), Evidence(size=40), True, "the blob has 40 bytes"),
    (Condition(blob=40), Evidence(size=32), False, "the blob has 40 bytes"),
    (Condition(handle="zero"), Evidence(handle=0), True, "the handle is 0"),
    (Condition(handle="address"), Evidence(handle=0), False, "the handle is not 0"),
    (Condition(order=2), Evidence(handle=PRESERVED), True, "its block has order 2"),
    (Condition(order=2), Evidence(handle=PRESERVED + 4096), False, "its block has order 2"),
    (Condition(order=2), Evidence(), False, "its block has order 2"),
    (Condition(field="version", equals=2), Evidence(data=record()), True, "version is 2"),
    (Condition(field="version", equals=1), Evidence(data=record()), False, "version is 1"),
    (Condition(field="version", at_most=1), Evidence(data=record()), False, "version is at most 1"),
    (
        Condition(field="version", at_least=2),
        Evidence(data=record()),
        True,
        "version is at least 2",
    ),
    (
        Condition(field="at", aligned=True),
        Evidence(data=record()),
        True,
        "at is the address of a page",
    ),
    (
        Condition(field="at", aligned=True),
        Evidence(data=record(at=8)),
        False,
        "at is the address of a page",
    ),
    (
        Condition(field="at", preserved=True),
        Evidence(data=record()),
        True,
        "at is an address in preserved memory",
    ),
    (
        Condition(field="at", preserved=True),
        Evidence(data=record(at=1 << 32)),
        False,
        "at is an address in preserved memory",
    ),
    (Condition(field="name", equals="eth0"), Evidence(data=record()), True, "name is eth0"),
    (
        Condition(field="name", at_least=1),
        Evidence(data=record(name=b"")),
        False,
        "name is at least 1",
    ),
    (Condition(field="name", at_most=3), Evidence(data=record()), False, "name is at most 3"),
    (Condition(field="words/1", equals=8), Evidence(data=record()), True, "words/1 is 8"),
    (Condition(field="words/9", equals=8), Evidence(data=record()), False, "words/9 is 8"),
    (Condition(field="inner/0/mark", equals=5), Evidence(data=record()), True, "inner/0/mark is 5"),
    (Condition(field="inner/mark", equals=5), Evidence(data=record()), False, "inner/mark is 5"),
    (Condition(field="version", equals=2), Evidence(data=record()[:8]), False, "version is 2"),
    (
        Condition(field="inner/mark", at_most=9),
        Evidence(data=record()),
        False,
        "inner/mark is at most 9",
    ),
    (
        Condition(rows="at", field="mark", equals=5),
        Evidence(data=record()),
        False,
        "mark of all at is 5",
    ),
    (
        Condition(field="at", inside="version"),
        Evidence(data=record()),
        False,
        "at is inside version",
    ),
    (Condition(root="kho-v9"), Evidence(), False, "the root is kho-v9"),
    (Condition(page_size=4096), Evidence(), True, "pages have 4096 bytes"),
    (Condition(page_size=65536), Evidence(), False, "pages have 65536 bytes"),
]


@pytest.mark.parametrize(("sign", "evidence", "there", "text"), SIGNS, ids=lambda v: str(v)[:40])
def test_every_sign(sign: Condition, evidence: Evidence, there: bool, text: str) -> None:
    """A sign is seen where it is, missed where it is not, and said in half a sentence."""
    one = definition("one")

    assert holds(scene(one), one, sign, evidence) is there
    assert describe(sign) == text


def test_without_a_map_every_address_may_be_preserved() -> None:
    """What nobody can know speaks against no format; orders are not known at all."""
    one = definition("one")
    blind = scene(one, preserved=False).with_map(Absent(Reason.CONSUMED, "gone"))

    assert holds(blind, one, Condition(field="at", preserved=True), Evidence(data=record(at=9)))
    assert not holds(blind, one, Condition(order=2), Evidence(handle=PRESERVED))


def chosen(*definitions: Definition, data: bytes, abi: dict[str, str | None] | None = None) -> Any:
    walk = Walk.over(scene(*definitions, abi=abi))
    evidence = Evidence(data=data, handle=PRESERVED)
    found = choose(walk.scene, "dev", definitions, evidence)
    walk.recorder.choose(walk.recorder.tree, found.choice)
    return found.definition, walk.recorder


def test_more_signs_win() -> None:
    """The definition with more signs is taken; the choice names them."""
    one = definition("one")
    two = definition("two", '{ field = "version", equals = 2 }')
    three = definition(
        "three", '{ field = "version", equals = 2 }, { field = "at", aligned = true }'
    )
    found, made = chosen(one, two, three, data=record())
    choice = made.choices["dev", "three"]

    assert found.id == "three"
    assert (choice.certain, choice.among) == (True, "format")
    assert choice.why == "version is 2; at is the address of a page"
    assert made.findings == []


def test_without_a_sign_it_is_the_usual_one() -> None:
    """The definition without a probe is what the string means by default."""
    one, two = definition("one"), definition("two", '{ field = "version", equals = 7 }')
    found, made = chosen(one, two, data=record())

    assert found.id == "one"
    assert made.findings == []


def test_doubt_is_a_finding() -> None:
    """Two that fit as well, or none that fits: ABI903 says so, once."""
    two = definition("two", '{ field = "version", equals = 2 }')
    three = definition("three", '{ field = "at", aligned = true }')
    _, equal = chosen(two, three, data=record())
    _, none = chosen(two, three, data=record(version=1, at=1))

    assert [f.rule for f in equal.findings] == ["ABI903"]
    assert "would fit as well; --abi decides" in equal.findings[0].message
    assert [f.rule for f in none.findings] == ["ABI903"]
    assert "no layout's probe conditions hold; others are three" in none.findings[0].message


@pytest.mark.parametrize("abi", [{"dev": "two"}, {"two": None}], ids=["string", "id"])
def test_the_user_decides(abi: dict[str, str | None]) -> None:
    """``--abi STRING=ID`` and ``--abi ID`` overrule every sign."""
    one, two = definition("one"), definition("two", '{ field = "version", equals = 7 }')
    found, made = chosen(one, two, data=record(), abi=abi)

    assert found.id == "two"
    assert made.choices["dev", "two"].why == "as --abi says"


def test_no_candidates_is_no_definition() -> None:
    """A string that nothing matches has no definition, and no finding here."""
    found = choose(scene(definition("one")), "other", (), Evidence())
    assert (found.definition, found.choice) == (None, None)


def test_what_stands_behind_an_array_decides_among_equals_alone() -> None:
    """A record that was taken back may still be there: its format is doubted, not another one."""
    found = good("luo-posted-v5-sessions-and-flbs")
    assert {c.certain for c in found.choices if c.layout == "luo-v1-posted-v5"} == {True}
    again = changed(found, ("/LUO/sessions/header/count", 3))
    (choice,) = [c for c in again.choices if c.layout == "luo-v1-posted-v5"]
    assert not choice.certain
    assert "bytes that are not 0 follow the end of its array" in choice.why
    assert "ABI903" in {finding.rule for finding in again.findings}
