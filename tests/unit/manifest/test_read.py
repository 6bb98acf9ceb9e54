"""Manifests: what they say, and every mistake with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.abi.registry import load_registry
from khotool.cli.main import main
from khotool.encode.fresh import build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.encode.sets import set_of
from khotool.errors import EncodeError, KhotoolError
from khotool.model.image import Image
from khotool.opening.models import Model, build_model
from khotool.structured import StructuredError
from tests.builders import build, decode
from tests.strategies import change_some, share

FILE: dict[str, Any] = {"token": 1, "size": 4096}


def session(*files: dict[str, Any], name: str = "s") -> list[dict[str, Any]]:
    return [{"name": name, "file": list(files)}]


def with_file(**keys: Any) -> dict[str, Any]:
    return {"abi": "7.2", "session": session(FILE | keys)}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "missing key 'abi'"),
    ({"abi": 7}, "abi: expected a string, found an integer 7"),
    ({"abi": "6.15"}, "abi: unknown kernel release '6.15'; the nearest that khotool knows is "),
    ({"abi": "7.2", "sesion": []}, "sesion: unknown key 'sesion'; did you mean 'session'?"),
    ({"abi": "7.2", "session": {}}, "session: expected a list, found a table"),
    ({"abi": "7.2", "session": [1]}, "session[0]: expected a table, found an integer 1"),
    ({"abi": "7.2", "session": [{}]}, "session[0]: missing key 'name'"),
    (
        {"abi": "7.2", "session": session(name="")},
        "session[0].name: expected at least one character",
    ),
    (
        {"abi": "7.2", "session": session(name="x" * 64)},
        "session[0].name: 64 bytes; at most 63 fit",
    ),
    (
        {"abi": "7.2", "session": session(name="a\0")},
        "session[0].name: a string cannot contain NUL",
    ),
    (
        {"abi": "7.2", "session": session(name="\ud800")},
        "/LUO/sessions[\"\\ud800\"]/name: '\\ud800' holds a character that UTF-8 ca",
    ),
    ({"abi": "7.2", "session": session({})}, "session[0].file[0]: missing key 'token'"),
    (with_file(token=-1), "session[0].file[0].token: -1 is out of range; expected 0 to 1844674407"),
    (
        with_file(token=1 << 64),
        "session[0].file[0].token: 0x10000000000000000 does not fit in 64 bits",
    ),
    (with_file(token="one"), "session[0].file[0].token: 'one' is not a number"),
    (with_file(token=True), "session[0].file[0].token: expected an integer, found a boolean True"),
    (
        with_file(size="16000000T"),
        "session[0].file[0].size: 4294967296000000 folios, and at most 67108864 ",
    ),
    (
        with_file(size=1 << 63),
        "session[0].file[0].size: 2251799813685248 folios, and at most 67108864 ",
    ),
    (with_file(colour=1), "session[0].file[0].colour: unknown key 'colour'"),
    (
        with_file(folio="large"),
        "session[0].file[0].folio: expected 'small', 'huge' or a page order up ",
    ),
    (
        with_file(folio=True),
        "session[0].file[0].folio: expected 'small', 'huge' or a page order up ",
    ),
    (with_file(folio=19), "session[0].file[0].folio: expected 'small', 'huge' or a page order up "),
    (
        with_file(seals=["F_SEAL_FATE"]),
        "session[0].file[0].seals[0]: unknown flag 'F_SEAL_FATE'; did you mean ",
    ),
    (
        with_file(seals=[{}]),
        "session[0].file[0].seals[0]: expected the name of a flag, found a tabl",
    ),
    (with_file(holes=3), "session[0].file[0].holes: expected a list, found an integer 3"),
    (with_file(holes=[[1]]), "session[0].file[0].holes[0]: expected [first page, pages]"),
    (
        with_file(holes=[[-1, 2]]),
        "session[0].file[0].holes[0][0]: -1 is out of range; expected 0 to 1844",
    ),
    (with_file(holes=[["a", 2]]), "session[0].file[0].holes[0][0]: 'a' is not a number"),
    (
        with_file(contents="noise"),
        "session[0].file[0].contents: expected 'none', 'zero', or a table of on",
    ),
    (
        with_file(contents={"fill": 300}),
        "session[0].file[0].contents.fill: expected one ASCII character or a nu",
    ),
    (
        with_file(contents={"fill": "é"}),
        "session[0].file[0].contents.fill: expected one ASCII character or a nu",
    ),
    (
        with_file(contents={"pattern": "x"}),
        "session[0].file[0].contents.pattern: unknown pattern 'x'",
    ),
    (
        with_file(contents={"hex": "0"}),
        "session[0].file[0].contents.hex: expected bytes as hexadecimal digits,",
    ),
    (
        with_file(contents={"hex": "00" * 4097}),
        "session[0].file[0].contents: 4097 bytes of contents, but size is 4096",
    ),
    (
        with_file(contents={"file": "nowhere"}),
        "session[0].file[0].contents.file: 'nowhere' cannot be read: No such fi",
    ),
    (
        with_file(contents={"file": 7}),
        "session[0].file[0].contents.file: expected a string, found an integer ",
    ),
    (
        with_file(size="1T", folio="huge", contents={"fill": 0}),
        "session[0].file[0].contents: 1099511627776 bytes of contents, and at mo",
    ),
    (with_file(fields=7), "session[0].file[0].fields: expected a table, found an integer 7"),
    (with_file(fields={"speed": 7}), "session[0].file[0].fields.speed: unknown key 'speed'"),
    (with_file(handler="x" * 48), "session[0].file[0].handler: 48 bytes; at most 47 fit"),
    (
        with_file(handler="own-v1", fields={}),
        "session[0].file[0].fields: no definition says what this is in a file o",
    ),
    (
        {"abi": "6.19", "session": session(FILE | {"seals": 1})},
        "session[0].file[0].seals: memfd-v1 does not carry seals",
    ),
    ({"abi": "6.18", "session": []}, "session: set 6.18 has no entry 'LUO'"),
    ({"abi": "6.19", "flb": [{"name": "x"}]}, "flb: set 6.19 does not carry FLBs"),
    ({"abi": "7.2", "flb": [{"name": "x" * 48}]}, "flb[0].name: 48 bytes; at most 47 fit"),
    ({"abi": "7.0", "kexec_metadata": {}}, "kexec_metadata: set 7.0 has no entry 'kexec-metadata'"),
    (
        {"abi": "7.2", "kexec_metadata": {"version": 1 << 32}},
        "/kexec-metadata/version: 0x100000000 does not fit 32 bits",
    ),
    ({"abi": "7.2", "page_size": 8192}, "page_size: 8192 is not one of (4096, 16384, 65536)"),
    ({"abi": "7.2", "endian": "middle"}, "endian: unknown endian 'middle'"),
    ({"abi": "7.2", "machine": "vax"}, "machine: unknown machine 'vax'"),
    (
        {"abi": "7.2", "memory": [{"start": 1, "size": 4096}]},
        "memory[0]: not aligned to pages of 4096 bytes",
    ),
    (
        {"abi": "7.2", "memory": [{"start": 0, "size": 0}]},
        "memory[0]: empty, or beyond the physical address range of 2^52",
    ),
    (
        {"abi": "7.2", "memory": [{"start": 1 << 52, "size": 4096}]},
        "memory[0]: empty, or beyond the physical address range of 2^52",
    ),
    (
        {"abi": "7.2", "reserve_mem": [{"name": "a", "size": 1}]},
        "reserve_mem[0].size: expected whole pages",
    ),
    (
        {"abi": "7.2", "reserve_mem": [{"name": "a", "size": 4096, "align": 3}]},
        "reserve_mem[0].align: expected a power of two of at least a page",
    ),
    (
        {"abi": "7.2", "reserve_mem": [{"name": "a/b", "size": 4096}]},
        "/memblock/regions/name: 'a/b' is not a node name: 1 to 31 bytes, no '/'",
    ),
    (
        {"abi": "7.2", "reserve_mem": [{"name": "x" * 16, "size": 4096}]},
        "reserve_mem[0].name: 16 bytes; at most 15 fit",
    ),
    (
        {"abi": "7.2", "reserve_mem": [{"name": f"r{i}", "size": 4096} for i in range(9)]},
        "reserve_mem: 9 regions; a kernel has at most 8",
    ),
    (
        {"abi": "7.2", "kho_test": {"orders": [11]}},
        "kho_test.orders[0]: 11 is out of range; expected 0 to 10",
    ),
    (
        {"abi": "7.2", "kho_test": {"orders": [True]}},
        "kho_test.orders[0]: expected an integer, found a boolean True",
    ),
    (
        {"abi": "7.2", "kho_test": {"csum": 1 << 32}},
        "/kho_test/csum: 0x100000000 does not fit 32 bits",
    ),
    ({"abi": "7.2", "mutate": 7}, "mutate: expected a list, found an integer 7"),
    ({"abi": "7.2", "mutate": [{"op": "burn"}]}, "mutate[0].op: unknown op 'burn'"),
    ({"abi": "7.2", "mutate": [{"op": []}]}, "mutate[0].op: expected a string, found a list"),
    (
        {"abi": "7.2", "mutate": [{"op": "poke", "path": "/no"}]},
        "mutate[0].path: no '/no' in model; / has compatible, memory_map, LUO, ",
    ),
    ({"abi": "7.2", "mutate": [{"op": "poke"}]}, "mutate[0]: missing key 'path'"),
    (
        {"abi": "7.2", "mutate": [{"op": "poke", "path": "/memory_map", "value": 1 << 64}]},
        "mutate[0].value: 0x10000000000000000 does not fit in 64 bits",
    ),
    (
        {"abi": "7.2", "mutate": [{"op": "poke", "address": 4096, "bytes": "00"}]},
        "mutate[0].address: 0x1000 is not in the image",
    ),
    (
        {"abi": "7.2", "mutate": [{"op": "leak", "address": -1}]},
        "mutate[0].address: -1 is out of range; expected 0 to 18446744073709551",
    ),
    (
        {"abi": "7.2", "mutate": [{"op": "leak", "address": 0, "order": 64}]},
        "mutate[0].order: expected a page order up to 18",
    ),
    (
        {"abi": "7.2", "mutate": [{"op": "cycle", "path": "/"}]},
        "mutate[0].path: / is not a linked list",
    ),
]


@pytest.mark.parametrize(("manifest", "message"), WRONG, ids=[m for _, m in WRONG])
def test_wrong_manifests(manifest: dict[str, Any], message: str) -> None:
    """Each mistake is one that names file, key and what was expected."""
    with pytest.raises((StructuredError, EncodeError)) as caught:
        build(manifest)
    assert any(message in line for line in caught.value.lines), caught.value.lines
    assert all(line.startswith("model.toml: ") for line in caught.value.lines)


def test_all_mistakes_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run names file, line and key of everything that is wrong, and the nearest key."""
    path = tmp_path / "m.toml"
    path.write_text(
        'abi = "7.3"\npage_sise = "4K"\n[[session]]\nname = "vm"\n[[session.file]]\n'
        'token = "x"\n[[session.file]]\nsize = "2M"\n[[mutate]]\nop = "leek"\n'
    )
    assert main(["encode", str(path), "-o", str(tmp_path / "x.elf")]) == 3
    error = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("khotool: error: ") for line in error] == [
        "m.toml:2: page_sise: unknown key 'page_sise'; did you mean 'page_size'?",
        "m.toml:6: session[0].file[0].token: 'x' is not a number",
        "m.toml:7: session[0].file[1]: missing key 'token'",
        "m.toml:10: mutate[0].op: unknown op 'leek'; did you mean 'leak'?",
    ]
    assert not (tmp_path / "x.elf").exists()


