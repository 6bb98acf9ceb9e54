"""An image in types."""

from __future__ import annotations

from functools import cached_property

from khotool.abi.geometry import ByteOrder
from khotool.absent import Absent
from khotool.model.image import Image, Phase, Root, Span
from khotool.model.lookup import find_node
from khotool.records import dataclass
from khotool.view.entries import Entry, Region, entries_by_name, regions_of
from khotool.view.keyed import Keyed
from khotool.view.luo import Luo
from khotool.view.memory import Memory, memory_of
from khotool.view.values import Value, value_of


@dataclass(frozen=True, repr=False)
class ImageView:
    """What an image hands over.

    Args:
        model: the decoded image.
    """

    model: Image

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    @property
    def path(self) -> str:
        """The file, as it was given."""
        return self.model.info.path

    @property
    def container(self) -> str:
        """``elf``, ``kdump``, ``raw``, ``lime``, ``debugfs``, ``fdt`` or ``live``."""
        return self.model.info.container

    @property
    def osrelease(self) -> str | None:
        """Release of the kernel whose memory it is, untrusted text; None where it is not known."""
        return self.model.info.osrelease

    @property
    def page_size(self) -> int:
        """Bytes of a page."""
        return self.model.geometry.page_size

    @property
    def byteorder(self) -> ByteOrder:
        """Order of every native integer."""
        return self.model.geometry.byteorder

    @property
    def phase(self) -> Phase:
        """When it was taken, as far as it shows."""
        return self.model.phase

    @property
    def root(self) -> Root | None:
        """The KHO root that was decoded; None where the capture holds none."""
        return self.model.root

    @property
    def roots(self) -> tuple[Root, ...]:
        """Every KHO root that was found."""
        return tuple(self.model.roots)

    @property
    def formats(self) -> tuple[str, ...]:
        """Ids of the definitions that decoded something, in order of first use."""
        return tuple(definition.id for definition in self.model.used)

    @cached_property
    def luo(self) -> Luo:
        """The live update orchestrator; false where the handover has none."""
        return Luo(self.model)

    @cached_property
    def entries(self) -> Keyed[str, Entry]:
        """Entries of the KHO root by name, in stored order."""
        return entries_by_name(self.model)

    @cached_property
    def reserve_mem(self) -> Keyed[str, Region]:
        """Regions of ``reserve_mem=`` by name."""
        return regions_of(self.model)

    @cached_property
    def memory(self) -> Memory | Absent:
        """Preserved memory, or why its map is absent."""
        return memory_of(self.model)

    @property
    def scratch(self) -> tuple[Span, ...] | Absent:
        """Scratch areas, each with ``address`` and ``size`` in bytes, or why they are absent."""
        found = self.model.scratch
        return found if isinstance(found, Absent) else tuple(found.areas)

    def __getitem__(self, path: str) -> Value:
        """The value at a path, as ``khotool dump`` prints it.

        Raises:
            UsageError: the path cannot be parsed, or names nothing; lists what exists.
        """
        return value_of(find_node(self.model, path))
