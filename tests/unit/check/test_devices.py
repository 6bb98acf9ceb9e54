"""Rules about devices, domains, huge pages and mounts, beyond one fixture each."""

from __future__ import annotations

from typing import Any

import pytest

from khotool.check.rules.devices import device_name
from khotool.check.run import check_with_skips
from khotool.model.image import Image
from tests.builders import decode

IOMMU = "/LUO/flbs[iommu-liveupdate]/data"


def rules(image: Image) -> list[str]:
    return [finding.rule for finding in check_with_skips(image)[0]]


def session(files: list[dict[str, Any]], flbs: list[dict[str, Any]]) -> Image:
    return decode({"abi": "7.4-frontier", "session": [{"name": "vm", "file": files}], "flb": flbs})


def device(domain: int, bdf: int) -> dict[str, Any]:
    return {
        "token": bdf,
        "handler": "vfio-pci-v1",
        "format": "vfio-pci-v1",
        "fields": {"domain": domain, "bdf": bdf},
    }


def pci(*devices: tuple[int, int, int], count: int = 1) -> dict[str, Any]:
    rows = [{"domain": d, "bdf": b, "refcount": r} for d, b, r in devices]
    return {"name": "pci", "count": count, "fields": {"devices": rows}}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, 0x100, 1)], []),
        ([(1, 0x100, 1)], ["HND611"]),
        # A free slot is no device, neither for a file nor for the count.
        ([(0, 0x100, 0), (0, 0x108, 1)], ["HND611"]),
        ([(0, 0x100, 0), (0, 0x100, 1)], []),
        ([(0, 0x100, 1), (0, 0x100, 2)], ["REC416"]),
        # The same address in another segment is another device.
        ([(0, 0x100, 1), (1, 0x100, 1)], []),
    ],
)
def test_files_against_the_list(rows: list[tuple[int, int, int]], expected: list[str]) -> None:
    """A device is known by segment and address together; slots that are free do not count."""
    assert rules(session([device(0, 0x100)], [pci(*rows)])) == expected


def test_devices_in_an_array() -> None:
    """An array of devices serves as well as a list of blocks, and is searched for doubles."""
    array = {
        "name": "pci-v1",
        "count": 1,
        "fields": {
            "max_nr_devices": 4,
            "devices": [{"domain": 0, "bdf": 0x108}, {"domain": 0, "bdf": 0x108}],
        },
    }
    found = rules(session([device(0, 0x100)], [array]))

    assert sorted(found) == ["HND611", "REC416"]


@pytest.mark.parametrize(("count", "expected"), [(0, ["LUO504"]), (1, []), (2, ["LUO505"])])
def test_references_of_an_object_of_some_handlers(count: int, expected: list[str]) -> None:
    """Only files of the handlers that an object is bound to count."""
    other = {"token": 1, "handler": "eventfd-v1", "fields": {"count": 1}}
    found = rules(session([device(0, 0x100), other], [pci((0, 0x100, 1), count=count)]))

    assert found == expected


def test_any_of_several_objects_will_do() -> None:
    """A file that needs one of several objects is content with any; without one it is lost."""
    old = {"name": "pci-v1", "count": 1, "fields": {"devices": [{"domain": 0, "bdf": 0x100}]}}

    assert rules(session([device(0, 0x100)], [old])) == []
    assert rules(session([device(0, 0x100)], [])) == ["LUO509"]


def test_deleted_attachments_do_not_count() -> None:
    """A device that is deleted holds no domain; a deleted domain may count what it likes."""
    domain = f"{IOMMU}/iommu_domain_array_phys[0]"
    dead = f"{IOMMU}/iommu_domain_array_phys[1]"
    hardware = f"{IOMMU}/iommu_array_phys[0]"
    flags = ["IOMMU_SER_FLAG_DELETED"]
    iommu = {
        "name": "iommu-liveupdate",
        "count": 0,
        "fields": {
            "iommu_array_phys": [{}],
            "iommu_domain_array_phys": [
                {"hdr": {"ref_count": 1}, "top_table_phys": []},
                {"hdr": {"ref_count": 7, "flags": flags}, "top_table_phys": []},
            ],
            "device_array_phys": [
                {"devid": 1, "domain_phys": domain, "iommu_phys": hardware},
                {
                    "devid": 2,
                    "domain_phys": domain,
                    "iommu_phys": hardware,
                    "hdr": {"flags": flags},
                },
                {"devid": 3, "domain_phys": dead, "iommu_phys": hardware, "hdr": {"flags": flags}},
            ],
        },
    }

    assert rules(session([], [iommu])) == []


def test_huge_pages_of_an_order_that_is_not_told() -> None:
    """Files with huge pages of a size that early boot does not know of are found."""
    file = {
        "token": 1,
        "handler": "huge-memfd-v1",
        "fields": {"size": "2M", "order": 9, "folios": [{"order": 9, "index": 0}]},
    }
    flb = {"name": "hugetlb-v1", "count": 1, "fields": {"hstates": [{"nr_pages": 0, "order": 18}]}}

    assert rules(session([file], [flb])) == ["HND612"]


def test_one_name_on_two_mounts() -> None:
    """Names are those of one mount; another mount may have the same."""
    mounts = [{"token": n, "handler": "tmpfs-mnt-v1", "fields": {"mode": 0o755}} for n in (1, 2)]
    files = [
        {
            "token": 2 + n,
            "handler": "tmpfs-file-v1",
            "fields": {"mnt_token": n, "mode": 0o644, "name": "ring"},
        }
        for n in (1, 2)
    ]

    assert rules(session([*mounts, *files], [])) == []


@pytest.mark.parametrize("name", [".", "..", "a/b", "/"])
def test_names_that_lead_elsewhere(name: str) -> None:
    """A name that is no single component is refused, whatever it leads to."""
    mount = {"token": 1, "handler": "tmpfs-mnt-v1", "fields": {"mode": 0o755}}
    file = {
        "token": 2,
        "handler": "tmpfs-file-v1",
        "fields": {"mnt_token": 1, "mode": 0o644, "name": name},
    }

    assert rules(session([mount, file], [])) == ["REC420"]


def test_device_names() -> None:
    """Segment, bus, device and function as lspci writes them."""
    assert device_name(1, 0x1F0B) == "0001:1f:01.3"
