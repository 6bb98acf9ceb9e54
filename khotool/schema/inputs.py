"""Documents that people write: manifests and definitions."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from khotool.abi.definition import Allocate, Condition, Holds, Kind, Reference
from khotool.abi.load import NULLS, PACKED, ROLES, STATUSES
from khotool.manifest.mutate import OPERATIONS
from khotool.manifest.read import NAMES
from khotool.schema.derive import Free, one_of, says

UNIT = "([KMGTkmgt](i?[Bb])?|[Bb])"
Number = Annotated[int | str, says(pattern=f"^(0[xX][0-9a-fA-F_]+|[0-9_]+( ?{UNIT})?)$")]
"""An integer, a string such as ``0x1000``, or a size such as ``2M`` or ``2 MiB``."""
Value = Annotated[int | str, "a number, or a value as `khotool dump` prints it"]

# -- manifest --------------------------------------------------------------------------------


class Span(TypedDict):
    """A range of physical memory in whole pages, bytes."""

    start: Number
    size: Number


class Made(TypedDict, total=False):
    """Contents that are made or read; one of the keys."""

    pattern: Literal["page"]
    fill: Annotated[int | str, "a character, or a number below 256"]
    random: Annotated[Number, "seed of a repeatable stream"]
    file: Annotated[str, "file, relative to the manifest"]
    hex: Annotated[str, says(pattern="^[0-9a-fA-F\\s]*$")]


Contents = Annotated[
    Literal["none", "zero"] | Made, "bytes of the payload; `none` leaves them out of the image"
]


class Region(TypedDict):
    """A region of `reserve_mem=`."""

    name: Annotated[str, says(minLength=1, maxLength=15)]
    size: Annotated[Number, "whole pages, in bytes"]
    start: NotRequired[Annotated[Number, "physical address; allocated if it is left out"]]
    align: NotRequired[Number]
    contents: NotRequired[Contents]


class SessionFile(TypedDict):
    """A preserved file."""

    token: Number
    handler: NotRequired[Annotated[str, "compatible string of the handler"]]
    size: NotRequired[Annotated[Number, "bytes of the file"]]
    pos: NotRequired[Annotated[Number, "file position, bytes"]]
    seals: NotRequired[Annotated[list[str] | int | str, "names of F_SEAL_ flags, or a number"]]
    folio: NotRequired[Annotated[str | int, "`small`, `huge`, or a page order"]]
    holes: NotRequired[Annotated[list[list[int]], "pairs of first page and pages without a folio"]]
    contents: NotRequired[Contents]
    fields: NotRequired[Free]
    format: NotRequired[Annotated[str, "id of the definition"]]
    data: NotRequired[Annotated[Number, "the handle itself"]]


class ManifestSession(TypedDict):
    """A live update session."""

    name: Annotated[str, says(minLength=1, maxLength=63)]
    file: NotRequired[list[SessionFile]]


class ManifestFlb(TypedDict):
    """A file-lifecycle-bound object."""

    name: Annotated[str, says(minLength=1, maxLength=47)]
    data: NotRequired[Number]
    count: NotRequired[Annotated[Number, "references"]]
    fields: NotRequired[Free]
    format: NotRequired[str]


class KexecMetadata(TypedDict, total=False):
    """Which kernel handed over."""

    version: Number
    previous_release: str
    kexec_count: Number


class KhoTest(TypedDict, total=False):
    """The kernel's own test of KHO."""

    orders: Annotated[list[Number], "page orders of its folios"]
    contents: Contents
    csum: Number
    magic: Number


class ManifestEntry(TypedDict):
    """An entry of any format."""

    name: Annotated[str, says(minLength=1, maxLength=31)]
    format: NotRequired[str]
    fields: NotRequired[Free]
    bytes: NotRequired[Annotated[str, says(pattern="^[0-9a-fA-F\\s]*$")]]


class Mutation(TypedDict):
    """Damage; which keys there are depends on the operation."""

    op: Annotated[str, one_of(OPERATIONS)]
    path: NotRequired[str]
    value: NotRequired[Any]
    address: NotRequired[Number]
    bytes: NotRequired[str]
    size: NotRequired[Number]
    to: NotRequired[Any]
    from_: NotRequired[Any]
    order: NotRequired[Number]


