"""An arm64 guest: QEMU's virt machine, entered at a stub that jumps to the kernel.

The entry conditions are those of Documentation/arch/arm64/booting.rst: x0 is the device tree. The
handover is named by ``linux,kho-fdt`` and ``linux,kho-scratch`` of /chosen.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from khotool.errors import InputError
from khotool.lab import bridge
from khotool.lab.guest import MIB, Launch, Packer, Start
from khotool.lab.kernelfile import KernelFile
from khotool.lab.ram import Bank, Ram

BASE = 0x40000000
ALIGN = 2 * MIB
PAGE = 65536
"""Blobs are placed at multiples of the largest page."""
CONSOLE = "console=ttyAMA0,115200 earlycon=pl011,0x9000000"
RESTART = ""
STUB = struct.pack(
    "<14I",
    0x580001C0,  # ldr x0, tree
    0x580001E4,  # ldr x4, kernel
    0x58000205,  # ldr x5, from
    0x58000226,  # ldr x6, to
    0x58000247,  # ldr x7, size
    0xB40000A7,  # 1: cbz x7, 2f
    0xA8C124A8,  # ldp x8, x9, [x5], #16
    0xA88124C8,  # stp x8, x9, [x6], #16
    0xD10040E7,  # sub x7, x7, #16
    0x17FFFFFC,  # b 1b
    0xAA1F03E1,  # 2: mov x1, xzr
    0xAA1F03E2,  # mov x2, xzr
    0xAA1F03E3,  # mov x3, xzr
    0xD61F0080,  # br x4
)
"""Followed by tree, kernel, from and to, which are addresses, and size in bytes."""
BOARD_TREE = MIB
"""Bytes at the beginning of RAM that QEMU overwrites with its device tree as the guest starts."""
PATIENCE = 60.0
"""Seconds for QEMU to write a device tree."""


def banks(size: int) -> list[Bank]:
    """RAM of ``size`` bytes, in one piece."""
    return [Bank(BASE, size, 0)]


def alignment(kernel: KernelFile) -> int:
    """Alignment in bytes of the memory that a kernel is loaded to.

    A scratch area becomes free memory of pageblocks, so its ends are those of pageblocks: as large
    as a huge page, for 16 KiB and 64 KiB pages.
    """
    return {16384: 32 * MIB, 65536: 512 * MIB}.get(kernel.page_size or 0, ALIGN)


def room_needed(kernel: KernelFile) -> int:
    """Bytes that a kernel takes where it is loaded."""
    offset, size = struct.unpack_from("<QQ", kernel.data, 8)
    return int(offset + max(size, len(kernel.data)))


def load(ram: Ram, start: Start, program: str) -> int:
    """Put everything the kernel needs into RAM; returns the physical address of the stub.

    Raises:
        ValueError: the room is too small.
        InputError: QEMU gives no device tree.
    """
    packer = Packer(start.room)
    offset = struct.unpack_from("<Q", start.kernel.data, 8)[0]
    kernel = packer.place(room_needed(start.kernel), ALIGN) + offset
    ram.write(kernel, start.kernel.data)
    initrd = _put(ram, packer, start.initrd)
    chosen: dict[str, bytes] = {
        "bootargs": start.command_line.encode("utf-8", "surrogateescape") + b"\0",
        "linux,initrd-start": struct.pack(">Q", initrd),
        "linux,initrd-end": struct.pack(">Q", initrd + len(start.initrd)),
    }
    if start.handed is not None:
        areas = start.handed.scratch
        array = bridge.scratch_array((area.start, area.size) for area in areas)
        scratch = _put(ram, packer, array)
        chosen["linux,kho-fdt"] = struct.pack(">QQ", start.handed.root, start.handed.root_size)
        chosen["linux,kho-scratch"] = struct.pack(">QQ", scratch, len(array))
    tree = bridge.with_chosen(board_tree(program, ram.size), chosen)
    where = _put(ram, packer, tree, ALIGN)
    words = where, kernel, *overwritten(ram, packer)
    return _put(ram, packer, STUB + struct.pack("<5Q", *words))


def overwritten(ram: Ram, packer: Packer) -> tuple[int, int, int]:
    """Save what QEMU overwrites: where it is saved, where it belongs, and its bytes."""
    if all(start >= BASE + BOARD_TREE for start, _ in ram.used()):
        return BASE, BASE, 0
    return _put(ram, packer, ram.read(BASE, BOARD_TREE)), BASE, BOARD_TREE


@cache
def board_tree(program: str, size: int) -> bytes:
    """The device tree of QEMU's virt machine with ``size`` bytes of RAM.

    Raises:
        InputError: QEMU does not write it.
    """
    # QEMU writes beside the file it is told and renames, so there has to be a folder.
    with tempfile.TemporaryDirectory(prefix="khotool-") as folder:
        path = Path(folder, "board.dtb")
        command = [*machine(program, size, f",dumpdtb={path}"), "-display", "none"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
            return path.read_bytes()
        except subprocess.TimeoutExpired:
            why = f"nothing in {PATIENCE:.0f} s"
        except OSError as error:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            why = said[-1] if said else str(error.strerror)
    raise InputError(f"{program}: writes no device tree: {why}")


def machine(program: str, size: int, more: str) -> list[str]:
    """The beginning of QEMU's command line."""
    kind = f"virt,gic-version=3{more}"
    return [program, "-machine", kind, "-cpu", "max", "-smp", "1", "-m", f"{size >> 20}M"]


def _put(ram: Ram, packer: Packer, data: bytes, align: int = PAGE) -> int:
    at = packer.place(len(data), align)
    ram.write(at, data)
    return at


@contextmanager
def launch(ram: Ram, start: Start, program: str, accelerator: str) -> Iterator[Launch]:
    """QEMU's command line for a guest, whose memory it loads."""
    stub = load(ram, start, program)
    backend = f"memory-backend-file,id=ram,mem-path={ram.path},share=on,size={ram.size}"
    yield Launch(
        [
            *machine(program, ram.size, ",memory-backend=ram"),
            *("-accel", accelerator, "-object", backend),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-device", f"loader,addr={stub:#x},cpu-num=0"),
        ],
        [ram.handle],
    )
