"""Entries of the KHO root, and the regions of reserve_mem."""

from __future__ import annotations

from khotool.absent import Absent, Reason
from khotool.model.image import UNPLACED, Image
from khotool.records import dataclass
from khotool.view.keyed import Keyed, OfNode, absent_of, keyed
from khotool.view.values import Record, number_in, text_in

RESERVE_MEM = ("memblock", "reserve-mem", "reserve_mem")
"""Names of the entry that lists regions: the kernel's, and those of postings before it."""
NOT_RECORDED = Absent(Reason.NOT_CAPTURED, "not recorded in this capture")


@dataclass(frozen=True, repr=False)
class Entry(OfNode):
    """An entry of the KHO root: a name, and a blob that its owner wrote."""

    image: Image

    @property
    def name(self) -> str:
        """The name under which the next kernel looks for it."""
        return self.node.name

    @property
    def format(self) -> str:
        """Id of the definition that reads it, such as ``luo-v5``; empty where none does."""
        return self.node.format

    @property
    def address(self) -> int | Absent:
        """Physical address in bytes of the blob."""
        found = self._said_by_root(points=True)
        span = self.node.target
        if found is None and span is not None and span.address < UNPLACED:
            return span.address
        return NOT_RECORDED if found is None else found

    @property
    def size(self) -> int | Absent:
        """Bytes of the blob."""
        found = self._said_by_root(points=False)
        if found is None and self.node.target is not None:
            return self.node.target.size
        return NOT_RECORDED if found is None else found

    @property
    def value(self) -> Record | Absent:
        """Its fields, including those of the root that locate it."""
        return absent_of(self.node) or Record(self.node)

    def _said_by_root(self, *, points: bool) -> int | Absent | None:
        root = self.image.tree.format
        for child in self.node.children if root else ():
            field = child.field
            if field is None or child.format != root:
                continue
            pointer = field.points_to is not None
            if (pointer if points else not pointer and field.role == "bytes") and isinstance(
                child.value, int | Absent
            ):
                return child.value
        return None


@dataclass(frozen=True, repr=False)
class Region(OfNode):
    """A region that ``reserve_mem=`` on a kernel's command line named."""

    @property
    def name(self) -> str | Absent:
        """The name on the command line."""
        name = text_in(self.node, "name")
        return name if name is not None else self.node.key or ""

    @property
    def start(self) -> int | Absent | None:
        """Physical address in bytes; None for a format that lists ranges in a table."""
        return number_in(self.node, "start")

    @property
    def size(self) -> int | Absent | None:
        """Bytes; None for a format that lists ranges in a table."""
        return number_in(self.node, "size")


def entries_by_name(image: Image) -> Keyed[str, Entry]:
    """Entries of the KHO root by name."""
    found = tuple(Entry(node, image) for node in image.entries)
    return Keyed("entry", found, tuple(entry.name for entry in found), absent_of(image.tree))


def regions_of(image: Image) -> Keyed[str, Region]:
    """Regions of reserve_mem by name."""
    entry = next((found for name in RESERVE_MEM if (found := image.entry(name))), None)
    regions = None if entry is None else entry.get("regions")
    return keyed("region", regions, Region, lambda one: one.name, absent_of(entry))
