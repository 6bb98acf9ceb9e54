"""Definitions as objects: what one file of ``formats/`` says, after validation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Literal

from khotool.records import dataclass, field


class Kind(StrEnum):
    """Where a format can hang in a handover."""

    ROOT = "root"
    ENTRY = "entry"
    NODE = "node"
    FILE = "file"
    FLB = "flb"
    STRUCTURE = "structure"
    STATE = "state"
    BOOT = "boot"


class Shape(StrEnum):
    """What a pointer leads to; ``khotool.codec`` has a codec for each."""

    RECORD = "record"
    TREE = "tree"
    ARRAY = "array"
    BLOCKS = "blocks"
    VMALLOC = "vmalloc"
    RADIX = "radix"
    BITMAP_CHUNKS = "bitmap-chunks"
    ORDER_TABLES = "order-tables"
    ENTRY = "entry"
    HANDLER = "handler"
    FOLIO = "folio"
    RANGE = "range"
    OPAQUE = "opaque"
    PAGE_TABLE = "page-table"
    KHO_ARRAY = "kho-array"
    ELEMENT = "element"
    FILE = "file"
    STATE = "state"
    INSIDE = "inside"
    PAGE_TREE = "page-tree"
    STREAM = "stream"
    ROOT = "root"


RECORD_SHAPES = frozenset((Shape.RECORD, Shape.ARRAY, Shape.BLOCKS, Shape.PAGE_TABLE, Shape.STREAM))
"""Shapes that need ``of``, the struct of their records."""
INLINE_SHAPES = frozenset((Shape.TREE, Shape.RECORD))
"""Shapes whose values may be shown among the fields of the pointer's own record."""

HEX_ROLES = frozenset({"address", "handle", "token", "checksum", "magic", "kernel-pointer"})
"""Roles whose numbers are hexadecimal strings in JSON."""

Null = Literal["error", "empty", "allowed", "handler"]
"""What 0 in a pointer means: a fault, an empty list, nothing yet, or as the handler says."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A pointer's target.

    Args:
        shape: how the target is laid out. ``opaque`` is a preserved block whose contents are not
            described, ``element`` a record elsewhere, ``file`` another file of the same session,
            named by its token, ``inside`` an address in payload that something else leads to.
        of: struct of each record of the target; of a page table, of its entries; of a ``state``,
            the name that its definitions match.
        header: struct in front of an array, or of each block of a list (fields labelled ``next``
            and ``count``) where it is not the kernel's own.
        count: label of the field that counts the records: of the header, else a sibling.
        size: label of the sibling that holds the target's length in bytes.
        order: label of the sibling that holds the target's page order.
        kind: kind of definition that a handle selects; of a ``file``, how its handler's string
            begins.
        by: label of the sibling whose string selects it.
        pages: pages the writer allocates for an array, or for each block of a list; 0 for as many
            as an array's records need.
        pgcnt: label of the field that holds the pages of an array: of the header, else a sibling.
        format: id of the definition of a tree.
        level: label of the sibling that holds the level of a page table's first table; level 0
            has no tables below it.
        levels: that level, where it is fixed.
        inline: the values of the target, a tree or a record, are siblings of the pointer.
        shared: several pointers may lead to the same record.
        behind: the record follows the one that has the pointer, in its block; several do so in the
            order of their pointers.
    """

    shape: Shape
    of: str = ""
    header: str = ""
    count: str = ""
    size: str = ""
    order: str = ""
    kind: str = ""
    by: str = ""
    pages: int = 1
    format: str = ""
    level: str = ""
    levels: int = 0
    pgcnt: str = ""
    inline: bool = False
    shared: bool = False
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Holds:
    """The array that an embedded descriptor leads to: struct of an element, field that counts.

    An array that ends by itself has no counter.
    """

    of: str
    count: str = ""


