"""Values that name a record or a file elsewhere: what they name, and what is said if nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from khotool.abi.definition import Definition
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.absent import Absent, Reason
from khotool.codec.contexts import Walk
from khotool.codec.follow import follow
from khotool.codec.tables import claim_rows
from khotool.decode.decoded import resolve
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Node, NodeKind, Span, Table
from khotool.model.lookup import find_node
from tests.unit.codec.walks import walk_over
from tests.unit.decode.fixture_images import NOWHERE, changed, good, told

DEVICES = good("7.4-frontier-devices")
FLB = "/LUO/flbs[iommu-liveupdate]/data"
DEVICE, DOMAIN = f"{FLB}/device_array_phys[0]", f"{FLB}/iommu_domain_array_phys[0]"
TABLE = "/LUO/sessions[vm]/files[0x10]/data/hwpt_array"
TOKEN = "/LUO/sessions[vm]/files[0x20]/data/token"


def place(path: str) -> int:
    span = find_node(DEVICES, path).span
    assert span is not None
    return span.address


def test_what_is_named() -> None:
    """A reference is the path of what it names, and leads to its bytes."""
    node = find_node(DEVICES, f"{DEVICE}/domain_phys")
    assert node.reference == DOMAIN
    assert node.target == find_node(DEVICES, DOMAIN).span
    assert find_node(DEVICES, TOKEN).reference == "/LUO/sessions[vm]/files[0x10]"
    assert told(DEVICES) == []


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (lambda: NOWHERE, f"{NOWHERE:#x} is not the address of any iommu_domain_ser"),
        (lambda: 8, "0x8 is not the address of any iommu_domain_ser"),
        (
            lambda: place(DOMAIN) + 8,
            f"{place(DOMAIN) + 8:#x} is inside {DOMAIN}, not its start",
        ),
        (
            lambda: place(f"{FLB}/iommu_array_phys[0]"),
            f"{place(f'{FLB}/iommu_array_phys[0]'):#x} is not the address of any iommu_domain_ser",
        ),
    ],
    ids=["nowhere", "low", "inside", "another struct"],
)
def test_elements_that_are_none(address: object, why: str) -> None:
    """An address of no record, of the middle of one, or of a record of another struct."""
    assert callable(address)
    path = f"{DEVICE}/domain_phys"
    damaged = changed(DEVICES, (path, address()))
    assert told(damaged) == [("MEM319", path, why)]
    assert find_node(damaged, path).reference == ""


def test_rows_of_a_table() -> None:
    """A column of references is judged as a whole: how many are wrong, and why the first is."""
    table = find_node(DEVICES, TABLE).table
    assert table is not None
    size = table.compiled.size
    offset = table.compiled.by_label("domain_data").offset
    rows = b"".join(
        bytes(DEVICES.space.read(table.span(row).address, offset))
        + (place(DOMAIN) + 16).to_bytes(8, "little")
        + bytes(DEVICES.space.read(table.span(row).address + offset + 8, size - offset - 8))
        for row in range(len(table))
    )
    damaged = changed(DEVICES, (TABLE, rows))
    text = f"{place(DOMAIN) + 16:#x} is inside {DOMAIN}, not its start"
    assert told(damaged) == [("MEM319", TABLE, f"2 rows, the first [0]: {text}")]
    first = damaged.findings[0].address
    assert first == table.span(0).address


def test_files_by_token() -> None:
    """A token of no file of the session, and of a file of another kind."""
    assert told(changed(DEVICES, (TOKEN, 0x77))) == [
        ("LUO510", TOKEN, "no file of this session has token 0x77")
    ]
    assert told(changed(DEVICES, (TOKEN, 0x20))) == [
        (
            "LUO511",
            TOKEN,
            "token 0x20 is /LUO/sessions[vm]/files[0x20], a file of 'vfio-pci-v2'; "
            "expected 'iommufd-'",
        ),
    ]


def test_two_files_of_one_token() -> None:
    """Of two files with the token, the first is the one that is named."""
    token = "/LUO/sessions[vm]/files[0x20]/token"
    damaged = changed(DEVICES, (token, 0x10))
    keys = [file.key for file in find_node(damaged, "/LUO/sessions[vm]/files").elements()]
    assert "0x10~2" in keys
    path = "/LUO/sessions[vm]/files[0x10~2]/data/token"
    assert find_node(damaged, path).reference == "/LUO/sessions[vm]/files[0x10]"


# -- values of formats that no fixture has ---------------------------------------------------

TEXT = b"""
id = "named"
title = "t"
kind = "file"
content = "holder"
status = "local"
match = { compatible = "named" }

