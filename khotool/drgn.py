"""The handover of a kernel that drgn debugs: a live one, or a dump, through its own reads.

Nothing here imports drgn before a program is given, so that khotool needs no drgn; in this module
as everywhere ``drgn`` is the debugger, never this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from os import PathLike
from typing import Any

import numpy as np

from khotool.api import OpenImage
from khotool.codec.scene import read_tree
from khotool.decode.open import decode_found, load_definitions, open_memory
from khotool.discovery.scan import Candidate, Scan
from khotool.errors import InputError, UsageError
from khotool.limits import Limits, OpenOptions, Progress
from khotool.memory.kcore import system_ram
from khotool.memory.live import LiveSpace
from khotool.memory.segments import Ranges
from khotool.memory.source import open_source
from khotool.memory.space import AddressSpace, SourceInfo
from khotool.model.names import text_property

__all__ = ["open", "roots", "space_of"]

SMALLEST_PAGE = 4096
NOTE = "VMCOREINFO"
"""Object of a kernel's program: the bytes of the note."""
IOMEM = "/proc/iomem"


def open(
    program: Any,
    *,
    root: int | str | None = None,
    memory: Sequence[tuple[int, int]] = (),
    page_size: int | None = None,
    abi: Mapping[str, str | None] | None = None,
    formats: Iterable[str | PathLike[str]] = (),
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> OpenImage:
    """Decode the handover of a program.

    The root is that of ``kho_in`` or ``kho_out`` where the program has debugging symbols; else
    memory is searched for it, as ``khotool.open`` does.

    Args:
        program: a ``drgn.Program`` of a kernel.
        root: ``in`` for what the kernel was handed, ``out`` for what it hands over, or the physical
            address of a KHO root; by default what is there, ``in`` first.
        memory: physical memory as (address, bytes); by default the segments of the dump, or the
            memory of the running host.
        page_size: bytes, where the program does not say it.
        abi: layout by definition id; None for the definition itself.
        formats: folders of further definitions.
        limits: bounds of the work.
        progress: called with what is being done, how much is done, and how much there is.

    Raises:
        InputError: there is no KHO root; says what was tried.
        UsageError: ``root`` names nothing that is there, or nobody says where memory is.
        DefinitionError: a folder of definitions has a wrong file.
    """
    space = space_of(program, memory, page_size)
    options = OpenOptions(
        page_size=page_size,
        abi=dict(abi or {}),
        formats=[str(folder) for folder in formats],
        limits=limits or Limits(),
    )
    registry = load_definitions(options)
    address = _root(program, root)
    if address is None:
        return OpenImage(open_memory(space, registry, options, progress))
    blob = read_tree(space, address)
    if blob is None or blob.root is None:
        raise InputError(f"there is no device tree at {address:#x}, where the root should be")
    compatible = text_property(blob.root, "compatible") or ""
    found = Scan([Candidate(address, blob, compatible)])
    return OpenImage(decode_found(space, registry, options, found, search=False))


def roots(program: Any) -> dict[str, int]:
    """Physical addresses of the KHO roots that a program's symbols name: ``in``, ``out`` or both.

    Empty without debugging symbols, and for a kernel without KHO.
    """
    return {name: address for name, address in _roots(program) if address}


def space_of(
    program: Any, memory: Sequence[tuple[int, int]] = (), page_size: int | None = None
) -> AddressSpace:
    """Physical memory of a program, read by the program, each page once.

    Args:
        memory: as (physical address, bytes); as for ``open``.
        page_size: bytes, where the program does not say it.

    Raises:
        UsageError: nobody says where memory is.
    """
    fault = import_module("drgn").FaultError
    info = SourceInfo("drgn", "drgn")
    info.vmcoreinfo = _vmcoreinfo(program)
    info.osrelease = info.vmcoreinfo.get("OSRELEASE")
    size = info.vmcoreinfo.get("PAGESIZE", "")
    info.page_size = page_size or (int(size) if size.isdecimal() else None)
    info.endian = _byteorder(program)
    ranges = list(memory) or _memory(program, info)
    if not ranges:
        text = "the program does not say where memory is; give memory=[(address, bytes), ...]"
        raise UsageError(text)

    def read_at(length: int, offset: int) -> bytes:
        try:
            return bytes(program.read(offset, length, physical=True))
        except fault as error:
            raise OSError(str(error)) from None

    starts = np.array([start for start, _ in ranges], np.uint64)
    sizes = np.array([length for _, length in ranges], np.uint64)
    return LiveSpace(
        info,
        read_at,
        Ranges(starts, starts + sizes, starts),
        page_size=info.page_size or SMALLEST_PAGE,
    )


def _root(program: Any, wanted: int | str | None) -> int | None:
    """Physical address of the root that is meant; None to search for it."""
    if isinstance(wanted, int):
        return wanted
    there = roots(program)
    if wanted is not None and wanted not in there:
        known = " and ".join(there) or "no roots that symbols name"
        raise UsageError(f"root={wanted!r}: this program has {known}")
    return there[wanted] if wanted is not None else next(iter(there.values()), None)


def _roots(program: Any) -> Iterator[tuple[str, int]]:
    """What ``kho_in`` and ``kho_out`` name, in the forms of all releases."""
    yield "in", _value(lambda: program["kho_in"].fdt_phys.value_())
    helpers = import_module("drgn.helpers.linux.mm")
    yield (
        "out",
        (
            # A pointer since 6.19, a page before.
            _value(lambda: helpers.virt_to_phys(program["kho_out"].fdt).value_())
            or _value(lambda: helpers.page_to_phys(program["kho_out"].ser.fdt).value_())
        ),
    )


def _value(read: Callable[[], Any]) -> int:
    """A number of a program; 0 where it has no such object, or no such memory."""
    try:
        return int(read())
    except (LookupError, AttributeError, TypeError, ValueError, import_module("drgn").FaultError):
        return 0


def _vmcoreinfo(program: Any) -> dict[str, str]:
    """Lines of the note, split at the first ``=``."""
    try:
        raw = bytes(program[NOTE].value_())
    except (LookupError, TypeError, ValueError):
        return {}
    lines = raw.rstrip(b"\0").decode("utf-8", "replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _byteorder(program: Any) -> Any:
    flags = import_module("drgn").PlatformFlags
    if program.platform is None:
        return None
    return "little" if program.platform.flags & flags.IS_LITTLE_ENDIAN else "big"


def _memory(program: Any, info: SourceInfo) -> list[tuple[int, int]]:
    """Where memory is: segments of a dump, System RAM of the running host."""
    if program.flags & import_module("drgn").ProgramFlags.IS_LIVE:
        info.path = "the running host, by drgn"
        with _text(IOMEM) as lines:
            return [(start, end - start) for start, end in system_ram(lines.read())]
    path = getattr(program, "core_dump_path", None)
    if path is None:
        return []
    info.path = f"{path}, by drgn"
    source = open_source(path)
    if not isinstance(source, AddressSpace):
        return []
    with source:
        info.machine = source.info.machine
        return [(start, end - start) for start, end in source.extents().tolist()]


def _text(path: str) -> Any:
    import builtins

    return builtins.open(path, encoding="utf-8", errors="replace")
