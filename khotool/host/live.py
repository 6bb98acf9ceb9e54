"""The handover of the running host: its root in debugfs, everything else in memory.

Debugfs shows bytes without their addresses. The outgoing root is found through its own map,
which preserves the root's page; the incoming one is named by the data this kernel booted with.
No other memory is searched.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from khotool.abi.geometry import Geometry
from khotool.abi.record import decode_record
from khotool.abi.registry import Registry
from khotool.absent import Absent
from khotool.codec.scene import FDT_MAGIC, read_tree
from khotool.decode.blobs import copied_scratch, open_debugfs
from khotool.decode.open import decode_found, load_definitions, open_memory
from khotool.discovery.bootdata import BootPointer, chosen_pointer, payloads
from khotool.discovery.scan import Candidate, Scan
from khotool.errors import InputError, UsageError
from khotool.fdt.blob import Blob, FdtError
from khotool.fdt.parse import parse
from khotool.host.files import Host
from khotool.host.survey import Survey
from khotool.limits import OpenOptions, Progress
from khotool.memory.debugfs import DebugfsCopy, DebugfsTree
from khotool.memory.live import LiveSpace
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.model.image import UNPLACED, Image, Phase, Role, Root, Span
from khotool.model.names import text_property
from khotool.records import dataclass, field, replace

BOOT_PARAMS = "sys/kernel/boot_params/data"
BOOT_TREE = "sys/firmware/fdt"
MAX_SETUP_DATA = 1024
MAX_GLANCES = 1 << 20
"""Preserved pages whose first bytes are compared with the magic of a tree."""


def open_live(
    survey: Survey,
    options: OpenOptions | None = None,
    *,
    scan: bool = False,
    progress: Progress | None = None,
) -> Image:
    """Decode what the running kernel hands over, or was handed.

    Args:
        survey: what could be opened.
        options: ``root`` is ``in``, ``out`` or the physical address of a root.
        scan: look through all of memory for a root if nothing names one, and for lists whose
            head the kernel has reused.

    Raises:
        InputError: there is nothing to decode; names the first thing that is missing.
        UsageError: ``root`` names nothing that is there.
    """
    options = options or OpenOptions()
    registry = load_definitions(options)
    return _Live(survey, options, registry, scan, progress).open()


@dataclass(slots=True)
class _Live:
    """A host while it is read."""

    survey: Survey
    options: OpenOptions
    registry: Registry
    search: bool
    progress: Progress | None
    copy: DebugfsCopy | None = field(init=False)
    space: LiveSpace | None = field(init=False)
    trees: dict[str, DebugfsTree] = field(init=False)
    pointers: list[BootPointer] = field(init=False)

    def __post_init__(self) -> None:
        self.copy, self.space = self.survey.copy, self.survey.space
        trees = self.copy.trees if self.copy is not None else []
        self.trees = {tree.direction: tree for tree in trees if tree.fdt or tree.subtrees}
        memory = self.space
        self.pointers = boot_pointers(self.survey.host, memory, self.registry) if memory else []

    def open(self) -> Image:
        if isinstance(self.options.root, int):
            if self.space is None:
                raise refusal(self.survey, "kcore", "devmem")
            found = Scan(pointers=self.pointers)
            return self.settle(self.decode(found, self.options), None)
        if self.trees or self.pointers:
            return self.named(self.options.root)
        if not self.search or self.space is None:
            raise refusal(self.survey, "kernel", "kho", "privileges", "debugfs", "trees")
        image = open_memory(self.space, self.registry, self.options, self.progress)
        return self.settle(image, None)

    def named(self, wanted: str | None) -> Image:
        """The handover that debugfs or boot data names; of two, the one of direction ``wanted``."""
        there = [name for name in ("in", "out") if name in self.trees]
        if self.pointers and "in" not in there:
            there.insert(0, "in")
        if wanted is not None and wanted not in there:
            raise UsageError(f"--root {wanted}: this host has {' and '.join(there)}")
        chosen = wanted if wanted is not None else there[0]
        image = self.incoming() if chosen == "in" else self.outgoing()
        shown = {root.name for root in image.roots}
        others = [
            other_root(name, self.trees.get(name))
            for name in there
            if name != chosen and (name not in self.trees or self.trees[name].name not in shown)
        ]
        image = replace(image, roots=[*image.roots, *others])
        return self.settle(image, self.trees.get(chosen))

    def incoming(self) -> Image:
        """The incoming handover: in memory where boot data names it, else from debugfs."""
        for pointer in self.pointers:
            found = scan_at(self.space, pointer.fdt) if self.space is not None else Scan()
            if found.roots:
                found.pointers = [pointer]
                return self.decode(found, replace(self.options, root=None))
        return self.by_scan(Role.INCOMING) or self.by_debugfs("in")

    def outgoing(self) -> Image:
        """The outgoing handover: in memory if its map leads there, else from debugfs."""
        image = self.by_debugfs("out")
        address = place_root(image, self.space) if self.space is not None else None
        if address is None or self.space is None:
            return self.by_scan(Role.OUTGOING) or image
        placed = self.decode(scan_at(self.space, address), replace(self.options, root=None))
        why = f"the root in {self.trees['out'].name} of debugfs, found by its map"
        return with_root(placed, role=Role.OUTGOING, why=why)

    def by_scan(self, role: Role) -> Image | None:
        """The root of a role, searched for in all memory; None unless ``--scan`` was given."""
        if not self.search or self.space is None:
            return None
        options = replace(self.options, root=None)
        try:
            image = open_memory(self.space, self.registry, options, self.progress)
        except InputError:
            return None
        root = next((root for root in image.roots if root.role is role), None)
        if root is None or root.address is None or root.selected:
            return image if root is not None else None
        again = self.decode(scan_at(self.space, root.address), options)
        return with_root(again, role=role, why=f"found in memory; {root.why}")

    def by_debugfs(self, direction: str) -> Image:
        if self.copy is None or direction not in self.trees:
            raise InputError("boot data names a KHO root, but no device tree is at its address")
        options = replace(self.options, root=self.trees[direction].name)
        return open_debugfs(self.copy, self.registry, options, self.space, source="debugfs")

    def decode(self, found: Scan, options: OpenOptions) -> Image:
        assert self.space is not None
        return decode_found(self.space, self.registry, options, found, search=self.search)

    def settle(self, image: Image, tree: DebugfsTree | None) -> Image:
        """Set the phase to what is known of a running kernel."""
        if tree is not None:
            image = with_root(image, name=tree.name)
        if image.phase in (Phase.FROZEN, Phase.FINALIZED, Phase.LIVE) and image.root is not None:
            final = tree is not None and tree.finalized and image.tree.format == "kho-v1"
            phase = Phase.FINALIZED if final else Phase.LIVE
            why = "out/finalize says 1" if final else "the kernel is still running"
            image = replace(image, phase=phase, phase_why=why)
        if not isinstance(image.scratch, Absent) or self.copy is None:
            return image
        scratch = copied_scratch(reversed(self.copy.trees), "/scratch_phys and scratch_len")
        return replace(image, scratch=scratch or image.scratch)


def refusal(survey: Survey, *names: str) -> InputError:
    """An error that names the first of these checks that failed, and the remedy."""
    missing = next((check for check in survey.missing() if check.name in names), None)
    what = "this needs the memory of the host, which --no-memory excludes"
    if missing is not None:
        what = f"{missing.title}: {missing.found}; {missing.remedy}"
    return InputError(f"{what}; 'khotool live --why' lists everything that is needed")


def scan_at(space: AddressSpace, address: int) -> Scan:
    """The root at a physical address, as if a scan had found it and nothing else."""
    blob = read_tree(space, address)
    if blob is None or blob.root is None:
        return Scan()
    return Scan([Candidate(address, blob, text_property(blob.root, "compatible") or "")])


def other_root(direction: str, tree: DebugfsTree | None) -> Root:
    """A root of this host that is not shown.

    Args:
        tree: its tree in debugfs, if it has one.
    """
    role = Role.INCOMING if direction == "in" else Role.OUTGOING
    try:
        blob = parse(tree.fdt) if tree is not None and tree.fdt else None
    except FdtError:
        blob = None
    text = (text_property(blob.root, "compatible") or "") if blob and blob.root else ""
    name = tree.name if tree is not None else direction
    return Root(None, text, role, f"choose it with --root {direction}", name=name)


def with_root(image: Image, **changes: Any) -> Image:
    """The image with other facts about the root that it was made from."""
    roots = [replace(root, **changes) if root.selected else root for root in image.roots]
    return replace(image, roots=roots)


def place_root(image: Image, space: LiveSpace) -> int | None:
    """Physical address of the root that debugfs shows without one: it is in its own map.

    Pages that something else of the handover owns are not looked at, nor more than
    ``MAX_GLANCES`` of the others.

    Args:
        image: decoded from debugfs, with ``space`` below it.
    """
    owned = image.ownership()
    shown = image.blob_of("/")
    if owned is None or shown is None or shown.root is None:
        return None
    free = owned.ranges.owner < 0
    starts, counts = owned.ranges.start[free], owned.ranges.pages[free]
    size = image.geometry.page_size
    pages = (
        start + index * size
        # The root is a page of its own; small ranges are likelier than payload.
        for start, count in sorted(
            zip(starts.tolist(), counts.tolist(), strict=True), key=lambda row: row[1]
        )
        for index in range(count)
    )
    for address in islice(pages, MAX_GLANCES):
        if space.glance(address, len(FDT_MAGIC)) == FDT_MAGIC:
            blob = read_tree(space, address)
            if blob is not None and is_same_root(shown, blob):
                return int(address)
    return None


def is_same_root(shown: Blob, found: Blob) -> bool:
    """True if a tree has all properties of a root that debugfs may have cut short."""
    if shown.root is None or found.root is None:
        return False
    known = [prop for prop in shown.root.properties if prop.name]
    for prop in known:
        other = found.root.get(prop.name)
        if other is None or bytes(other.value) != bytes(prop.value):
            return False
    return len(known) > 1


def boot_pointers(host: Host, space: AddressSpace, registry: Registry) -> list[BootPointer]:
    """Pointers to a handover in boot data: on x86 setup_data, on arm64 /chosen."""
    geometry = Geometry(host.page_size, "little")
    tree = host.data(BOOT_TREE)
    if tree:
        try:
            pointer = chosen_pointer(parse(tree), 0, registry, geometry)
        except FdtError:
            pointer = None
        if pointer is not None:
            why = f"named by /chosen of /{BOOT_TREE}"
            return [replace(pointer, why=why, where=Span(UNPLACED, 0))]
    definition = registry.get("boot_params")
    compiled = registry.compile(definition, definition.content, geometry)
    params = host.data(BOOT_PARAMS)
    if not params or len(params) < compiled.size:
        return []
    address = decode_record(compiled, params)["setup_data"]
    return _setup_data(space, registry, geometry, address)


def _setup_data(
    space: AddressSpace, registry: Registry, geometry: Geometry, address: int
) -> list[BootPointer]:
    """Follow the list of setup_data nodes from a physical address."""
    forms = list(payloads(registry, geometry))
    definition = registry.get("setup_data")
    header = registry.compile(definition, definition.content, geometry)
    seen: set[int] = set()
    found: list[BootPointer] = []
    while address and address not in seen and len(seen) < MAX_SETUP_DATA:
        seen.add(address)
        try:
            node: dict[str, Any] = decode_record(header, space.read(address, header.size))
            # The longest form that fits is the one that was written.
            fits = [
                form
                for form in forms
                if node["type"] == form.number and node["len"] >= form.data.size
            ]
            if fits:
                form = max(fits, key=lambda form: form.size)
                data = space.read(address + header.size, form.data.size)
                found.append(form.pointer(decode_record(form.data, data), address, registry))
        except MemoryFault:
            break
        address = node["next"]
    return found