# -- values as dump prints them --------------------------------------------------------------


def value_of(image: Image, name: str) -> Any:
    """Value of the first node of a name that has one."""
    return next(n.value for n in image.tree.walk() if n.name == name and n.value is not None)


@pytest.mark.parametrize(
    ("seals", "number"),
    [
        ("F_SEAL_SEAL|F_SEAL_WRITE (0x9)", 9),
        ("F_SEAL_SHRINK|0x100", 0x102),
        ("F_SEAL_GROW (0x4)", 4),
        (["F_SEAL_GROW", "F_SEAL_SHRINK"], 6),
        ("0x3", 3),
        (3, 3),
    ],
)
def test_flags_as_they_are_printed(seals: Any, number: int) -> None:
    """Names joined by bars, their number in parentheses, lists, and numbers mean the same."""
    assert value_of(decode(with_file(seals=seals)), "seals") == number


@pytest.mark.parametrize("size", ["5000 (4.9 KiB)", "5000", 5000, "0x1388"])
def test_sizes_as_they_are_printed(size: Any) -> None:
    """A size with its unit in parentheses is that size."""
    entry = {"name": "kexec-metadata", "fields": {"kexec_count": size}}
    assert value_of(decode({"abi": "7.2", "entry": [entry]}), "kexec_count") == 5000


