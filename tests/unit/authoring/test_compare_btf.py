"""Definitions held against a kernel's layouts: what disagrees is a difference with a place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from khotool.abi.definition import AbiSet
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import Origin, Registry
from khotool.authoring.btf import Btf
from khotool.authoring.compare_btf import (
    NOT_IN_BTF,
    Difference,
    compare_set,
    definitions_of,
    nearest_set,
)
from khotool.cli.main import main
from tests.builders import REGISTRY, SETS
from tests.unit.authoring.btf_builder import BtfBuilder

GEOMETRY = Geometry(4096)
LATEST = REGISTRY.sets["7.2"]


def kernel(abi: AbiSet, order: str = "<", geometry: Geometry = GEOMETRY) -> Btf:
    """A kernel with exactly the structs of a set."""
    btf = BtfBuilder(order)
    for definition in definitions_of(abi, REGISTRY):
        for name in definition.structs:
            if name not in NOT_IN_BTF:
                btf.compiled(REGISTRY.compile(definition, name, geometry))
    return Btf(btf.section())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", SETS)
def test_a_kernel_of_the_set_agrees(name: str, order: str) -> None:
    """All structs of a set's definitions, as C declares them, for either byte order."""
    abi = REGISTRY.sets[name]
    geometry = Geometry(65536, "little" if order == "<" else "big")
    btf = kernel(abi, order, geometry)
    wanted = {n for d in definitions_of(abi, REGISTRY) for n in d.structs} - set(NOT_IN_BTF)
    assert compare_set(btf, abi, REGISTRY, geometry) == (len(wanted), [])


def test_an_empty_kernel_lacks_all_but_boot_data() -> None:
    """Each struct is named, except those of another architecture and those that C has not."""
    btf = BtfBuilder()
    btf.integer(4)
    compared, found = compare_set(Btf(btf.section()), LATEST, REGISTRY, GEOMETRY)
    assert compared == 0
    assert Difference("memfd-v2", "memfd_luo_ser", "", "the kernel has no such struct") in found
    names = {difference.struct for difference in found}
    assert not names & {"setup_data", "kho_data", "kho_test_folio"}


def test_x86_kernels_have_all_boot_data() -> None:
    """A kernel with setup_data lacks kho_data where it is built without handover."""
    btf = BtfBuilder()
    boot = REGISTRY.get("setup_data")
    btf.compiled(REGISTRY.compile(boot, "setup_data", GEOMETRY))
    _, found = compare_set(Btf(btf.section()), LATEST, REGISTRY, GEOMETRY)
    assert Difference("setup_data", "kho_data", "", "the kernel has no such struct") in found


MINE = """
id = "mine-v1"
title = "Mine"
kind = "file"
content = "mine_ser"
status = "local"
uses = ["kho_vmalloc"]

[struct.mine_ser]
size = 40
layout = '''
u64 pos;
u64 pfn : 52;
u64 flags : 12;
struct kho_vmalloc folios;
char text[8];
'''
"""


def differences(size: int, *rows: tuple[str, int, int], bits: bool = True) -> list[str]:
    """What a kernel's ``mine_ser`` of so many bytes has against the definition.

    Rows are name, bytes of the type (0: kho_vmalloc; negative: an array of bytes) and position.
    """
    mine = load_definition(MINE.encode(), "mine.toml")
    registry = Registry([*REGISTRY, mine], REGISTRY.sets.values())
    abi = AbiSet("mine", "7.2", "", LATEST.root, files=("mine-v1",))
    btf = BtfBuilder()
    vmalloc = btf.compiled(REGISTRY.compile(REGISTRY.get("kho_vmalloc"), "kho_vmalloc", GEOMETRY))
    numbers = [
        btf.integer(kind) if kind > 0 else btf.array(btf.integer(1), -kind) if kind else vmalloc
        for _, kind, _ in rows
    ]
    btf.group(
        "mine_ser",
        size,
        [(name, number, at) for (name, _, at), number in zip(rows, numbers, strict=True)],
        bits=bits,
    )
    _, found = compare_set(Btf(btf.section()), abi, registry, GEOMETRY)
    return [f"{d.field}: {d.message}" for d in found if d.struct == "mine_ser"]


PFN, FLAGS = ("pfn", 8, 52 << 24 | 64), ("flags", 8, 12 << 24 | 116)
POS, FOLIOS, TEXT = ("pos", 8, 0), ("folios", 0, 128), ("text", -8, 256)


def test_all_leaves_agree() -> None:
    """Bit-fields, embedded structs and arrays are compared leaf by leaf."""
    rows = (POS, PFN, FLAGS, FOLIOS, ("text", -16, 256))
    assert differences(40, *rows) == ["text: 64 bits here, 128 in the kernel"]
    assert differences(48, POS, PFN, FLAGS, FOLIOS, TEXT) == [": 40 bytes here, 48 in the kernel"]
    assert differences(40, POS, PFN, FLAGS, FOLIOS, TEXT) == []


