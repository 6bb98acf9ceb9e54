"""A guest: which memory it has, and what it is started with."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from khotool.lab.kernelfile import KernelFile, Machine
from khotool.records import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Area:
    """A range of physical memory: address of its first byte, bytes."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """Physical address after the last byte."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Handed:
    """A handover that a kernel is told of as it starts.

    Args:
        root: physical address of the KHO root.
        root_size: bytes that the kernel maps of it.
        scratch: areas that the kernel may use before it knows what is preserved.
    """

    root: int
    root_size: int
    scratch: list[Area]


@dataclass(slots=True)
class Start:
    """What a guest is started with.

    Args:
        room: free memory for the kernel and what it needs to start.
        handed: None for a kernel that starts without a handover.
    """

    kernel: KernelFile
    initrd: bytes
    command_line: str
    room: Area
    handed: Handed | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """QEMU's command line, and the descriptors that it names as /proc/self/fd/N."""

    command: list[str]
    inherited: list[int]


@cache
def part(name: str) -> bytes:
    """A file of ``guest/``: what khotool runs inside a guest."""
    return files("khotool.lab").joinpath("guest", name).read_bytes()


def agent(machine: Machine) -> bytes:
    """The agent's program."""
    return part(f"agent-{machine.value}")


def stop_kernel(machine: Machine) -> bytes:
    """The kernel that ends a capture."""
    return part(f"stop-{machine.value}.bin")


@dataclass(slots=True)
class Packer:
    """Places blobs one after the other in a range of a guest's memory."""

    room: Area
    at: int = 0

    def __post_init__(self) -> None:
        self.at = self.room.start

    def place(self, size: int, align: int = 4096) -> int:
        """Physical address for ``size`` bytes.

        Raises:
            ValueError: the range is used up.
        """
        start = -(-self.at // align) * align
        if start + size > self.room.end:
            raise ValueError(
                f"{size} bytes do not fit into {self.room.size >> 20} MiB at {self.room.start:#x}"
            )
        self.at = start + size
        return start