def iommu(**fields: Any) -> dict[str, Any]:
    """A manifest with one IOMMU and one device."""
    device = {"hdr": {"ref_count": 1}, "devid": fields.get("devid", 0)}
    unit = {"hdr": {"ref_count": 1}, "type": fields.get("type", 0)}
    inner = {"iommu_array_phys": [unit], "device_array_phys": [device]}
    flb = {"name": "iommu-liveupdate", "format": "iommu-liveupdate", "fields": inner}
    return {"abi": "7.4-frontier", "flb": [flb]}


@pytest.mark.parametrize(
    ("key", "printed", "number"),
    [
        ("devid", "02:01.0", 0x208),
        ("devid", "ff:1f.7", 0xFFFF),
        ("devid", "0x208", 0x208),
        ("type", "IOMMU_ARM_SMMUV3 (2)", 2),
        ("type", "IOMMU_INTEL", 1),
        ("type", "1", 1),
    ],
)
def test_devices_and_names_as_they_are_printed(key: str, printed: str, number: int) -> None:
    """PCI addresses and names of an enumeration can be typed back."""
    assert value_of(decode(iommu(**{key: printed})), key) == number


def test_unknown_name_of_an_enumeration() -> None:
    """A name that is not one of the field's says which one may be meant."""
    with pytest.raises(StructuredError, match="'IOMMU_INTLE' is not a number; did you mean 'IO"):
        build(iommu(type="IOMMU_INTLE"))


