"""Scenarios: what the agent is to do, one command per line, and the initrd that carries it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from khotool.lab.bridge import HandedSession
from khotool.lab.cpio import CHARACTER_DEVICE, FILE, Member, archive
from khotool.lab.guest import agent, stop_kernel
from khotool.lab.kernelfile import Machine
from khotool.records import dataclass, field

LEAVE = 24 << 20
"""Bytes of free memory that scrubbing leaves, beside a part of all memory."""
MOST = 1 << 30
"""Bytes that scrubbing overwrites; more would take minutes without KVM."""
RESERVE = ("/proc/sys/vm/min_free_kbytes", 2048)
"""The kernel keeps less memory for itself than it would, so that scrubbing reaches more."""
FOLDER = "khotool"
"""In the initrd: the agent, the scenario, contents of files, the stop kernel."""


@dataclass(slots=True)
class Scenario:
    """Commands for the agent.

    Args:
        blob: what ``put`` copies from.
    """

    lines: list[str] = field(default_factory=list)
    blob: bytearray = field(default_factory=bytearray)

    def add(self, command: str, *words: str | int) -> None:
        """Append a command."""
        self.lines.append(" ".join([command, *(str(word) for word in words)]))

    def text(self) -> bytes:
        """As the agent reads it."""
        return "".join(f"{line}\n" for line in self.lines).encode("ascii")


def hexadecimal(name: str) -> str:
    """A name as the agent takes it; at most 63 bytes are names in a kernel."""
    return name.encode("utf-8", "surrogateescape")[:63].hex() or "00"


def retrieving(
    sessions: Iterable[HandedSession],
    limits: Mapping[tuple[str, int], int],
    *,
    scrub: bool,
    finish: bool,
) -> Scenario:
    """Take back all sessions and files, and say what came.

    Args:
        limits: bytes that a file should have, by session and token; damage can make it as long as
            takes hours to read.
        scrub: first overwrite all memory that the kernel believes to be free.
        finish: finish each session.
    """
    scenario = Scenario()
    if scrub:
        scenario.add("write", *RESERVE)
        scenario.add("scrub", LEAVE, MOST)
    for session in sessions:
        scenario.add("retrieve", hexadecimal(session.name))
        for file in session.files:
            if file.token is not None:
                limit = limits.get((session.name, file.token))
                # One byte more shows that the file is longer.
                scenario.add("get", f"{file.token:#x}", *([] if limit is None else [limit + 1]))
        if finish:
            scenario.add("finish")
    scenario.add("end")
    return scenario


def initrd(
    machine: Machine,
    scenario: Scenario | None,
    own: bytes | None = None,
    extra: Iterable[Member] = (),
) -> bytes:
    """An initrd of ours, or what the user's own needs, in front of it.

    The kernel unpacks archives one after the other, so nothing of the user's initrd is touched.

    Args:
        scenario: None where the user's initrd does all by itself.
        own: the user's initrd, of any compression that the kernel unpacks.
    """
    members = list(_members(machine, scenario, own is None))
    made = archive([*members, *extra])
    return made + bytes(-len(made) % 512) + own if own is not None else made


def _members(machine: Machine, scenario: Scenario | None, init: bool) -> Iterator[Member]:
    program = agent(machine)
    yield Member(f"{FOLDER}/agent", program, FILE | 0o755)
    yield Member(f"{FOLDER}/stop", stop_kernel(machine))
    if scenario is not None:
        yield Member(f"{FOLDER}/scenario", scenario.text())
        if scenario.blob:
            yield Member(f"{FOLDER}/blob", scenario.blob)
    if init:
        yield Member("init", program, FILE | 0o755)
        yield Member("dev/console", mode=CHARACTER_DEVICE | 0o600, device=(5, 1))
        yield Member("dev/null", mode=CHARACTER_DEVICE | 0o666, device=(1, 3))
