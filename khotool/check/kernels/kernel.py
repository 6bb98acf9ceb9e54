"""One kernel as its ABI set describes it: what it takes, and how it fails."""

from __future__ import annotations

from khotool.abi.definition import AbiSet, Behaviour, Shape
from khotool.abi.registry import Registry
from khotool.check.kernels.asked import AskedKernel, FromFile
from khotool.records import dataclass


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel release, as far as it decides what becomes of an image.

    Args:
        release: as it was asked for.
        abi: its set.
        root: the only root string it takes.
        luo: the string of the live update state it takes; empty for none.
        no_map: the line about a root whose map property is missing or has a wrong length.
        sized_entries: an entry without its size is refused.
        needs_flb: live update state without FLBs is refused.
        test_layout: how its own test reads the list of folios.
        assumed: handlers out of tree that it is taken to have; their files come back.
        file: what its file says, if it was asked for by one.
    """

    release: str
    abi: AbiSet
    root: str
    luo: str
    no_map: str
    sized_entries: bool
    needs_flb: bool
    test_layout: str
    assumed: tuple[str, ...] = ()
    file: FromFile | None = None

    @property
    def posted(self) -> bool:
        """True for a posting, of whose kernel no more than its formats are known."""
        return not self.abi.first and self.abi.status != "queued"

    @property
    def handlers(self) -> tuple[str, ...]:
        """Strings of the file handlers that it has."""
        return (*self.abi.files, *self.assumed)

    @property
    def does(self) -> Behaviour:
        """What no format says."""
        return self.abi.behaviour

    def asks_for(self, entry: str) -> bool:
        """True if something in this kernel reads entries of this name."""
        return entry in self.abi.entries


def kernel_of(asked: AskedKernel, registry: Registry) -> Kernel:
    """How the kernel that was asked for behaves."""
    abi = asked.abi
    root = registry.get(abi.root)
    entry = root.fdt.any_node if root.fdt is not None else None
    luo = abi.entries.get("LUO", "")
    shapes = [p.points_to.shape for p in root.fdt.properties if p.points_to] if root.fdt else []
    form = "map" if Shape.RADIX in shapes else "bitmaps"
    return Kernel(
        asked.name,
        abi,
        root.match["compatible"][0],
        registry.get(luo).match["compatible"][0] if luo else "",
        f"KHO: failed to get preserved memory {form}",
        entry is not None and any(p.label == "size" for p in entry.properties),
        "luo-flb-v1" in abi.nodes,
        abi.layouts.get(abi.entries.get("kho_test", ""), ""),
        asked.assumed,
        asked.file,
    )
