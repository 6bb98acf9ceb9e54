"""An x86-64 guest: a PC without firmware, whose ROM enters the kernel's 64-bit entry.

boot_params, e820 map, setup_data and entry conditions are those of
Documentation/arch/x86/boot.rst; the payload of setup_data that names a handover is type 10,
SETUP_KEXEC_KHO (arch/x86/include/uapi/asm/setup_data.h).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from khotool.lab import bridge
from khotool.lab.guest import MIB, Handed, Launch, Packer, Start, part
from khotool.lab.kernelfile import Form, KernelFile
from khotool.lab.ram import Bank, Ram

BASE = 0
LOW_MOST = 3 << 30
"""RAM below 4 GiB of QEMU's pc machine, once it has more than this."""
LOW_LIMIT = 0xE0000000
HIGH = 4 << 30
ROM = 64 << 10
PARAMETERS = 0xF80
ALIGN = 2 * MIB
"""Kernels of 64 bits are loaded at a multiple of this."""
LOWEST_LOAD = 16 * MIB
"""A kernel moves itself up to here, its LOAD_PHYSICAL_ADDR, if it is loaded below."""
STOP_PORT = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
CONSOLE = "console=ttyS0,115200 earlyprintk=serial,ttyS0,115200"
RESTART = "reboot=t"
PROCESSORS = {"kvm": "max", "tcg": "max,erms=off"}
"""TCG fills memory byte by byte where the processor says that it does so best (ERMS)."""
E820_RAM, E820_RESERVED = 1, 2


def banks(size: int) -> list[Bank]:
    """RAM of ``size`` bytes, as QEMU's pc machine places it around the hole below 4 GiB."""
    if size < LOW_LIMIT:
        return [Bank(0, size, 0)]
    return [Bank(0, LOW_MOST, 0), Bank(HIGH, size - LOW_MOST, LOW_MOST)]


def alignment(_kernel: KernelFile) -> int:
    """Alignment in bytes of the memory that a kernel is loaded to."""
    return ALIGN


def room_needed(kernel: KernelFile) -> int:
    """Bytes that a kernel takes where it is loaded."""
    if kernel.vmlinux is not None:
        return kernel.vmlinux.size
    return max(int(struct.unpack_from("<I", kernel.data, 0x260)[0]), len(kernel.data))


def load(ram: Ram, start: Start) -> bytes:
    """Put everything the kernel needs into RAM; returns the ROM that starts it.

    Raises:
        ValueError: the room is too small.
    """
    packer = Packer(start.room)
    entry, setup = _load_kernel(ram, packer, start.kernel)
    tables = packer.place(6 * 4096)
    ram.write(tables, page_tables(tables))
    line = start.command_line.encode("utf-8", "surrogateescape") + b"\0"
    command = _put(ram, packer, line)
    initrd = _put(ram, packer, start.initrd) if start.initrd else 0
    data = _put(ram, packer, setup_data(ram, packer, start.handed)) if start.handed else 0
    zero = bytearray(4096)
    zero[0x1F1 : 0x1F1 + len(setup)] = setup
    # type_of_loader, loadflags, ramdisk, command line, setup_data
    zero[0x210], zero[0x211] = 0xFF, zero[0x211] | 1
    struct.pack_into("<II", zero, 0x218, initrd & 0xFFFFFFFF, len(start.initrd))
    struct.pack_into("<I", zero, 0x228, command & 0xFFFFFFFF)
    struct.pack_into("<III", zero, 0xC0, initrd >> 32, 0, command >> 32)
    struct.pack_into("<Q", zero, 0x250, data)
    table = e820(ram.banks)
    zero[0x1E8] = len(table)
    for index, (address, size, kind) in enumerate(table):
        struct.pack_into("<QQI", zero, 0x2D0 + 20 * index, address, size, kind)
    boot_params = _put(ram, packer, bytes(zero))
    rom = bytearray(ROM)
    rom[-4096:] = part("enter-x86_64.bin")
    struct.pack_into("<QQQ", rom, ROM - 4096 + PARAMETERS, tables, boot_params, entry)
    return bytes(rom)


