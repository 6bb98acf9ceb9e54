"""Marks in ``struct page``: what a booted kernel has not claimed, found through its page tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from khotool.absent import Absent
from khotool.cli.main import main
from khotool.encode.fresh import Built
from khotool.encode.reopen import image_of
from khotool.maps.marks import unclaimed_blocks
from khotool.memory.kernel_tables import X86_KERNEL_MAP, kernel_tables
from khotool.model.image import Image, Phase
from khotool.pages.blocks import Blocks
from tests.builders import REAL, REGISTRY, build, overlaid
from tests.unit.decode.test_open import booted

Write = tuple[int, bytes]
PAGE = 4096
STRUCT, PRIVATE = 64, 40
VMEMMAP = 0xFFFF_EA00_0000_0000
TABLES, MEMORY_MAP = 0x0E00_0000, 0x0E20_0000
"""Where the tests put page tables and the memory map; the latter in one page of 2 MiB."""
KHOP = 0x4B48_4F50
NOISE = (bytes(range(1, 256)) * 17)[:PAGE]
MODEL = {
    "abi": "7.3",
    "session": [
        {"name": "vm", "file": [{"token": 1, "size": 5 * PAGE, "contents": {"fill": "x"}}]},
    ],
}


def word(number: int) -> bytes:
    return number.to_bytes(8, "little")


def x86_tables(large: int = 1 << 7) -> Iterator[Write]:
    """Four levels that map 2 MiB of the memory map; 0 for ``large`` leads to one level more."""
    for level, shift in enumerate((39, 30)):
        entry = TABLES + level * PAGE + (VMEMMAP >> shift & 511) * 8
        yield entry, word(TABLES + (level + 1) * PAGE | 1)
    yield TABLES + 2 * PAGE + (VMEMMAP >> 21 & 511) * 8, word(MEMORY_MAP | large | 1)


def mark(frame: int, order: int, magic: int = KHOP) -> Write:
    data = order.to_bytes(4, "little") + magic.to_bytes(4, "little")
    return MEMORY_MAP + frame * STRUCT + PRIVATE, data


def vmcoreinfo(built: Built) -> None:
    built.vmcoreinfo.update(
        {
            "SYMBOL(vmemmap)": f"{VMEMMAP:x}",
            "SIZE(page)": str(STRUCT),
            "OFFSET(page.private)": str(PRIVATE),
            "NUMBER(phys_base)": "0",
            "SYMBOL(init_top_pgt)": f"{X86_KERNEL_MAP + TABLES:x}",
            "NUMBER(pgtable_l5_enabled)": "0",
        }
    )


def frozen(abi: str = "7.3") -> Image:
    built = build({**MODEL, "abi": abi})
    vmcoreinfo(built)
    return image_of(built, REGISTRY)


def blocks(image: Image) -> list[tuple[int, int]]:
    """First frame and order of every block of the map."""
    assert not isinstance(image.map, Absent)
    return frames(image.map.blocks)


def frames(found: Blocks) -> list[tuple[int, int]]:
    rows = zip(found.start.tolist(), found.count.tolist(), found.order.tolist(), strict=True)
    return sorted(
        (start // PAGE + number * (1 << order), order)
        for start, count, order in rows
        for number in range(count)
    )


def after_boot(image: Image, *writes: Write) -> Image:
    """The image as the next kernel leaves it, which has reused the map's pages."""
    assert not isinstance(image.map, Absent)
    noise = [(int(address), NOISE) for address in image.map.pages.address]
    return booted(image, [*noise, (MEMORY_MAP, bytes(1 << 16)), *x86_tables(), *writes])


def test_marks_are_the_map_of_the_handover() -> None:
    """Where nothing is claimed yet, the marks are the frozen map, and have its owners."""
    before = frozen()
    image = after_boot(before, *(mark(*block) for block in blocks(before)))

    assert image.phase is Phase.CONSUMED
    assert not isinstance(image.unclaimed, Absent)
    assert frames(image.unclaimed) == blocks(before)
    owned = image.unclaimed_ownership
    assert owned is not None
    was = before.ownership()
    assert was is not None
    assert (owned.preserved_pages, owned.unowned_pages) == (was.preserved_pages, was.unowned_pages)


