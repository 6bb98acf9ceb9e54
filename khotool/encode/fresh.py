"""A whole image at fresh addresses, laid out as the kernel of an ABI set would."""

from __future__ import annotations

from collections.abc import Callable

from khotool.abi.definition import AbiSet, Definition
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.codec.fdt_nodes import INLINE
from khotool.encode.build import Builder
from khotool.encode.fdt_build import FdtBuilder, Source, buffer_size, finish, written
from khotool.encode.sets import first_release
from khotool.errors import EncodeError
from khotool.fdt.blob import Node, Property
from khotool.fdt.write import build_read_write, build_sequential
from khotool.handover.allocate import Allocator
from khotool.handover.memory import default_scratch, memory_base, usable_memory
from khotool.handover.placement import Places, has_references
from khotool.handover.values import Buffer, EntryValue, Handover
from khotool.model.image import Span
from khotool.records import dataclass, field

NO_PAGE_TABLES = {"SYMBOL(swapper_pg_dir)": "1"}
"""drgn opens no core whose note lacks this symbol, or has it as 0; there is no page table."""

MAX_LAYOUTS = 4
"""Layouts of one handover; references need two or three."""

MAP = "memory_map"
"""Label of the value of a root that leads to the map."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Built:
    """An image in memory.

    Args:
        segments: physical address and bytes, metadata first, then payload.
        root: physical address of the KHO root.
        lost: what could not be expressed.
    """

    segments: list[tuple[int, Buffer]]
    root: int
    geometry: Geometry
    vmcoreinfo: dict[str, str]
    machine: str | None
    lost: list[str] = field(default_factory=list)


def build_fresh(
    handover: Handover, abi: AbiSet, registry: Registry, progress: Progress | None = None
) -> Built:
    """Lay out a handover for the kernel that speaks ``abi``.

    Raises:
        EncodeError: a value does not fit, a limit of the format is passed, memory is used up.
    """
    places = Places(has_references(handover))
    for _ in range(MAX_LAYOUTS):
        built = _lay_out(handover, abi, registry, places, progress)
        if not places.kept or places.same_as(places.known):
            return built
        places = Places(True, known=places)
    raise EncodeError("/", f"references and what they mean do not settle in {MAX_LAYOUTS} layouts")


def _lay_out(
    handover: Handover, abi: AbiSet, registry: Registry, places: Places, progress: Progress | None
) -> Built:
    """One layout, with what the one before knows of places."""
    geometry = handover.geometry
    memory = usable_memory(handover)
    scratch = handover.scratch or default_scratch(geometry, memory_base(handover.machine))
    allocator = Allocator(memory, [(span.address, span.end) for span in scratch])
    builder = Builder(registry, abi, geometry, allocator, places)
    builder.lost += handover.lost
    made = _Root(builder)
    for entry in handover.entries:
        builder.reserve_fixed(entry.values, f"/{entry.name}")
    # The root and the scratch array exist before anything is added, as in a kernel.
    root_page = 0 if made.definition.segment else builder.alloc_preserve(geometry.page_size, "/")
    builder.places.keep("/", root_page)
    if made.definition.scratch == "array":
        _scratch_array(builder, scratch)
    children = []
    for number, entry in enumerate(handover.entries):
        if progress is not None:
            progress("Laying out", number, len(handover.entries) + 1)
        children.append(made.entry(entry))
    data = written("/", made.tree, [child for child in children if child is not None])
    if made.definition.segment:
        pages = -(-len(data) // geometry.page_size) * geometry.page_size
        root_page = allocator.take_one(pages, "/", geometry.page_size)
    elif len(data) > geometry.page_size:
        raise EncodeError(
            "/", f"the root has {len(data)} bytes; one page of {geometry.page_size} is the limit"
        )
    builder.writes.append((root_page, data))
    return Built(
        segments=[*builder.writes, *builder.payload],
        root=root_page,
        geometry=geometry,
        vmcoreinfo=vmcoreinfo(handover, abi),
        machine=handover.machine,
        lost=builder.lost,
    )


def vmcoreinfo(handover: Handover, abi: AbiSet) -> dict[str, str]:
    """The note with release and page size."""
    release = handover.osrelease or first_release(abi)
    return {"OSRELEASE": release, "PAGESIZE": str(handover.geometry.page_size)} | NO_PAGE_TABLES


def _scratch_array(builder: Builder, scratch: list[Span]) -> None:
    definition = builder.registry.get("kho_scratch")
    rows = b"".join(
        builder.record(
            definition, definition.content, {"address": span.address, "size": span.size}, "scratch"
        )
        for span in scratch
    )
    address = builder.allocator.take_one(
        -(-len(rows) // builder.geometry.page_size) * builder.geometry.page_size,
        "scratch",
        builder.geometry.page_size,
    )
    builder.writes.append((address, rows))


class _Root:
    """The KHO root, its entries and its map."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.abi, self.registry = builder.abi, builder.registry
        self.definition = self.registry.get(self.abi.root)
        self.fdt = FdtBuilder(builder)

    def entry(self, entry: EntryValue) -> Node | None:
        """An entry as a child of the root; None for one this set does not carry."""
        path = f"/{entry.name}"
        name = entry.name.encode("utf-8", "surrogateescape").decode("latin-1")
        if not entry.format:
            if not entry.raw:
                return None
            return self.pointing(name, self.builder.place(entry.raw, path), len(entry.raw))
        definition = self.choose(entry)
        if definition is None:
            self.builder.lost.append(f"{path}: set {self.abi.id} has no such entry")
            return None
        if entry.format not in self.registry.definitions:
            why = f"{entry.format!r} has parts that no definition has"
            self.builder.lost.append(f"{path}: written as {definition.id}; {why}")
        if self.inline:
            return self.fdt.tree(definition, entry.values, path, name)
        if definition.content == "fdt":
            node = self.fdt.tree(definition, entry.values, path)
            data = written(path, finish, node, definition, entry.values, self.builder.geometry)
        else:
            data = self.builder.record(definition, definition.content, entry.values, path)
        room = buffer_size(definition, entry.values, self.builder.geometry)
        address = self.builder.place(data, path, room)
        return None if definition.beside_root else self.pointing(name, address, len(data))

    @property
    def inline(self) -> bool:
        """True if entries are in the root itself."""
        kind = self.definition.fdt
        return kind is not None and kind.any_node is not None and kind.any_node.kind == INLINE

    def pointing(self, name: str, address: int, size: int) -> Node:
        """A child of the root that says where a blob is."""
        kind = self.definition.fdt
        assert kind is not None
        assert kind.any_node is not None
        order = self.builder.geometry.byteorder
        child = Node(name)
        for prop in kind.any_node.properties:
            number = address if prop.points_to is not None else size
            child.items.append(Property(prop.name, number.to_bytes(8, order)))
        return child

    def choose(self, entry: EntryValue) -> Definition | None:
        """The definition by which this set writes an entry."""
        identifier = self.abi.entries.get(entry.name)
        if identifier is not None:
            return self.registry.get(identifier)
        definition = self.registry.definitions.get(entry.format)
        known = {name for abi in self.registry.sets.values() for name in abi.entries}
        return None if definition is None or entry.name in known else definition

    def tree(self, children: list[Node]) -> bytes:
        """The root's bytes; the map of everything preserved so far is built on the way.

        Args:
            children: entries in the order in which the root shows them.
        """
        kind = self.definition.fdt
        assert kind is not None
        top = self.fdt.filled("", kind, Source(self.definition, {MAP: 0}, ""))
        if self.abi.root_writer == "sequential":
            top.items += children
            return build_sequential(top)
        return build_read_write(top, children[::-1])