@dataclass(frozen=True, slots=True)
class FieldType:
    """The C type of a field or property.

    Args:
        kind: ``int``, ``char`` (fixed, NUL padded), ``string`` (NUL terminated property),
            ``bytes`` (any property, or fixed in a struct), ``struct`` or ``array`` (whole structs:
            a property, or the end of a record; of plain bytes where ``struct`` is empty).
        size: bytes of an ``int``, ``char`` or fixed ``bytes``.
        signed: of an ``int``.
        big: the value is big-endian whatever the image's byte order is.
        struct: name of the struct of ``struct`` and ``array``.
        count: elements of a fixed array of ``int`` or ``struct``; 0 for a single one.
        text: the type as written in the definition.
    """

    kind: Literal["int", "char", "string", "bytes", "struct", "array"]
    text: str
    size: int = 0
    signed: bool = False
    big: bool = False
    struct: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct, a part of a bit-field word, or a property of an FDT node.

    Args:
        name: the kernel's name.
        type: None for a word of ``parts``.
        alias: the model's name, where versions differ in the kernel's.
        role: how the value is shown and compared: address, pfn, page-index, count, bytes,
            pages, order, token, handle, flags, counter, checksum, magic, position, bits, name (text
            that a user chose), kernel-pointer (a slot that only a running kernel fills), bdf (bus,
            device and function of PCI in 16 bits).
        parts: fields of a bit-field word, from the least significant bit up.
        width: bits of a part; ``page_shift`` and ``rest`` depend on the page size.
        in_place: a part that is masked, not shifted down.
        fill: ``page``: the field is an array up to the end of the page.
        layout: the field belongs to this layout only.
        value: the only string that is right; expect: the only number.
        counts: label of the list whose length this field must have; of a fixed array, how many of
            its elements are used.
        whole_pages: a number of bytes that is a multiple of the page size, and not 0.
        component: text that is one component of a path.
        preserved: False for memory that must not be preserved.
    """

    name: str
    type: FieldType | None
    doc: str = ""
    alias: str = ""
    role: str = ""
    points_to: Reference | None = None
    null: Null = "error"
    holds: Holds | None = None
    parts: tuple[Field, ...] = ()
    width: int | str = 0
    in_place: bool = False
    fill: str = ""
    layout: str = ""
    value: str = ""
    expect: int | None = None
    flags: dict[str, int] = field(default_factory=dict, hash=False)
    enum: dict[str, int] = field(default_factory=dict, hash=False)
    optional: bool = False
    reserved: bool = False
    unique: bool = False
    nonempty: bool = False
    counts: str = ""
    whole_pages: bool = False
    component: bool = False
    preserved: bool = True

    @property
    def label(self) -> str:
        """The name in paths and in JSON."""
        return self.alias or self.name


def leaf_fields(fields: Iterable[Field]) -> Iterator[Field]:
    """Fields that have values of their own: a word of parts is its parts."""
    for one in fields:
        yield from one.parts or (one,)


@dataclass(frozen=True, slots=True)
class Struct:
    """A C struct.

    Args:
        size: bytes, asserted against the fields; ``page`` for a struct of one page.
        key: label of the field that names an instance in a list.
        packed: no padding between fields; else natural alignment.
        unique: labels of fields that no two used records of a list share all of.
        unused: label of the field that is 0 in a record that is not used; where it is a name,
            the record is not an element of its list.
    """

    name: str
    fields: tuple[Field, ...]
    size: int | Literal["page"]
    doc: str = ""
    key: str = ""
    packed: bool = True
    unique: tuple[str, ...] = ()
    unused: str = ""


@dataclass(frozen=True, slots=True)
class NodeType:
    """A node of a flattened device tree.

    Args:
        properties: in the order in which the kernel writes them.
        nodes: children by name.
        any_node: what every child not named in ``nodes`` is.
        inline: fields appear in the parent of the model.
        format: id of the definition that describes the node instead.
        alias: model name of the list of ``any_node`` children.
        any_property: what every property not named in ``properties`` is; its alias names the list.
        name: what the name of an ``any_node`` child is: label and role of a value of its own.
    """

    properties: tuple[Field, ...] = ()
    nodes: dict[str, NodeType] = field(default_factory=dict, hash=False)
    any_node: NodeType | None = None
    any_property: Field | None = None
    name: Field | None = None
    inline: bool = False
    optional: bool = False
    format: str = ""
    kind: str = ""
    alias: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that distinguishes a format from others of the same string.

    Args:
        has: path of nodes and a property or node below the tree's root that is there; with
            ``field``, one of the structs that it holds, and with ``equals`` alone, its text.
        lacks: such a path that is not there.
        anywhere: name of a property that some node of the tree has.
        length, multiple, above: bytes of the property of ``has``: exactly, a multiple, more than.
        blob: bytes of the whole record, as its place says.
        handle: the handle itself is ``zero`` or ``address``.
        order: page order of the preserved block that the handle names.
        field: label of a field of the record, or labels down to it with ``/``.
        equals, at_most, at_least: what its value is; of text, how long it is.
        aligned: its value is an address of a page.
        preserved: its value is an address in preserved memory.
        rows: label of a list of blocks: ``field`` is one of its records', and all of them fit.
        inside: label of a list of blocks that the value is an address in.
        root: id of the KHO root's definition.
        page_size: bytes of a page.
        map: ``root``: the map, read by this definition, has the root in a block of its own.
        asked: the bytes never tell it; only the user does.
        ends: the array that the value leads to ends where zeros begin.
    """

    has: str = ""
    lacks: str = ""
    anywhere: str = ""
    length: int | None = None
    multiple: int = 0
    above: int | None = None
    blob: int | None = None
    handle: Literal["", "zero", "address"] = ""
    order: int | None = None
    field: str = ""
    equals: int | str | None = None
    at_most: int | None = None
    at_least: int | None = None
    aligned: bool = False
    preserved: bool = False
    rows: str = ""
    inside: str = ""
    root: str = ""
    page_size: int | None = None
    map: Literal["", "root"] = ""
    asked: bool = False
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """One of several layouts under one string."""

    name: str
    doc: str
    first: str
    last: str
    parameters: dict[str, int | str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Allocate:
    """How much a kernel allocates for a list.

    Args:
        pages: pages, whatever the list holds.
        bytes: bytes beside them.
        bytes_each: bytes for each element.
        of: label of the list.
    """

    pages: int = 0
    bytes: int = 0
    bytes_each: int = 0
    of: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """One file of ``formats/``: everything known about one compatible string.

    Args:
        content: ``fdt``, the name of a struct of this file, ``literal`` or ``none``.
        match: strings by which the format is recognised: ``compatible``, ``entry``, ``name``.
        uses: ids of structures that records of this format embed.
        depends: what else must be in a handover: ``handlers`` of files an FLB is bound to (``all``,
            or their strings), ``flbs`` of which a file needs one; strings with blanks between.
        allocate: what the writer allocates for the blob beyond its bytes.
        probe: conditions that must all hold where several definitions have one string.
        beside_root: the root does not name the entry; boot data does.
        segment: the blob is a kexec segment, which no map preserves.
        ranges: property that lists preserved ranges anywhere in the tree; the map.
        scratch: the kernel hands over an ``array`` of scratch areas, or one ``region`` alone.
        packed_tree: how the writer finishes a tree: ``sequential``, ``read-write``, or ``open``
            (as long as its buffer).
        root_name: name of the root node of a tree; the kernel's own are empty but for a few.
        unverified: what about the layout was not read at its source.
        pinned: why its memory cannot be moved; a fresh layout says that this is lost.
        verified: series, file and function that the layout was read a second time in.
        first, last: kernel releases that write it; an empty last is open.
        source: path of the file, relative to its folder of definitions.
    """

    id: str
    title: str
    kind: Kind
    content: str
    status: str
    header: str
    first: str
    last: str
    doc: str
    source: str
    match: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    uses: tuple[str, ...] = ()
    limits: dict[str, int] = field(default_factory=dict, hash=False)
    literals: dict[str, int] = field(default_factory=dict, hash=False)
    depends: dict[str, str] = field(default_factory=dict, hash=False)
    allocate: Allocate | None = None
    probe: tuple[Condition, ...] = ()
    segment: bool = False
    beside_root: bool = False
    ranges: str = ""
    scratch: str = "array"
    packed_tree: str = "sequential"
    root_name: str = ""
    unverified: str = ""
    pinned: str = ""
    verified: str = ""
    layouts: dict[str, Layout] = field(default_factory=dict, hash=False)
    structs: dict[str, Struct] = field(default_factory=dict, hash=False)
    fdt: NodeType | None = None

    def parameters(self, layout: str) -> dict[str, int | str]:
        """Parameters of a layout, or of the only one."""
        found = self.layouts.get(layout)
        if found is None and len(self.layouts) == 1:
            found = next(iter(self.layouts.values()))
        return found.parameters if found is not None else {}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a kernel does with an image beyond what its formats say.

    Args:
        needs_map: a root without a map is refused; before 6.19 the boot goes on with nothing
            reserved.
        prints_errno: ``disabling KHO revival`` ends in the error; later kernels leave it out.
        keeps_file_errors: a file record that cannot be read fails every open of
            ``/dev/liveupdate``; 6.19 drops the rest of that session's files instead.
        forgets_folio_errors: a folio of a memfd that cannot be restored, other than the first, ends
            the file without an error.
        restores_root: the page of the root is restored like a folio, and missed on the console
            where it is not preserved.
        stray_region_faults: a region of reserve_mem where there is no memory stops the boot; up to
            6.19 it is revived there.
        test_is_silent: the kernel's own KHO test prints nothing where it fails.
        flb_faults_panic: the owner of an FLB of the set stops the boot where its version, its
            blocks or its devices are not as they should be.
        takes_any_root: the root's string is not compared; without a map of its own, nothing is
            reserved.
        luo_faults_disable: live update state that is refused disables live update; all other
            kernels stop the boot.
    """

    needs_map: bool = True
    prints_errno: bool = False
    keeps_file_errors: bool = True
    forgets_folio_errors: bool = False
    restores_root: bool = False
    stray_region_faults: bool = True
    test_is_silent: bool = False
    flb_faults_panic: bool = False
    takes_any_root: bool = False
    luo_faults_disable: bool = False


@dataclass(frozen=True, slots=True)
class AbiSet:
    """The strings one kernel speaks.

    Args:
        first, last: kernel releases with exactly this set; an empty last is open, both empty are
            no release.
        root: id of the root definition.
        root_writer: ``sequential``, or ``read-write`` where entries are added to a finished root.
        layouts: chosen layout by definition id.
        entries: definition id by entry name.
        nodes: definitions of optional FDT nodes that are written.
        files: definitions of file handlers.
        flbs: definitions of FLBs.
        status: ``merged``, or as that of a definition for kernels that were never released.
        behaviour: what these kernels do that no format says.
    """

    id: str
    first: str
    last: str
    root: str
    status: str = "merged"
    flbs: tuple[str, ...] = ()
    root_writer: str = "read-write"
    behaviour: Behaviour = Behaviour()
    layouts: dict[str, str] = field(default_factory=dict, hash=False)
    entries: dict[str, str] = field(default_factory=dict, hash=False)
    nodes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
