"""Hosts for tests: a folder with the files of a running one, made from a capture."""

from __future__ import annotations

import lzma
import struct
import tarfile
from collections.abc import Iterable
from pathlib import Path

from khotool.host.files import Host
from khotool.memory.space import AddressSpace
from tests.builders import REAL, capture

DIRECT_MAP = 0xFFFF888000000000
IMAGE_MAP = 0xFFFFFFFF80000000
VMALLOC = 0xFFFFC90000000000
NO_ADDRESS = (1 << 64) - 1
DATA = 0x10000
"""Offset of physical address 0 in a fake /proc/kcore."""
CONFIG = "CONFIG_KEXEC_HANDOVER=y\nCONFIG_PROC_KCORE=y\n# CONFIG_DEVMEM is not set\n"

Header = tuple[int, int, int, int, int]
"""p_type, p_offset, p_vaddr, p_paddr, p_filesz."""


def kcore(headers: Iterable[Header], note: bytes = b"", *, endian: str = "<") -> bytes:
    """The beginning of a /proc/kcore: headers, and a VMCOREINFO note right behind them."""
    rows = list(headers)
    text = struct.pack(f"{endian}III", 11, len(note), 0) + b"VMCOREINFO\0\0" + note
    at = 64 + 56 * (len(rows) + 1)
    rows.insert(0, (4, at, 0, 0, len(text)))
    ident = b"\x7fELF\x02" + (b"\x01" if endian == "<" else b"\x02") + b"\x01" + bytes(9)
    head = struct.pack(f"{endian}HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, len(rows), 0, 0, 0)
    table = b"".join(
        struct.pack(f"{endian}IIQQQQQQ", kind, 7, offset, virtual, physical, size, size, 4096)
        for kind, offset, virtual, physical, size in rows
    )
    return ident + head + table + text


def write_kcore(path: Path, space: AddressSpace, release: str, page_size: int = 4096) -> None:
    """A sparse file like /proc/kcore with the memory of a capture.

    As in a real one, other mappings come first: one without physical addresses, of a size and
    an offset beyond the file, and one of the kernel's image, part of which reads as zeros.
    """
    extents = space.extents().tolist()
    first = extents[0][0]
    rows: list[Header] = [
        (1, 1 << 46, VMALLOC, NO_ADDRESS, 1 << 45),
        (1, (1 << 45) - (1 << 20), IMAGE_MAP + first, first, 8192),
    ]
    rows += [(1, DATA + low, DIRECT_MAP + low, low, high - low) for low, high in extents]
    note = f"OSRELEASE={release}\nPAGESIZE={page_size}\n".encode()
    with path.open("wb") as file:
        file.write(kcore(rows, note))
        for low, high in extents:
            file.seek(DATA + low)
            file.write(space.read(low, high - low))


def make_host(folder: Path, name: str, tree: str | None, *, memory: bool = True) -> Host:
    """A host that runs the kernel of a capture.

    Args:
        folder: an empty one.
        name: the capture.
        tree: folder of its debugfs copy, such as ``out-before``; None for no debugfs.
        memory: whether there is a /proc/kcore with the memory of the capture.
    """
    release = name.removeprefix("linux-").split("-")[0]
    files = {
        "proc/sys/kernel/osrelease": f"{release}\n",
        "proc/cmdline": "console=ttyS0 kho=on liveupdate=on\n",
        "proc/self/status": "Name:\tkhotool\nCapEff:\t000001ffffffffff\n",
        "proc/self/mounts": "proc /proc proc rw 0 0\n",
        f"boot/config-{release}": CONFIG,
        "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
    }
    if tree is not None:
        files["proc/self/mounts"] += "none /sys/kernel/debug debugfs rw 0 0\n"
        target = folder / "sys/kernel/debug"
        target.mkdir(parents=True)
        with lzma.open(REAL / name / "debugfs.tar.xz") as raw, tarfile.open(fileobj=raw) as copy:
            for member in copy:
                if member.name.startswith(f"{tree}/"):
                    member.name = member.name.removeprefix(f"{tree}/")
                    member.mode |= 0o700
                    copy.extract(member, target, filter="data")
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    if memory:
        image = capture(name)
        write_kcore(folder / "proc/kcore", image.space, release, image.geometry.page_size)
    return Host(folder)


def give_setup_data(folder: Path, address: int) -> None:
    """The boot parameters of x86, whose list of setup_data starts at a physical address."""
    place = folder / "sys/kernel/boot_params/data"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(bytes(0x250) + address.to_bytes(8, "little") + bytes(4096 - 0x258))