# -- rows that point to memory ---------------------------------------------------------------

RINGS = """
id = "rings-v1"
title = "Rings"
kind = "entry"
content = "fdt"
status = "local"
header = "none"
match = { compatible = "rings-v1" }
doc = "Queues of a device, each with the memory of its ring."

[fdt.properties]
compatible = { type = "string", value = "rings-v1", doc = "version of this tree" }
queues = { type = "queue[]", doc = "one for each queue" }

[struct.queue]
doc = "A queue."
size = 24
layout = '''
u64 ring;   /* memory */
u64 len;    /* bytes of the ring */
u64 depth;  /* entries */
'''

[struct.queue.fields]
ring = { role = "address", points_to = POINTS, null = "empty" }
len = { role = "bytes" }
""".replace("POINTS", '{ shape = "range", size = "len" }')


@pytest.fixture
def rings(tmp_path: Path) -> Callable[[list[dict[str, Any]]], Image]:
    """Images of rows of queues."""
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats/rings-v1.toml").write_text(RINGS)
    registry = load_registry([tmp_path / "formats"])

    def make(queues: list[dict[str, Any]]) -> Image:
        entry = {"name": "rings", "format": "rings-v1", "fields": {"queues": queues}}
        model = Model.of(tmp_path / "model.toml", {"abi": "7.2", "entry": [entry]})
        return image_of(build_model(model, registry), registry)

    return make


def rows_of(image: Image) -> list[tuple[bool, int, int]]:
    table = next(node.table for node in image.tree.walk() if node.table is not None)
    columns = [table.column(label).tolist() for label in ("ring", "len", "depth")]
    return [(bool(ring), size, depth) for ring, size, depth in zip(*columns, strict=True)]


