"""A scenario that preserves what a manifest says, as far as a kernel lets user space ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from khotool.handover.values import Handle, Handover, Payload, Rows
from khotool.lab.kernelfile import KernelFile
from khotool.lab.scenario import Scenario, hexadecimal
from khotool.records import dataclass, field

THP = "/sys/kernel/mm/transparent_hugepage"
FINALIZE = "/sys/kernel/debug/kho/out/finalize"
"""Kernels up to 6.18 serialise their map when they are told to, and load the next kernel after."""
HUGE = {4096: 9, 16384: 11, 65536: 13}
"""Page order of a huge page of the page middle directory, by bytes of a page."""
UNSETTABLE = ("liveupdate_number", "kexec_metadata", "mutate", "entry", "flb")
"""Keys of a manifest that say what a kernel chooses itself, or that no kernel does."""
CACHE = 16 << 20
"""Bytes of pages that are remembered to be written to the blob once."""


@dataclass(slots=True)
class Wanted:
    """What a kernel is asked to preserve.

    Args:
        words: for its command line.
        regions: contents of reserve_mem regions by name; None where they are not said.
        bytes: of the contents of all files.
        lost: keys of the manifest that are not taken over, and why, as a code.
    """

    scenario: Scenario = field(default_factory=Scenario)
    words: list[str] = field(default_factory=list)
    regions: dict[str, Payload] = field(default_factory=dict)
    bytes: int = 0
    lost: list[tuple[str, str]] = field(default_factory=list)


def preserving(document: dict[str, Any], handover: Handover, kernel: KernelFile) -> Wanted:
    """The scenario of a manifest.

    Args:
        document: the manifest as it was written.
        handover: what it says.
    """
    wanted = Wanted()
    wanted.lost += [(key, "kernel-chooses") for key in UNSETTABLE if key in document]
    wanted.words += command_words(handover, kernel)
    for entry in handover.entries:
        if entry.name == "memblock":
            for region in entry.values.get("regions", []):
                wanted.regions[region["name"]] = region["start"]
        elif entry.name == "LUO":
            writer = _Writer(wanted, handover.geometry.page_size)
            for session in entry.values.get("sessions", []):
                writer.session(session)
    commands = [
        *(f"write {FINALIZE} 1", "load"),
        *wanted.scenario.lines,
        "kexec",
    ]
    wanted.scenario.lines = commands
    return wanted


def command_words(handover: Handover, kernel: KernelFile) -> Iterator[str]:
    """Words of a command line: regions, the kernel's test, scratch areas."""
    page = handover.geometry.page_size
    test = None
    for entry in handover.entries:
        if entry.name == "memblock":
            for region in entry.values.get("regions", []):
                align = region["start"].align or page
                yield f"reserve_mem={region['size']}:{align}:{region['name']}"
        elif entry.name == "kho_test":
            test = entry.values.get("folios")
    if isinstance(test, Rows) and test.payload is not None:
        yield f"test_kho.max_mem={int(test.payload.sizes.sum())}"
    else:
        yield "initcall_blacklist=kho_test_init"
    sizes = [area.size for area in handover.scratch if area.size]
    unit = {16384: 32 << 20, 65536: 512 << 20}.get(kernel.page_size or page, 16 << 20)
    low, whole, node = (sizes + [unit] * 3)[:3]
    yield f"kho_scratch={low},{whole},{node}"


class _Writer:
    """Appends sessions and their files to a scenario."""

    def __init__(self, wanted: Wanted, page: int) -> None:
        self.wanted = wanted
        self.scenario = wanted.scenario
        self.page = page
        self.known: dict[bytes, int] = {}
        self.order = -1

    def session(self, values: dict[str, Any]) -> None:
        self.scenario.add("session", hexadecimal(values["name"]))
        for file in values["files"]:
            self.file(f"{values['name']}/{file['token']:#x}", file)

    def file(self, where: str, file: dict[str, Any]) -> None:
        handle = file["data"]
        values = handle.values if isinstance(handle, Handle) else None
        folios = values.get("folios") if values is not None else None
        if values is None or not isinstance(folios, Rows):
            self.wanted.lost.append((where, "not-a-memfd"))
            return
        self.folio_order(folios)
        self.scenario.add(
            "file", f"{file['token']:#x}", values["size"], values["pos"], values.get("seals", 0)
        )
        for offset, start, size in self.runs(folios, int(values["size"])):
            self.scenario.add("put", offset, start, size)
        self.scenario.add("keep")
        self.wanted.bytes += int(values["size"])

    def folio_order(self, folios: Rows) -> None:
        """Tell shmem how large the folios of the next file are to be."""
        payload = folios.payload
        largest = int(payload.sizes.max()) if payload is not None and len(payload.sizes) else 0
        order = max(largest // self.page, 1).bit_length() - 1
        if order == self.order:
            return
        huge = HUGE.get(self.page)
        self.scenario.add("write", f"{THP}/shmem_enabled", "always" if order == huge else "never")
        if self.order not in (-1, 0, huge):
            self.scenario.add("write", self.knob(self.order), "never")
        if order not in (0, huge):
            self.scenario.add("write", self.knob(order), "always")
        self.order = order

    def knob(self, order: int) -> str:
        return f"{THP}/hugepages-{(self.page << order) >> 10}kB/shmem_enabled"

    def runs(self, folios: Rows, size: int) -> Iterator[tuple[int, int, int]]:
        """Contents as copies from the blob: offset in the file, in the blob, bytes."""
        payload = folios.payload
        if payload is None or payload.contents is None:
            return
        at = folios.columns["index"].astype(np.uint64) * np.uint64(self.page)
        last: tuple[int, int, int] | None = None
        for offset, data in payload.contents(at, payload.sizes):
            view = memoryview(bytes(data))[: max(0, size - offset)]
            for low in range(0, len(view), self.page):
                piece = bytes(view[low : low + self.page])
                start = self.keep(piece)
                if last is not None and (last[0] + last[2], last[1] + last[2]) == (
                    offset + low,
                    start,
                ):
                    last = (last[0], last[1], last[2] + len(piece))
                    continue
                if last is not None:
                    yield last
                last = (offset + low, start, len(piece))
        if last is not None:
            yield last

    def keep(self, piece: bytes) -> int:
        """Offset of a page in the blob, where equal pages are once."""
        found = self.known.get(piece)
        if found is None:
            found = len(self.scenario.blob)
            self.scenario.blob += piece
            if found < CACHE:
                self.known[piece] = found
        return found
