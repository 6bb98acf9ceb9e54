"""A root that debugfs cut in front of its strings gets its names back."""

from __future__ import annotations

import pytest

from khotool.codec.recover import recover_names, root_definition
from khotool.encode.reopen import image_of
from khotool.fdt.blob import Blob
from khotool.fdt.parse import parse
from tests.builders import CAPTURES, REGISTRY, SETS, build, capture

REGIONS = {"reserve_mem": [{"name": "a", "size": 4096}], "kho_test": {"orders": [0]}}


def cut(blob: Blob) -> Blob:
    """The tree without its strings, as the kernel's debugfs gives it."""
    return parse(bytes(blob.data)[: blob.off_dt_struct + blob.size_dt_struct])


def blobs() -> dict[str, Blob]:
    found = {}
    for name in SETS:
        image = image_of(build({"abi": name} | REGIONS), REGISTRY)
        assert image.tree.span is not None
        data = image.space.read(image.tree.span.address, image.tree.span.size)
        found[name] = parse(bytes(data))
    for name in CAPTURES:
        image = capture(name)
        assert image.tree.span is not None
        found[name] = parse(image.space.read(image.tree.span.address, image.tree.span.size))
    return found


@pytest.mark.parametrize("name", [*SETS, *CAPTURES])
def test_names_come_back(name: str) -> None:
    """The definition is found by its value, and every property has the name it had."""
    whole = blobs()[name]
    short = cut(whole)
    assert whole.root is not None
    assert short.root is not None
    assert not short.complete
    definition = root_definition(short, REGISTRY)
    assert definition is root_definition(whole, REGISTRY)
    assert definition is not None
    number = recover_names(short, definition)
    expected = [prop.name for _, node in whole.root.walk() for prop in node.properties]
    assert [prop.name for _, node in short.root.walk() for prop in node.properties] == expected
    assert number == len(expected)


def test_nothing_lost_is_nothing_recovered() -> None:
    """A tree that has its names keeps them."""
    whole = blobs()["7.2"]
    definition = root_definition(whole, REGISTRY)
    assert definition is not None
    assert recover_names(whole, definition) == 0
    assert whole.root is not None
    assert whole.root.get("compatible") is not None


def test_cut_in_the_middle() -> None:
    """Cut anywhere in the structure: fewer properties, never a wrong name."""
    whole = blobs()["7.2"]
    assert whole.root is not None
    names = {p.name for _, node in whole.root.walk() for p in node.properties} | {""}
    for size in range(whole.off_dt_struct, whole.off_dt_struct + whole.size_dt_struct, 4):
        short = parse(bytes(whole.data)[:size])
        definition = root_definition(short, REGISTRY)
        if definition is None or short.root is None:
            continue
        recover_names(short, definition)
        assert {p.name for _, node in short.root.walk() for p in node.properties} <= names
