"""Where things are put in a guest's memory, and the file that holds it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from khotool.errors import InputError
from khotool.lab import aarch64, bridge, x86_64
from khotool.lab.bridge import Memory
from khotool.lab.cpio import CHARACTER_DEVICE, Member, archive
from khotool.lab.guest import MIB, Area, Handed, Packer, Start
from khotool.lab.kernelfile import KernelFile, recognise
from khotool.lab.layout import beside, fresh, reach
from khotool.lab.ram import Bank, open_ram
from tests.unit.lab.test_kernelfile import bzimage, image


def x86_kernel(room: int = 8 * MIB) -> KernelFile:
    data = bytearray(bzimage(b"code"))
    struct.pack_into("<I", data, 0x260, room)
    kernel = recognise("bzImage", bytes(data))
    assert kernel is not None
    return kernel


def memory(**changes: object) -> Memory:
    made = Memory(
        root=64 * MIB,
        page_size=4096,
        captured=[(64 * MIB, 65 * MIB)],
        metadata=[(64 * MIB, 64 * MIB + 4096)],
        kept=[(80 * MIB, 82 * MIB)],
        stray=[],
        scratch=[],
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def overlaps(area: Area, ranges: list[tuple[int, int]]) -> bool:
    return any(start < area.end and area.start < end for start, end in ranges)


def test_kernel_is_put_beside_the_image() -> None:
    found = beside(memory(), x86_kernel(), 4096, None)

    assert found.size == 128 * MIB
    assert not overlaps(found.room, [(64 * MIB, 65 * MIB), (80 * MIB, 82 * MIB)])
    assert found.handed is not None
    assert found.handed.scratch == [found.room]


def test_scratch_of_the_image_is_used_where_it_is_large_enough() -> None:
    own = [(100 * MIB, 116 * MIB), (128 * MIB, 240 * MIB)]
    found = beside(memory(scratch=own), x86_kernel(), 4096, 256 * MIB)

    assert found.room == Area(128 * MIB, 112 * MIB)
    assert found.handed is not None
    assert found.handed.scratch == [Area(100 * MIB, 16 * MIB), Area(128 * MIB, 112 * MIB)]


def test_scratch_areas_that_touch_are_one_room() -> None:
    own = [(106 * MIB, 122 * MIB), (90 * MIB, 106 * MIB)]
    found = beside(memory(scratch=own), x86_kernel(), 4096, None)

    assert found.room == Area(90 * MIB, 32 * MIB)
    assert found.handed is not None
    assert found.handed.scratch == [Area(106 * MIB, 16 * MIB), Area(90 * MIB, 16 * MIB)]


def test_small_scratch_of_the_image_stays_and_another_is_added() -> None:
    found = beside(memory(scratch=[(100 * MIB, 116 * MIB)]), x86_kernel(), 4096, None)

    assert found.handed is not None
    assert found.handed.scratch == [Area(100 * MIB, 16 * MIB), found.room]
    assert not overlaps(found.room, [(100 * MIB, 116 * MIB)])


def test_scratch_beyond_the_guest_is_not_handed_over() -> None:
    """A kernel takes page tables from it before it knows what memory there is."""
    own = [(100 * MIB, 116 * MIB), (200 * MIB, 216 * MIB)]
    found = beside(memory(scratch=own), x86_kernel(), 4096, None)

    assert found.size == 128 * MIB
    assert found.handed is not None
    assert found.handed.scratch == [Area(100 * MIB, 16 * MIB), found.room]


def test_capture_of_all_memory_leaves_what_is_not_handed_over() -> None:
    found = beside(memory(captured=[(0, 256 * MIB)]), x86_kernel(), 4096, None)

    assert not overlaps(found.room, [(64 * MIB, 64 * MIB + 4096), (80 * MIB, 82 * MIB)])


def test_ram_reaches_beyond_what_is_kept_but_not_to_damage() -> None:
    far = (40 << 30, (40 << 30) + 4096)
    near = (300 * MIB, 300 * MIB + 4096)

    assert reach(memory(kept=[far])) == far[1]
    assert reach(memory(stray=[near])) == near[1]
    assert reach(memory(stray=[far])) == 82 * MIB
    assert beside(memory(stray=[near]), x86_kernel(), 0, None).size == 384 * MIB


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="raise --memory"):
        beside(memory(), x86_kernel(), 0, 64 * MIB)
    with pytest.raises(InputError, match="--memory SIZE"):
        beside(memory(kept=[(1 << 45, (1 << 45) + 4096)]), x86_kernel(), 0, None)
    with pytest.raises(InputError, match="raise --memory"):
        fresh(x86_kernel(300 * MIB), 0, 128 * MIB)
    arm = recognise("Image", image())
    assert arm is not None
    with pytest.raises(InputError, match="begins at 0x40000000"):
        beside(memory(), arm, 0, None)


def test_memory_of_a_pc_goes_around_the_hole() -> None:
    assert x86_64.banks(1 << 30) == [Bank(0, 1 << 30, 0)]
    assert x86_64.banks(8 << 30) == [Bank(0, 3 << 30, 0), Bank(4 << 30, 5 << 30, 3 << 30)]
    assert aarch64.banks(MIB) == [Bank(0x40000000, MIB, 0)]


def test_ram_is_sparse_and_without_a_name(tmp_path: Path) -> None:
    banks = [Bank(0, 3 << 30, 0), Bank(4 << 30, 5 << 30, 3 << 30)]
    with open_ram(banks, str(tmp_path)) as ram:
        ram.write(0x1000, b"low")
        ram.write((4 << 30) + 0x2000, b"high")

        assert list(tmp_path.iterdir()) == []
        assert ram.read((4 << 30) + 0x2000, 4) == b"high"
        assert [start for start, _ in ram.used()] == [0x1000, (4 << 30) + 0x2000]
        assert {a: bytes(v[:4]) for a, v in ram.views()}[0x1000] == b"low\0"
        assert os.fstat(ram.handle).st_blocks * 512 < MIB
        assert ram.holds(0, 3 << 30)
        assert not ram.holds(0, (3 << 30) + 1)
        with pytest.raises(ValueError, match="no memory"):
            ram.read(3 << 30, 1)


def test_ram_needs_a_folder() -> None:
    with pytest.raises(InputError, match="--ram-dir"), open_ram([Bank(0, MIB, 0)], "/nowhere"):
        pass


def test_kernel_of_x86_is_loaded_as_its_protocol_says() -> None:
    kernel = x86_kernel()
    room = Area(32 * MIB, 64 * MIB)
    handed = Handed(0x123000, 4096, [room])
    with open_ram(x86_64.banks(128 * MIB), None) as ram:
        rom = x86_64.load(ram, Start(kernel, b"initrd", "console=ttyS0", room, handed))
        tables, params, entry = struct.unpack_from("<QQQ", rom, len(rom) - 4096 + 0xF80)
        zero = ram.read(params, 4096)
        data = struct.unpack_from("<Q", zero, 0x250)[0]
        node = ram.read(data, 48)
        scratch, size = struct.unpack_from("<QQ", node, 32)

        assert entry == room.start + 0x200
        assert ram.read(room.start + 0x100, 4) == b"code"
        assert zero[0x202:0x206] == b"HdrS"
        assert zero[0x210] == 0xFF
        assert ram.read(struct.unpack_from("<I", zero, 0x228)[0], 14) == b"console=ttyS0\0"
        at, length = struct.unpack_from("<II", zero, 0x218)
        assert ram.read(at, length) == b"initrd"
        assert struct.unpack_from("<QIIQQ", node) == (0, 10, 32, 0x123000, 4096)
        assert struct.unpack("<QQ", ram.read(scratch, size)) == (room.start, room.size)
        assert zero[0x1E8] == 4
        # The first entry of each table leads on, and the last page of 2 MiB is the last of 4 GiB.
        top = struct.unpack("<Q", ram.read(tables, 8))[0]
        assert top == tables + 4096 | 3
        assert struct.unpack("<Q", ram.read(tables + 6 * 4096 - 8, 8))[0] == 0xFFE00083


@pytest.mark.parametrize("there", [True, False])
def test_what_qemu_overwrites_on_arm64_is_put_back(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU writes its device tree to the first MiB of RAM; the stub copies what belongs there."""
    monkeypatch.setattr(aarch64, "board_tree", lambda program, size: b"")
    monkeypatch.setattr(bridge, "with_chosen", lambda tree, chosen: b"tree")
    kernel = recognise("Image", image())
    assert kernel is not None
    base, room = aarch64.BASE, Area(aarch64.BASE + 32 * MIB, 64 * MIB)
    with open_ram(aarch64.banks(128 * MIB), None) as ram:
        ram.write(base + 2 * MIB, b"image")
        if there:
            ram.write(base, b"root")
        stub = aarch64.load(ram, Start(kernel, b"initrd", "", room, None), "qemu")
        words = struct.unpack("<5Q", ram.read(stub + len(aarch64.STUB), 40))

        assert ram.read(words[0], 4) == b"tree"
        assert words[3:] == (base, MIB if there else 0)
        assert not there or ram.read(words[2], 5) == b"root\0"


def test_packer_stays_in_its_room() -> None:
    packer = Packer(Area(MIB, MIB))

    assert packer.place(1) == MIB
    assert packer.place(1) == MIB + 4096
    with pytest.raises(ValueError, match="do not fit"):
        packer.place(MIB)


def test_archive_is_what_a_kernel_unpacks() -> None:
    made = archive(
        [
            Member("khotool/agent", b"program"),
            Member("khotool/stop", b"x"),
            Member("dev/console", mode=CHARACTER_DEVICE | 0o600, device=(5, 1)),
        ]
    )
    found, at = {}, 0
    while True:
        fields = [int(made[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = made[at + 110 : at + 110 + fields[11] - 1].decode()
        start = (at + 110 + fields[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            break
        found[name] = (oct(fields[1]), made[start : start + fields[6]], tuple(fields[9:11]))
        at = (start + fields[6] + 3) // 4 * 4

    assert found == {
        "khotool": ("0o40755", b"", (0, 0)),
        "khotool/agent": ("0o100644", b"program", (0, 0)),
        "khotool/stop": ("0o100644", b"x", (0, 0)),
        "dev": ("0o40755", b"", (0, 0)),
        "dev/console": ("0o20600", b"", (5, 1)),
    }