@pytest.mark.parametrize(
    ("queues", "rows"),
    [
        ([{"hole": True}], [(False, 0, 0)]),
        ([{"hole": True, "len": 3}, {"size": "8K"}], [(False, 3, 0), (True, 8192, 0)]),
        ([{"len": 8192}], [(True, 8192, 0)]),
        ([{"size": "8K", "len": 8192}], [(True, 8192, 0)]),
        ([{"ring": {"size": "8K", "contents": {"fill": 7}}, "depth": 5}], [(True, 8192, 5)]),
        ([{"ring": {}, "len": 12288}, {"hole": True}], [(True, 12288, 0), (False, 0, 0)]),
    ],
)
def test_ranges_of_rows(
    rings: Callable[..., Image], queues: list[dict[str, Any]], rows: list[tuple[bool, int, int]]
) -> None:
    """Rows take ranges as they are written elsewhere, keep their length, and can have none."""
    image = rings(queues)
    assert rows_of(image) == rows
    moved = image_of(build_fresh(handover_of(image), set_of(image), image.registry), image.registry)
    assert rows_of(moved) == rows


def test_length_that_contradicts(rings: Callable[..., Image]) -> None:
    """A length that is not the size is a mistake, not ignored."""
    with pytest.raises(StructuredError, match=r"queues\[0\].len: len is 100, but size is 8192"):
        rings([{"size": "8K", "len": 100}])
    with pytest.raises(StructuredError, match="unknown key 'sise'; did you mean 'size'"):
        rings([{"ring": {"sise": "8K"}}])


# -- hostile documents -----------------------------------------------------------------------

VALUES = [
    None,
    True,
    -1,
    0,
    1,
    3,
    1 << 40,
    1 << 52,
    1 << 64,
    1.5,
    "",
    "x",
    "0x10",
    "9K",
    "huge",
    "\ud800",
    "\0",
    [],
    [1],
    {},
    {"a": 1},
    [[1, 2]],
    {"fill": 9},
    "/LUO",
    "6.16",
    "big",
    65536,
]
WHOLE: dict[str, Any] = {
    "abi": "7.2",
    "page_size": 4096,
    "endian": "little",
    "osrelease": "7.3.1",
    "machine": "x86_64",
    "memory": [{"start": 0, "size": 1 << 32}],
    "scratch": [{"start": 1 << 24, "size": 1 << 24}],
    "liveupdate_number": 3,
    "kexec_metadata": {"version": 1, "previous_release": "x", "kexec_count": 3},
    "reserve_mem": [
        {"name": "t", "size": 8192, "start": 1 << 21, "align": 8192, "contents": {"fill": "T"}}
    ],
    "kho_test": {"orders": [0, 1], "csum": 3, "magic": 4},
    "session": session(
        {
            "handler": "memfd-v2",
            "token": 1,
            "size": 20487,
            "pos": 3,
            "seals": ["F_SEAL_WRITE"],
            "folio": 1,
            "holes": [[1, 2]],
            "contents": {"pattern": "page"},
        },
        {"token": 2, "size": 8192, "fields": {"flags": 0}, "contents": {"random": 1}},
    ),
    "flb": [{"name": "liveupdate-test-flb-v0", "data": 7, "count": 2}],
    "mutate": [
        {"op": "poke", "path": "/LUO/liveupdate_number", "value": 7},
        {"op": "duplicate", "from": "/LUO/liveupdate_number", "to": "/memory_map"},
        {"op": "leak", "address": 1 << 21, "order": 2},
        {"op": "truncate", "path": "/LUO/flbs", "size": 40},
    ],
}


@settings(max_examples=share(1))
@given(st.data())
def test_any_change_of_a_manifest(data: st.DataObject) -> None:
    """Whatever stands at any key of a manifest: an image, or an error that names the file."""
    document = json.loads(json.dumps(WHOLE))
    change_some(data, document, VALUES)
    try:
        build(document)
    except KhotoolError as error:
        lines = error.lines
    else:
        lines = ("model.toml",)
    assert all(line.startswith("model.toml") for line in lines)