def _load_kernel(ram: Ram, packer: Packer, kernel: KernelFile) -> tuple[int, bytes]:
    """Physical address of the 64-bit entry, and the setup header from offset 0x1f1 on.

    A bzImage unpacks itself and starts the vmlinux in it. Without KVM that is a quarter of a
    boot, so it is done here wherever its compression is known.
    """
    address = packer.place(room_needed(kernel) + MIB, ALIGN)
    packed = kernel.form is Form.BZIMAGE
    header = kernel.data[0x1F1 : 0x202 + kernel.data[0x201]] if packed else setup_header()
    inner = kernel.vmlinux
    if inner is None:
        sectors = kernel.data[0x1F1] or 4
        ram.write(address, memoryview(kernel.data)[(sectors + 1) * 512 :])
        return address + 0x200, header
    delta = address - inner.parts[0].address
    for item in inner.parts:
        ram.write(item.address + delta, item.data)
    return inner.entry + delta, header


def setup_header() -> bytes:
    """A setup header for a vmlinux, which has none of its own."""
    header = bytearray(0x268 - 0x1F1)
    struct.pack_into("<H", header, 0x1FE - 0x1F1, 0xAA55)
    header[0x202 - 0x1F1 : 0x206 - 0x1F1] = b"HdrS"
    struct.pack_into("<H", header, 0x206 - 0x1F1, 0x20F)
    struct.pack_into("<I", header, 0x230 - 0x1F1, ALIGN)
    struct.pack_into("<I", header, 0x238 - 0x1F1, 2047)
    return bytes(header)


def page_tables(at: int) -> bytes:
    """An identity mapping of the first 4 GiB in pages of 2 MiB; ``at`` is its physical address."""
    tables = bytearray(6 * 4096)
    struct.pack_into("<Q", tables, 0, at + 4096 | 3)
    for gib in range(4):
        struct.pack_into("<Q", tables, 4096 + 8 * gib, at + (2 + gib) * 4096 | 3)
        for index in range(512):
            entry = (gib << 30) + (index << 21) | 0x83
            struct.pack_into("<Q", tables, (2 + gib) * 4096 + 8 * index, entry)
    return bytes(tables)


def setup_data(ram: Ram, packer: Packer, handed: Handed) -> bytes:
    """setup_data with the address of root and scratch array; places the array."""
    array = bridge.scratch_array((area.start, area.size) for area in handed.scratch)
    where = _put(ram, packer, array)
    return bridge.setup_data(handed.root, handed.root_size, where, len(array))


def e820(memory: list[Bank]) -> list[tuple[int, int, int]]:
    """The map of physical memory: address, bytes, type."""
    low = memory[0]
    table = [
        (0, 0x9FC00, E820_RAM),
        (0x9FC00, 0x400, E820_RESERVED),
        (0xF0000, 0x10000, E820_RESERVED),
        (MIB, low.end - MIB, E820_RAM),
    ]
    return table + [(bank.start, bank.size, E820_RAM) for bank in memory[1:]]


def _put(ram: Ram, packer: Packer, data: bytes) -> int:
    at = packer.place(len(data))
    ram.write(at, data)
    return at


@contextmanager
def launch(ram: Ram, start: Start, program: str, accelerator: str) -> Iterator[Launch]:
    """QEMU's command line for a guest, whose memory it loads."""
    rom = os.memfd_create("khotool-rom", 0)
    backend = f"memory-backend-file,id=ram,mem-path={ram.path},share=on,size={ram.size}"
    try:
        os.write(rom, load(ram, start))
        command = [
            *(program, "-accel", accelerator, "-cpu", PROCESSORS[accelerator], "-smp", "1"),
            *("-m", f"{ram.size >> 20}M", "-object", backend),
            *("-machine", "pc,memory-backend=ram", "-bios", f"/proc/self/fd/{rom}"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *STOP_PORT,
        ]
        yield Launch(command, [ram.handle, rom])
    finally:
        os.close(rom)
