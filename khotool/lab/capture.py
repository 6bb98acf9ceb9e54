"""Take a real image: a kernel preserves what it is told, and hands over to the stop kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.errors import InputError
from khotool.lab import bridge
from khotool.lab.boot import require, silent
from khotool.lab.console import FATAL, Line, Said, read_lines
from khotool.lab.cpio import Member
from khotool.lab.facts import Facts, read_facts
from khotool.lab.kernelfile import KernelFile
from khotool.lab.layout import fresh
from khotool.lab.machines import board
from khotool.lab.outcome import error_name
from khotool.lab.preserving import Wanted, preserving
from khotool.lab.qemu import End, Run, Settings
from khotool.lab.ram import Ram
from khotool.lab.scenario import Scenario, initrd
from khotool.lab.session import command_line, run_guest
from khotool.records import dataclass, field

ENOENT, EPERM, ENOEXEC, ENOSYS, EBUSY, EKEYREJECTED = 2, 1, 8, 38, 16, 129

DEFAULT: dict[str, Any] = {
    "reserve_mem": [{"name": "trace", "size": "1M", "contents": {"pattern": "page"}}],
    "kho_test": {"orders": [0, 1, 3, 4]},
    "session": [
        {
            "name": "vm",
            "file": [
                {"token": 1, "size": "2M", "contents": {"pattern": "page"}, "pos": 4096},
                {"token": 2, "size": 12345, "contents": {"random": 1}},
                {"token": 3, "size": 0},
            ],
        },
        {
            "name": "device",
            "file": [{"token": 1, "size": "256K", "contents": {"random": 2}, "pos": 512}],
        },
        {"name": "empty"},
    ],
}
"""What is preserved where nobody says what."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is captured, and how.

    Args:
        manifest: path; None for a small scenario, or for what the user's initrd does.
        full: all of RAM, not only what is handed over.
        memory: bytes of RAM; None for what is needed.
        append: further words of the command line.
        initrd: the user's own, which loads the stop kernel itself.
        scenario: for the agent, instead of a manifest; it ends with ``kexec``.
        extra: further files of the agent's initrd.
    """

    manifest: str | None = None
    full: bool = False
    memory: int | None = None
    append: str = ""
    initrd: bytes | None = None
    settings: Settings = field(default_factory=Settings)
    scenario: Scenario | None = None
    extra: tuple[Member, ...] = ()


@dataclass(slots=True)
class Captured:
    """A capture.

    Args:
        segments: physical address and bytes.
        lost: what of the manifest was not taken over, and why, as a code.
        regions: SHA-256 of the contents of reserve_mem regions that khotool filled.
        bytes: of all segments.
    """

    kernel: KernelFile
    release: str | None
    page_size: int
    root: int
    segments: list[tuple[int, bytes]]
    facts: Facts
    lines: list[Line]
    run: Run
    command_line: str
    memory: int
    lost: list[tuple[str, str]] = field(default_factory=list)
    regions: list[bridge.HandedRegion] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)


def capture(kernel: KernelFile, wish: Wish) -> Captured:
    """Boot a kernel, preserve, hand over, and take what the next kernel would find.

    Raises:
        InputError: the kernel cannot do it, names the missing option; or QEMU does not run.
        KhotoolError: a mistake in the manifest.
    """
    require(kernel)
    wanted = wanted_of(kernel, wish)
    own = wish.initrd
    scenario = wanted.scenario if own is None or wish.manifest is not None else None
    files = initrd(kernel.machine, scenario, own, wish.extra)
    layout = fresh(kernel, len(files) + 2 * wanted.bytes, wish.memory)
    line = command_line(kernel, *wanted.words, wish.append)
    taken: list[Captured] = []

    def after(ram: Ram, run: Run) -> None:
        lines, facts = read_lines(run.console), read_facts(run.console)
        refuse(kernel, wish, run, lines, facts)
        banner = next((item.name for item in lines if item.said is Said.BANNER), None)
        release = facts.release or banner or kernel.release
        page = facts.page_size or kernel.page_size
        found = take(ram, kernel, release, page, wanted, wish.full)
        found.facts, found.lines, found.run = facts, lines, run
        found.command_line, found.memory, found.lost = line, layout.size, wanted.lost
        taken.append(found)

    run_guest(kernel, files, line, layout, wish.settings, after=after)
    return taken[0]


def wanted_of(kernel: KernelFile, wish: Wish) -> Wanted:
    """What the kernel is asked to preserve."""
    if kernel.release is None:
        raise InputError(f"{kernel.path}: its release is not found in it; give a bzImage or Image")
    page = kernel.page_size or 4096
    if wish.manifest is not None:
        document, handover = bridge.read_manifest(wish.manifest, kernel.release, page)
        return preserving(document, handover, kernel)
    if wish.scenario is not None:
        return Wanted(wish.scenario)
    if wish.initrd is not None:
        return Wanted()
    document = dict(DEFAULT) | {"page_size": page}
    document = bridge.without_unknown(document, kernel.release)
    handover = bridge.handover_of(document, kernel.release, "default", bridge.HERE)
    return preserving(document, handover, kernel)


def take(
    ram: Ram,
    kernel: KernelFile,
    release: str | None,
    page: int | None,
    wanted: Wanted,
    full: bool,
) -> Captured:
    """What the next kernel would find in RAM."""
    image = _decode(ram, kernel, release, page)
    contents = bridge.contents_of(image)
    digests = fill_regions(ram, contents.regions, wanted)
    if digests:
        # Regions were holes of the file, which the image took for zeros.
        image = _decode(ram, kernel, release, page)
    memory = bridge.memory_of(image)
    size = image.geometry.page_size
    ranges = (
        [(start, start + length) for start, length in ram.used()]
        if full
        else bridge.pages_of([*memory.metadata, *memory.kept, *memory.stray], size)
    )
    segments = [(start, ram.read(start, end - start)) for start, end in ranges]
    return Captured(
        *(kernel, release, size, memory.root, segments, Facts(), []),
        run=Run(End.EXIT, "", 0.0),
        command_line="",
        memory=ram.size,
        regions=contents.regions,
        digests=digests,
    )


def _decode(ram: Ram, kernel: KernelFile, release: str | None, page: int | None) -> Any:
    banks = [(bank.start, bank.end) for bank in board(kernel.machine).banks(ram.size)]
    return bridge.open_ram(list(ram.views()), banks, release, page, kernel.machine.value)


def fill_regions(ram: Ram, regions: list[bridge.HandedRegion], wanted: Wanted) -> dict[str, str]:
    """Put the contents that a manifest gives into reserved regions; SHA-256 of each.

    A kernel hands such a region over as it is, whoever filled it: here khotool does, from outside,
    once the guest is over.
    """
    digests = {}
    for region in regions:
        payload = wanted.regions.get(region.name)
        if payload is None or payload.contents is None or not region.start or not region.size:
            continue
        start = np.array([region.start], np.uint64)
        for address, data in payload.contents(start, np.array([region.size], np.uint64)):
            ram.write(address, bytes(data))
        digests[region.name] = bridge.sha256(ram.read(region.start, region.size))
    return digests


# -- kernels that cannot do it ----------------------------------------------------------------


def refuse(kernel: KernelFile, wish: Wish, run: Run, lines: list[Line], facts: Facts) -> None:
    """Say why a guest did not come to its handover.

    Raises:
        InputError: names the option that the kernel's configuration lacks, or what it said.
    """
    path = kernel.path
    if not run.console:
        raise silent(kernel)
    why = complaint(run, lines, facts, wish.settings.timeout)
    if why:
        raise InputError(f"{path}: {why}")


def complaint(run: Run, lines: list[Line], facts: Facts, timeout: float) -> str:
    """What kept a guest from handing over, and what to do; empty if nothing did."""
    said = {item.said for item in lines}
    fault = next((item for item in lines if item.said in FATAL), None)
    if fault is not None:
        return f"stopped before it handed over: {fault.text}"
    if facts.load:
        return load_advice(facts.load)
    if Said.NO_INIT in said:
        return (
            "does not run the program in its initrd; build it with CONFIG_BLK_DEV_INITRD=y and "
            "CONFIG_BINFMT_ELF=y"
        )
    if Said.KHO_OFF in said:
        return "had no memory for its scratch areas; raise --memory"
    if run.end is End.TIMEOUT:
        return f"did not hand over in {timeout:.0f} s; raise --timeout, or see --console FILE"
    if facts.ended:
        code = next((number for name, number in facts.errors if name == "reboot"), 0)
        cause = f": {error_name(code)}" if code else ""
        return f"refused to start the stop kernel{cause}; see --console FILE"
    if Said.RESTART in said:
        return "restarted or went off instead of handing over; see --console FILE"
    return ""


def load_advice(error: int) -> str:
    """Why kexec_file_load failed, and what to do."""
    advice = {
        ENOSYS: "no kexec_file_load; build it with CONFIG_KEXEC_FILE=y",
        EPERM: "does not let kexec_file_load; build it without CONFIG_KEXEC_SIG_FORCE and lockdown",
        EKEYREJECTED: "wants a signed kernel; build it without CONFIG_KEXEC_SIG_FORCE",
        ENOEXEC: "does not take the stop kernel; build it without CONFIG_KEXEC_SIG_FORCE",
        EBUSY: "KHO was not finalised before the stop kernel was loaded",
    }
    return advice.get(error, f"kexec_file_load fails with {error_name(error)}; see --console FILE")
