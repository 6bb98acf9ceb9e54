"""Follow one pointer: what each shape of target adds to the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Kind, Reference, Shape, Struct
from khotool.abi.record import decode_record, decode_records
from khotool.absent import Absent, Reason
from khotool.codec.blocks import walk_blocks
from khotool.codec.vmalloc import ShapeProblem
from khotool.decode.choose import Evidence, choose, note_whole
from khotool.decode.entries import FDT_MAGIC
from khotool.decode.preserved import MAPS, walk_map
from khotool.decode.problems import SHAPE_RULES, told
from khotool.decode.tables import inline_table, page_table, tail_table, vmalloc_table
from khotool.decode.words import is_words, words_table
from khotool.discovery.scan import read_tree
from khotool.maps.preserved import MapPages, PreservedMap
from khotool.model.image import Node, NodeKind, Span
from khotool.pages.blocks import Blocks

if TYPE_CHECKING:
    from khotool.abi.geometry import Geometry
    from khotool.abi.registry import Registry
    from khotool.decode.walk import Walker

MAX_PAGES = 1 << 16
"""Pages of one array that are believed; the kernel's largest blocks have 2^13."""
BLOCK_LIST = "kho_block"
"""Structure that links the blocks of a list; the KHO root versions it."""


class Follower:
    """The part of a walk that goes from a pointer to its target."""

    def __init__(self, walker: Walker) -> None:
        """Work for one walk."""
        self.walker = walker
        self.keys: dict[int, dict[str, int]] = {}

    def follow_field(
        self, node: Node, field: Field, definition: Definition, siblings: dict[str, Any]
    ) -> None:
        """Add to ``node`` what its value leads to.

        Args:
            node: the value's node.
            field: its definition.
            definition: the format that the field belongs to.
            siblings: values of the fields beside it, by label.
        """
        if isinstance(node.value, Absent):
            return
        if field.type is not None and field.type.kind in ("struct", "array") and not node.children:
            inline_table(self, node, field, definition)
        if field.holds is not None:
            if node.struct and is_words(self.walker.registry, definition, node.struct):
                words_table(self, node, field.holds, definition)
            else:
                vmalloc_table(self, node, field.holds, definition, siblings)
            return
        reference = field.points_to
        by_order = reference is not None and reference.shape is Shape.ORDER_TABLES
        if reference is not None and by_order and node.table is not None:
            walk_map(self.walker, node, reference.shape, definition)
            return
        if reference is None or not isinstance(node.value, int):
            return
        if node.value == 0:
            self.null(node, field, siblings)
            return
        if reference.shape in MAPS:
            walk_map(self.walker, node, reference.shape, definition)
        elif reference.shape is Shape.ENTRY:
            assert node.parent is not None
            size = siblings.get(reference.size)
            self.walker.entries.entry_blob(
                node.parent, node.value, size if isinstance(size, int) else None
            )
        elif reference.shape is Shape.ARRAY:
            self.array(node, reference, definition, siblings)
        elif reference.shape is Shape.BLOCKS:
            self.blocks(node, reference, definition)
        elif reference.shape is Shape.HANDLER:
            self.handler(node, reference, siblings)
        elif reference.shape is Shape.RECORD:
            compiled = self.walker.registry.compile(definition, reference.of, self.walker.geometry)
            self.record(node, compiled, definition, beside(node, reference))
        elif reference.shape is Shape.TREE:
            own = self.walker.registry.get(reference.format)
            self.tree(node, own, beside(node, reference))
        elif reference.shape is Shape.FOLIO:
            self.folio(node, reference, siblings)
        elif reference.shape is Shape.OPAQUE:
            self.opaque(node)
        elif reference.shape is Shape.PAGE_TABLE:
            page_table(self, node, reference, definition, siblings)
        elif reference.shape in (Shape.ELEMENT, Shape.FILE):
            # What they name may not have been read yet.
            self.walker.unresolved.append(node)
        elif reference.shape is Shape.RANGE:
            size = siblings.get(reference.size)
            if isinstance(size, int):
                node.target = Span(node.value, size)
                self.claim(node, node.value, size)

    def null(self, node: Node, field: Field, siblings: dict[str, Any]) -> None:
        """Judge a pointer that is 0."""
        reference = field.points_to
        if field.null == "handler" and reference is not None:
            chosen = self.handler_definition(node, reference, siblings)
            if chosen is not None and chosen.content not in ("literal", "none"):
                self.walker.report("REC408", node, f"{chosen.id} needs an address here, found 0")
            elif chosen is not None:
                self.walker.use(chosen)
                node.struct, node.format = chosen.content, chosen.id
            return
        if field.null == "error":
            self.walker.report("REC408", node, f"{field.name} is 0")
        if field.null == "empty" and reference is not None and reference.shape in MAPS:
            self.walker.map = PreservedMap(
                "ranges", Blocks.empty(self.walker.geometry.page_shift), MapPages.empty(), [], True
            )

    def claim(self, node: Node, address: int, size: int) -> None:
        """Claim memory for the owner of ``node``."""
        self.walker.claim(owner_path(node), address, size)

    def problems(self, node: Node, problems: Iterable[ShapeProblem]) -> None:
        """Report what a shape met."""
        for problem in problems:
            if problem.code == "missing":
                absent = Absent(Reason.NOT_CAPTURED, problem.message)
                self.walker.absent(node, problem.address, absent)
            else:
                self.walker.report(
                    SHAPE_RULES[problem.code],
                    node,
                    told(problem.code, problem.message),
                    problem.address,
                )

    # -- lists ---------------------------------------------------------------------------

    def array(
        self, node: Node, reference: Reference, definition: Definition, siblings: dict[str, Any]
    ) -> None:
        """Records that stand one after another, behind a header or counted by a sibling."""
        walker = self.walker
        geometry = walker.geometry
        record = walker.registry.compile(definition, reference.of, geometry)
        address = int(node.value)
        node.kind = NodeKind.LIST
        start = address
        values = siblings
        if reference.header:
            header = walker.registry.compile(definition, reference.header, geometry)
            data = walker.read_some(address, header.size)
            if isinstance(data, Absent):
                self.missing(node, address, data)
                return
            values = decode_record(header, data)
            top = node.add(Node("header", NodeKind.RECORD, span=Span(address, header.size)))
            walker.record(top, header, data, address, definition, values)
            start += header.size
        count: Any = values.get(reference.count)
        pages = self.array_pages(node, reference, values, start - address, record.size)
        room = max(0, pages * geometry.page_size - (start - address))
        node.target = Span(address, pages * geometry.page_size)
        self.claim(node, address, pages * geometry.page_size)
        if not isinstance(count, int):
            return
        fits = room // record.size
        if count > fits:
            walker.report("REC403", node, f"count is {count}; {pages} pages take {fits}", address)
            count = fits
        if not count:
            return
        body = walker.read_some(start, count * record.size, short=True)
        if isinstance(body, Absent):
            self.missing(node, start, body)
            return
        if len(body) < count * record.size:
            self.missing(node, start + len(body), Absent(Reason.NOT_CAPTURED, "rest of the array"))
        self.elements(node, record, body, start, len(body) // record.size, definition)

    def array_pages(
        self, node: Node, reference: Reference, values: dict[str, Any], head: int, size: int
    ) -> int:
        """Pages of an array: as its own field says, as the writer allocates, or as it needs.

        Args:
            values: of the header, else of the fields beside the pointer.
            head: bytes in front of the records, each of ``size`` bytes.
        """
        told = values.get(reference.pgcnt)
        if isinstance(told, int):
            if told > MAX_PAGES:
                self.walker.report("REC403", node, f"{reference.pgcnt} is {told}")
            return min(told, MAX_PAGES)
        if reference.pages:
            return reference.pages
        count = values.get(reference.count)
        wanted = head + size * (count if isinstance(count, int) else 0)
        return min(-(-wanted // self.walker.geometry.page_size), MAX_PAGES)

    def blocks(self, node: Node, reference: Reference, definition: Definition) -> None:
        """Records in a list of blocks."""
        walker = self.walker
        lists, header = list_header(walker.registry, definition, reference, walker.geometry)
        record = walker.registry.compile(definition, reference.of, walker.geometry)
        limit = min(lists.limits.get("blocks", walker.limits.chain), walker.limits.chain)
        found = walk_blocks(
            walker.space.read,
            int(node.value),
            header,
            record,
            max_blocks=limit,
            pages=reference.pages,
            least=0 if reference.header else 1,
        )
        size = reference.pages * walker.geometry.page_size
        node.kind = NodeKind.LIST
        if found.blocks:
            walker.use(lists)
            node.target = Span(found.blocks[0].address, size)
        else:
            first = found.problems[0]
            self.missing(node, first.address, Absent(Reason.NOT_CAPTURED, first.message))
        self.problems(node, [p for p in found.problems if found.blocks or p.code != "missing"])
        for number, block in enumerate(found.blocks):
            top = node.add(
                Node(
                    "blocks",
                    NodeKind.RECORD,
                    key=str(number),
                    span=Span(block.address, header.size),
                    format=lists.id,
                )
            )
            walker.record(top, header, block.data, block.address, lists)
            self.claim(node, block.address, size)
        number = 0
        for block in found.blocks:
            start = block.address + header.size
            body = block.data[header.size :]
            self.elements(node, record, body, start, block.used, definition, number)
            number += block.used

    def elements(
        self,
        node: Node,
        record: CompiledStruct,
        body: memoryview,
        start: int,
        count: int,
        definition: Definition,
        first: int = 0,
    ) -> None:
        """Records as keyed children of a list, of which ``first`` stand before them."""
        rows = decode_records(record, body, count)
        for number, values in enumerate(rows):
            if not self.walker.spend(node):
                return
            if is_free(record.struct, values):
                node.free += 1
                continue
            address = start + number * record.size
            child = Node("", NodeKind.RECORD, span=Span(address, record.size))
            child.key = self.unique_key(node, element_key(record.struct, values, first + number))
            node.add(child)
            self.walker.record(child, record, b"", address, definition, values)

    def unique_key(self, holder: Node, key: str) -> str:
        """A key for a list element; the second element with the same key is ``key~2``."""
        taken = self.keys.setdefault(id(holder), {})
        count = taken[key] = taken.get(key, 0) + 1
        result = key
        while count > 1 and (result == key or result in taken):
            result = f"{key}~{count}"
            count += 1
        taken.setdefault(result, 1)
        taken[key] = max(taken[key], count - 1)
        return result

    # -- single targets ------------------------------------------------------------------

    def handler_definition(
        self, node: Node, reference: Reference, siblings: dict[str, Any]
    ) -> Definition | None:
        """The definition of a handle: forced by --abi, or by the string beside it."""
        walker = self.walker
        given = siblings.get(reference.by)
        name = given if isinstance(given, str) else ""
        candidates = walker.registry.handlers(reference.kind, name)
        evidence = Evidence(handle=int(node.value))
        if len(candidates) > 1 and node.value:
            evidence = self.evidence(int(node.value), candidates)
        chosen = choose(walker, node, name, candidates, evidence)
        for identifier, variant in walker.abi.items():
            if identifier == name and variant in {candidate.id for candidate in candidates}:
                # The string is named, and which of its definitions: choosing has seen to that.
                continue
            forced = walker.registry.definitions.get(identifier)
            if forced is not None and forced.kind == reference.kind and forced.kind != Kind.FLB:
                strings = forced.match.get("compatible", ())
                if name in strings or chosen is None:
                    chosen = forced
        return chosen

    def evidence(self, address: int, candidates: Iterable[Definition]) -> Evidence:
        """What stands at an address, to tell formats apart: a tree, or the first bytes."""
        walker = self.walker
        sizes = [
            walker.registry.compile(definition, definition.content, walker.geometry).size
            for definition in candidates
            if definition.content in definition.structs
        ]
        data = walker.read_some(address, max(walker.geometry.page_size, *sizes, 0), short=True)
        if isinstance(data, Absent):
            return Evidence(handle=address)
        if bytes(data[:4]) == FDT_MAGIC:
            blob = read_tree(walker.space, address)
            return Evidence(blob.root if blob is not None else None, data, None, address)
        return Evidence(data=data, handle=address)

    def handler(self, node: Node, reference: Reference, siblings: dict[str, Any]) -> None:
        """A handle that only its handler's definition can read."""
        walker = self.walker
        chosen = self.handler_definition(node, reference, siblings)
        if chosen is None:
            name = siblings.get(reference.by)
            walker.report("ABI904", node, f"no definition for {reference.kind} handler {name!r}")
            node.note = "unknown handler"
            # The handle may be an address; the block it is in, if any, is all that is known.
            self.claim(node, int(node.value), 1)
            return
        walker.use(chosen)
        name = siblings.get(reference.by)
        if isinstance(name, str):
            note_whole(walker, node, name, chosen)
        if chosen.content == "fdt":
            self.tree(node, chosen)
        elif chosen.content in chosen.structs:
            compiled = walker.registry.compile(chosen, chosen.content, walker.geometry)
            self.record(node, compiled, chosen)
        else:
            node.format = chosen.id
            if chosen.content == "none":
                node.note = "unknown format"
                self.claim(node, int(node.value), 1)

    def tree(self, node: Node, definition: Definition, holder: Node | None = None) -> None:
        """A device tree at an address, its values in ``holder`` or in ``node`` itself."""
        walker = self.walker
        address = int(node.value)
        blob = walker.read_fdt(node, address, definition.root_name)
        if blob is None or blob.root is None or definition.fdt is None:
            return
        walker.use(definition)
        node.target = Span(address, len(blob.data))
        node.format = definition.id
        self.claim(node, address, len(blob.data))
        walker.trees.read(holder or node, blob.root, definition.fdt, definition, address)

    def record(
        self,
        node: Node,
        compiled: CompiledStruct,
        definition: Definition,
        holder: Node | None = None,
    ) -> None:
        """One record at an address, its values in ``holder`` or in ``node`` itself."""
        address = int(node.value)
        data = self.walker.read_some(address, compiled.size)
        if isinstance(data, Absent):
            self.missing(node, address, data)
            self.claim(node, address, compiled.size)
            return
        node.target = Span(address, compiled.size)
        self.claim(node, address, compiled.size)
        node.format = definition.id
        values = self.walker.record(holder or node, compiled, data, address, definition)
        if compiled.tail is not None:
            tail_table(self, node, compiled, definition, values)

    def folio(self, node: Node, reference: Reference, siblings: dict[str, Any]) -> None:
        """One block of payload."""
        geometry = self.walker.geometry
        field = node.field
        address = int(node.value)
        if field is not None and field.role == "pfn":
            address <<= geometry.page_shift
        order = siblings.get(reference.order) if reference.order else 0
        size = geometry.page_size << (order if isinstance(order, int) and order < 48 else 0)
        node.target = Span(address, size)
        self.claim(node, address, size)

    def opaque(self, node: Node) -> None:
        """The preserved block around an address; nothing says what is in it."""
        address = int(node.value)
        self.claim(node, address, 1)
        found = self.walker.map
        block = None if isinstance(found, Absent) else found.blocks.block_of(address)
        if block is not None:
            end = block[0] + (self.walker.geometry.page_size << block[1])
            node.target = Span(address, end - address)

    def missing(self, node: Node, address: int, absent: Absent) -> None:
        """A target that is not there: the pointer keeps its value, a child says why."""
        self.walker.absent(node, address, absent)
        node.target = Span(address, 0)
        node.add(Node("target", NodeKind.VALUE, value=absent))


def list_header(
    registry: Registry, definition: Definition, reference: Reference, geometry: Geometry
) -> tuple[Definition, CompiledStruct]:
    """What stands in front of each block of a list, and the definition that says so."""
    if reference.header:
        return definition, registry.compile(definition, reference.header, geometry)
    lists = registry.get(BLOCK_LIST)
    return lists, registry.compile(lists, lists.content, geometry)


def owner_path(node: Node) -> str:
    """The part of the handover that memory reached from ``node`` belongs to."""
    current: Node | None = node
    while current is not None and current.parent is not None:
        if current.kind is NodeKind.ENTRY or (current.key is not None and not current.name):
            return current.path
        current = current.parent
    return "/"


def beside(node: Node, reference: Reference) -> Node | None:
    """Where the values of a target stand: beside its pointer, or, None, below it."""
    return node.parent if reference.inline else None


def is_free(struct: Struct, values: dict[str, Any]) -> bool:
    """True for a slot without a name in a list that may have such."""
    return struct.unused != "" and values[struct.unused] == ""


def element_key(struct: Struct, values: dict[str, Any], number: int) -> str:
    """The key of a record in its list: its key field, else its position."""
    if not struct.key:
        return str(number)
    value = values[struct.key]
    return value if isinstance(value, str) else f"{value:#x}"
