"""Values that name a record or a file elsewhere: what they name, and what is said if nothing is."""

from __future__ import annotations

import pytest

from khotool.image.lookup import find_node
from tests.unit.image.fixture_images import NOWHERE, changed, good, told

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
        (lambda: NOWHERE, f"{NOWHERE:#x} is no iommu_domain_ser of any list"),
        (lambda: 8, "0x8 is no iommu_domain_ser of any list"),
        (
            lambda: place(DOMAIN) + 8,
            f"{place(DOMAIN) + 8:#x} is inside {DOMAIN}, not its start",
        ),
        (
            lambda: place(f"{FLB}/iommu_array_phys[0]"),
            f"{place(f'{FLB}/iommu_array_phys[0]'):#x} is no iommu_domain_ser of any list",
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
        ("LUO511", TOKEN, "token 0x20 is /LUO/sessions[vm]/files[0x20], a file of 'vfio-pci-v2'; "
         "expected 'iommufd-'"),
    ]  # fmt: skip


def test_two_files_of_one_token() -> None:
    """Of two files with the token, the first is the one that is named."""
    token = "/LUO/sessions[vm]/files[0x20]/token"
    damaged = changed(DEVICES, (token, 0x10))
    keys = [file.key for file in find_node(damaged, "/LUO/sessions[vm]/files").elements()]
    assert "0x10~2" in keys
    path = "/LUO/sessions[vm]/files[0x10~2]/data/token"
    assert find_node(damaged, path).reference == "/LUO/sessions[vm]/files[0x10]"