[struct.holder]
size = 32
layout = '''
char handler[8];
u64 data;
u64 token;
u64 other;
'''

[struct.holder.fields]
data  = { points_to = { shape = "handler", kind = "file", by = "handler" } }
token = { role = "token" }
other = { points_to = { shape = "file" } }

[struct.flb]
size = 16
layout = '''
char name[8];
u64 data;
'''

[struct.flb.fields]
data = { points_to = { shape = "handler", kind = "flb", by = "name" } }

[struct.link]
size = 16
layout = '''
u64 must;
u64 may;
'''

[struct.link.fields]
must = { points_to = { shape = "element", of = "holder" } }
may  = { points_to = { shape = "element", of = "holder" }, null = "empty" }
"""
DEFINITION: Definition = load_definition(TEXT, "named.toml")


def walker() -> Walk:
    return walk_over(OverlaySpace(None, []), Registry([DEFINITION]))


def holder(parent: Node, struct: str, key: str, **values: object) -> Node:
    """An element of a list with some of the fields of its struct."""
    node = parent.add(Node("", NodeKind.RECORD, key=key, struct=struct, span=Span(NOWHERE, 32)))
    for field in DEFINITION.structs[struct].fields:
        if field.label in values:
            node.add(Node(field.label, NodeKind.VALUE, field=field, value=values[field.label]))
    return node


def named(made: Walk, node: Node) -> str:
    """What a value turns out to name."""
    if node.table is not None:
        claim_rows(made, node, node.table)
    else:
        assert node.field is not None
        follow(made, node, node.field, DEFINITION, {})
    resolve(made)
    assert made.recorder.deferred == {}
    return node.reference


def test_tokens_among_files_without_one() -> None:
    """A file whose token is missing or unreadable is no file that a token names."""
    made = walker()
    files = made.recorder.tree.add(Node("files", NodeKind.LIST))
    holder(files, "holder", "a", handler="x", data=1)
    holder(files, "holder", "b", handler="x", data=1, token=Absent(Reason.UNPARSABLE, "short"))
    own = holder(files, "holder", "c", handler="x", data=1, token=7, other=7)
    other = own.get("other")
    assert other is not None
    assert named(made, other) == "/files[c]"
    other.value, other.reference = 8, ""
    assert named(made, other) == ""
    assert [f.message for f in made.recorder.findings] == ["no file of this session has token 0x8"]


def test_token_outside_of_a_file() -> None:
    """A token in no file's record, or in that of another handle, names nothing, without a word."""
    made = walker()
    field = DEFINITION.structs["holder"].fields[-1]
    flbs = made.recorder.tree.add(Node("flbs", NodeKind.LIST))
    for parent in (
        made.recorder.tree,
        holder(flbs, "flb", "iommu", name="iommu", data=1),
        holder(flbs, "holder", "no handle", token=1),
    ):
        node = parent.add(Node("other", NodeKind.VALUE, field=field, value=1))
        assert named(made, node) == ""
    assert made.recorder.findings == []


@pytest.mark.parametrize(
    ("must", "may", "wrong"),
    [
        ((NOWHERE, NOWHERE), (NOWHERE, 0), 0),
        ((NOWHERE, 0), (0, 0), 1),
        ((0, 0), (8, 8), 4),
    ],
    ids=["all", "one is 0", "none"],
)
def test_null_in_a_column(must: tuple[int, int], may: tuple[int, int], wrong: int) -> None:
    """0 in a column names nothing where the format allows it, and is a finding elsewhere."""
    made = walker()
    holder(made.recorder.tree, "holder", "a")
    compiled = made.scene.struct(DEFINITION, "link")
    rows = np.array(list(zip(must, may, strict=True)), compiled.dtype)
    extents = np.array([[4096, 32]], np.uint64)
    node = made.recorder.tree.add(
        Node("links", NodeKind.TABLE, table=Table(compiled, rows, extents, 2))
    )
    named(made, node)
    assert sum(int(f.message.split()[0]) for f in made.recorder.findings) == wrong
    assert {f.rule for f in made.recorder.findings} <= {"MEM319"}