class Manifest(TypedDict):
    """A handover written by hand, for `khotool encode`."""

    abi: Annotated[str, "kernel release such as `7.3`, or id of an ABI set"]
    about: NotRequired[Annotated[str, "a sentence for people"]]
    page_size: NotRequired[Literal["4K", "16K", "64K", 4096, 16384, 65536]]
    endian: NotRequired[Literal["little", "big"]]
    osrelease: NotRequired[Annotated[str, says(maxLength=64)]]
    machine: NotRequired[Annotated[str, one_of(NAMES)]]
    memory: NotRequired[list[Span]]
    scratch: NotRequired[list[Span]]
    reserve_mem: NotRequired[list[Region]]
    session: NotRequired[list[ManifestSession]]
    flb: NotRequired[list[ManifestFlb]]
    kexec_metadata: NotRequired[KexecMetadata]
    kho_test: NotRequired[KhoTest]
    liveupdate_number: NotRequired[Number]
    entry: NotRequired[list[ManifestEntry]]
    mutate: NotRequired[list[Mutation]]


# -- definition ------------------------------------------------------------------------------


class Releases(TypedDict, total=False):
    """First and last kernel release; an empty last is the newest."""

    first: str
    last: str


class Layout(TypedDict, total=False):
    """One of several layouts."""

    doc: str
    releases: Releases
    parameters: dict[str, int | str]


class Meaning(TypedDict, total=False):
    """What a member of a struct means."""

    as_: Annotated[str, "label that `khotool dump` shows"]
    role: Annotated[str, one_of(ROLES)]
    points_to: Reference
    null: Annotated[str, one_of(NULLS)]
    holds: Holds
    in_place: bool
    value: str
    expect: int
    flags: str | dict[str, int]
    enum: str | dict[str, int]
    reserved: bool
    unique: bool
    nonempty: bool
    counts: str
    whole_pages: bool
    component: bool
    preserved: bool


class Struct(TypedDict):
    """A struct: its layout in C, and what its members mean."""

    layout: Annotated[str, "members as the kernel's header has them"]
    size: Annotated[int | Literal["page"], "bytes"]
    doc: NotRequired[str]
    key: NotRequired[str]
    packed: NotRequired[bool]
    unique: NotRequired[list[str]]
    unused: NotRequired[str]
    fields: NotRequired[dict[str, Meaning]]


class Property(Meaning, total=False):
    """A property of a device tree node."""

    type: str
    doc: str
    name: str
    layout: str
    optional: bool


class Node(TypedDict, total=False):
    """A device tree node."""

    properties: dict[str, Property | list[Property]]
    node: dict[str, Node]
    nodes: Node
    any_property: Property
    name: Property
    inline: bool
    optional: bool
    format: str
    kind: str
    as_: str
    doc: str


class Definition(TypedDict):
    """The definition of one ABI string."""

    id: str
    title: str
    kind: Annotated[str, one_of(Kind)]
    content: Annotated[str, "struct of its record, or `fdt`, `literal` or `none`"]
    status: Annotated[str, one_of(STATUSES)]
    header: NotRequired[Annotated[str, "header of the kernel"]]
    releases: NotRequired[Releases]
    doc: NotRequired[str]
    match: NotRequired[dict[str, str | list[str]]]
    uses: NotRequired[list[str]]
    limits: NotRequired[dict[str, int]]
    literals: NotRequired[dict[str, int | str]]
    depends: NotRequired[dict[str, str]]
    allocate: NotRequired[Allocate]
    probe: NotRequired[list[Condition]]
    segment: NotRequired[bool]
    beside_root: NotRequired[bool]
    ranges: NotRequired[str]
    scratch: NotRequired[Literal["array", "region"]]
    packed_tree: NotRequired[Annotated[str, one_of(PACKED)]]
    root_name: NotRequired[str]
    unverified: NotRequired[str]
    pinned: NotRequired[str]
    verified: NotRequired[str]
    layouts: NotRequired[dict[str, Layout]]
    struct: NotRequired[dict[str, Struct]]
    fdt: NotRequired[Node]
    flags: NotRequired[dict[str, dict[str, int]]]
    enum: NotRequired[dict[str, dict[str, int]]]
    constants: NotRequired[dict[str, int]]