def test_names_sizes_and_places() -> None:
    """A field renamed, of another width, moved, gone or new is named with what the kernel has."""
    narrow = ("pfn", 8, 48 << 24 | 64)
    assert differences(40, ("at", 8, 0), narrow, FLAGS, FOLIOS, TEXT) == [
        "pos: the kernel calls it at",
        "pfn: 52 bits here, 48 in the kernel",
    ]
    assert differences(40, PFN, FLAGS, FOLIOS, ("pos", 4, 256), ("text", -4, 288)) == [
        "pos: nothing starts at bit 0 in the kernel",
        "text: the kernel calls it pos",
        "text: the kernel has text at byte 36",
    ]
    assert differences(40, POS, PFN, FLAGS, ("folios", 8, 128), TEXT) == [
        "first: the kernel calls it folios",
        "total_pages: nothing starts at bit 192 in the kernel",
        "flags: nothing starts at bit 224 in the kernel",
        "order: nothing starts at bit 240 in the kernel",
    ]


def test_open_ended_structs_have_any_size() -> None:
    """Where the kernel ends a struct with an array of no length, only its fields count."""
    mine = load_definition(MINE.encode(), "mine.toml")
    compiled = Registry([*REGISTRY, mine]).compile(mine, "mine_ser", GEOMETRY)
    btf = BtfBuilder()
    number = btf.compiled(compiled, name="")
    btf.group("mine_ser", 4096, [("", number, 0), ("tail", btf.array(btf.integer(8), 0), 320)])
    abi = AbiSet("mine", "7.2", "", LATEST.root, files=("mine-v1",))
    registry = Registry([*REGISTRY, mine], REGISTRY.sets.values())
    _, found = compare_set(Btf(btf.section()), abi, registry, GEOMETRY)
    assert [d for d in found if d.struct == "mine_ser"] == []


@pytest.mark.parametrize("name", ["6.18", "7.0", "7.1", "7.2"])
def test_nearest_set(name: str) -> None:
    """A kernel that names no release is held against the released set it has most of."""
    nearest = nearest_set(kernel(REGISTRY.sets[name]), REGISTRY, GEOMETRY)
    here, best = (
        compare_set(kernel(REGISTRY.sets[name]), abi, REGISTRY, GEOMETRY)
        for abi in (nearest, REGISTRY.sets[name])
    )
    assert here == best


@pytest.mark.parametrize("name", ["6.19", "7.1", "7.2"])
def test_one_wrong_definition_is_found(name: str) -> None:
    """Whichever definition of a kernel's set is wrong, the others still tell the set."""
    abi = REGISTRY.sets[name]
    btf = kernel(abi)
    for definition in definitions_of(abi, REGISTRY):
        for struct in definition.structs.values():
            first = struct.fields[0]
            if struct.name in NOT_IN_BTF or first.parts or first.fill:
                continue
            fields = (replace(first, name="wrong"), *struct.fields[1:])
            planted = replace(struct, fields=fields)
            structs = {**definition.structs, struct.name: planted}
            registry = REGISTRY.extended([(replace(definition, structs=structs), Origin("user"))])
            nearest = nearest_set(btf, registry, GEOMETRY)
            _, found = compare_set(btf, nearest, registry, GEOMETRY)
            assert struct.name in {difference.struct for difference in found}


def test_structures_younger_than_the_set_are_left_out() -> None:
    """kho_vmalloc came with 6.18: kernels before it are not asked for it."""
    ids = [definition.id for definition in definitions_of(REGISTRY.sets["6.16"], REGISTRY)]
    assert "kho_vmalloc" not in ids
    assert "kho_vmalloc" in [d.id for d in definitions_of(REGISTRY.sets["6.18"], REGISTRY)]


def test_released_kernels_alone_are_near() -> None:
    """A set that no release has, or none yet, is not taken, however much of it a kernel has."""
    latest = replace(LATEST, id="mine", status="development")
    other = replace(LATEST, id="other", first="", last="")
    registry = Registry(REGISTRY, [latest, other, *REGISTRY.sets.values()])
    assert nearest_set(kernel(LATEST), registry, GEOMETRY).id == "7.2"


def test_two_leaves_at_one_place() -> None:
    """Of two members at one offset, the one with the name counts."""
    rows = (POS, PFN, FLAGS, FOLIOS, TEXT)
    assert differences(40, *rows, ("of no length", 8, 0)) == []
    assert differences(40, ("of no length", 8, 0), *rows) == []
    assert differences(40, ("at", 8, 0), ("be", 8, 0), *rows[1:]) == [
        "pos: the kernel calls it be",
    ]


def test_a_kernel_without_handover(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a set to name, a kernel that lacks all but boot data is told from a damaged one."""
    btf = BtfBuilder()
    boot = REGISTRY.get("setup_data")
    for name in boot.structs:
        btf.compiled(REGISTRY.compile(boot, name, GEOMETRY))
    path = tmp_path / "x.btf"
    path.write_bytes(btf.section())
    assert main(["formats", "btf", str(path)]) == 3
    assert "was it built with CONFIG_KEXEC_HANDOVER?" in capsys.readouterr().err
    assert main(["formats", "btf", str(path), "--kernel", "7.3"]) == 1
    assert "memfd-v2  memfd_luo_ser  the kernel has no such struct" in capsys.readouterr().out
