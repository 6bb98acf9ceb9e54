"""What can be asked of an image: its memory, its definitions, and what is known of it so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from khotool.absent import Absent, Reason
from khotool.fdt.blob import Blob, FdtError
from khotool.fdt.parse import parse
from khotool.limits import Limits
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.records import dataclass, field, replace

if TYPE_CHECKING:
    from khotool.abi.compile import CompiledStruct
    from khotool.abi.definition import Definition
    from khotool.abi.geometry import Geometry
    from khotool.abi.registry import Registry
    from khotool.maps.preserved import PreservedMap

FDT_MAGIC = b"\xd0\x0d\xfe\xed"
FDT_HEADER = 40
"""Bytes of a device tree's header."""
SMALLEST_PAGE = 4096
MAX_TREE = 2 << 20
"""Bytes of a device tree that is looked at before anything says that it is one."""
NO_MAP = Absent(Reason.UNPARSABLE, "no preserved-page map")


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """An image as a question can be asked of it; nothing here is changed by asking.

    Args:
        space: captured memory.
        limits: bounds of one walk, made fit for the size of the image by ``of``.
        abi: layout or definition by string or id, as the user forces it; None for the id alone.
        writer: release of the kernel that wrote the handover, where it is known.
        root: the device tree of the KHO root, once it is read.
        root_format: id of the root's definition, once it is known.
        map: preserved pages, once the map is read.
    """

    space: AddressSpace
    registry: Registry
    geometry: Geometry
    limits: Limits = field(default_factory=Limits)
    abi: Mapping[str, str | None] = field(default_factory=dict)
    writer: str | None = None
    root: Blob | None = None
    root_format: str = ""
    map: PreservedMap | Absent = NO_MAP

    @classmethod
    def of(
        cls,
        space: AddressSpace,
        registry: Registry,
        geometry: Geometry,
        *,
        limits: Limits | None = None,
        abi: Mapping[str, str | None] | None = None,
        writer: str | None = None,
    ) -> Scene:
        """A scene of which nothing is known yet, with limits for the bytes that are captured."""
        extents = space.extents()
        captured = int((extents[:, 1] - extents[:, 0]).sum())
        own = (limits or Limits()).within(captured)
        return cls(space, registry, geometry, own, dict(abi or {}), writer)

    def with_root(self, blob: Blob | None, root_format: str = "") -> Scene:
        """The scene once the root is read."""
        return replace(self, root=blob, root_format=root_format)

    def with_map(self, found: PreservedMap | Absent) -> Scene:
        """The scene once the map is read."""
        return replace(self, map=found)

    @property
    def root_is_cut(self) -> bool:
        """True if the root's device tree is not there to its end."""
        return self.root is not None and not self.root.complete

    # -- definitions ---------------------------------------------------------------------

    def struct(self, definition: Definition, name: str) -> CompiledStruct:
        """A struct of a definition, or of one that it uses, for this page size and byte order.

        Raises:
            DefinitionError: no such struct.
        """
        return self.registry.compile(definition, name, self.geometry)

    def content(self, definition: Definition) -> CompiledStruct:
        """The record that a definition's content is."""
        return self.struct(definition, definition.content)

    def owner_of_struct(self, definition: Definition, name: str) -> Definition:
        """The definition among one and what it uses that has a struct."""
        return self.registry.owner_of_struct(definition, name)

    # -- memory --------------------------------------------------------------------------

    def read(self, address: int, length: int, *, short: bool = False) -> memoryview | Absent:
        """Bytes at a physical address; with ``short``, as many of them as are there."""
        while True:
            try:
                return self.space.read(address, length)
            except MemoryFault as fault:
                # The first byte that is named need not be the first that is missing: a page in
                # front of a gap may be unreadable.
                if not short or not address < fault.address < address + length:
                    return Absent(fault.reason, fault.detail or f"nothing at {fault.address:#x}")
                length = fault.address - address

    def block_of(self, address: int) -> tuple[int, int] | None:
        """Physical address and order of the preserved block around an address, if known."""
        return None if isinstance(self.map, Absent) else self.map.blocks.block_of(address)

    def is_preserved(self, address: int) -> bool:
        """True if an address is in preserved memory, or if the map is not known."""
        return isinstance(self.map, Absent) or self.map.blocks.block_of(address) is not None


def read_tree(space: AddressSpace, address: int, tokens: int = 1_000_000) -> Blob | None:
    """The device tree at a physical address; None if there is none that parses at all.

    Args:
        tokens: read before giving up.
    """
    try:
        header = space.read(address, FDT_HEADER)
        size = int.from_bytes(header[4:8], "big")
    except MemoryFault:
        return None
    data = header
    for length in (size, SMALLEST_PAGE):
        # With a wrong size, what is there can still be read.
        if len(header) <= length <= MAX_TREE and space.contains(address, length):
            try:
                data = space.read(address, length)
            except MemoryFault:
                # A page that is there may still not be readable.
                continue
            break
    try:
        return parse(data, max_tokens=tokens)
    except FdtError:
        return None