def test_what_is_claimed_has_no_mark() -> None:
    """A file that was retrieved is gone from the list; its session's others stay."""
    before = frozen()
    file = "/LUO/sessions[vm]/files[0x1]"
    owned = before.ownership()
    assert owned is not None
    index = owned.owners.index(file)
    kept = [
        (frame, order)
        for frame, order in blocks(before)
        if index not in owned.owners_of(frame * PAGE)
    ]
    image = after_boot(before, *(mark(*block) for block in kept))

    left = image.unclaimed_ownership
    assert left is not None
    used = {left.owners[owner] for owner in left.ranges.owner.tolist() if owner >= 0}
    assert "/LUO/sessions[vm]" in used
    assert file not in used


@pytest.mark.parametrize(
    "write",
    [mark(256, 0, 0x4B48_4F51), mark(257, 1), mark(256, 37), mark(256, 0xFFFF_FFFF)],
    ids=["another magic", "not aligned to its order", "order too large", "order of all ones"],
)
def test_what_is_no_mark(write: Write) -> None:
    """A word that the kernel cannot have written is none."""
    image = after_boot(frozen(), write)

    assert not isinstance(image.unclaimed, Absent)
    assert len(image.unclaimed) == 0


@pytest.mark.parametrize("key", ["SYMBOL(vmemmap)", "SIZE(page)", "SYMBOL(init_top_pgt)"])
def test_without_vmcoreinfo(key: str) -> None:
    """Where the note does not say enough, the list is absent, and the image opens."""
    image = after_boot(frozen())
    image.info.vmcoreinfo[key] = "-1"
    found = unclaimed_blocks(image.space, REGISTRY, image.geometry)

    assert isinstance(found, Absent)


def test_a_kernel_that_writes_no_magic() -> None:
    """Up to 6.17 ``private`` held the order alone, which nothing tells from other words."""
    image = after_boot(frozen())
    image.info.osrelease = "6.17.8"
    found = unclaimed_blocks(image.space, REGISTRY, image.geometry)

    assert isinstance(found, Absent)
    assert "6.18" in found.detail


def test_tables_that_lead_in_a_circle() -> None:
    """Each table is its own: the scan ends, whatever it finds."""
    circle = np.full(512, TABLES | 1, "<u8").tobytes()
    image = overlaid(after_boot(frozen()), [(TABLES, circle)])
    found = unclaimed_blocks(image.space, REGISTRY, image.geometry)

    assert isinstance(found, Absent) or len(found) == 0


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """``pages --unclaimed`` says why it has nothing to list."""
    path = REAL / "linux-7.3.4/image.elf.xz"

    assert main(["pages", "--unclaimed", str(path)]) == 0
    assert "no kernel has used up this handover" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("page", "bits", "unused", "levels"),
    [
        (4096, 48, None, 4),
        (4096, 39, None, 3),
        (16384, 52, 12, 4),
        (16384, 52, 16, 4),
        (65536, 52, 16, 3),
    ],
)
def test_levels_of_arm64(page: int, bits: int, unused: int | None, levels: int) -> None:
    """The walk has as many steps as the machine; the top table is that of the kernel's build."""
    image = frozen()
    info = image.space.info
    info.machine, info.page_size = "aarch64", page
    info.vmcoreinfo |= {
        "SYMBOL(swapper_pg_dir)": "ffffc00080668000",
        "NUMBER(kimage_voffset)": "0xffffc0003fe00000",
        "NUMBER(VA_BITS)": str(bits),
    }
    if unused is not None:
        info.vmcoreinfo["NUMBER(TCR_EL1_T1SZ)"] = hex(unused)
    tables = kernel_tables(image.space)

    assert tables is not None
    assert (tables.root, tables.levels) == (0x4086_8000, levels)
    assert tables.bits == bits
