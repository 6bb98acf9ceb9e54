"""Documents that commands write with ``--json`` about images."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from khotool.findings import Severity
from khotool.schema.derive import Absent, Free, Head, Hex, Size, extended, one_of
from khotool.schema.image import Area

# -- pages -----------------------------------------------------------------------------------


class PageRange(TypedDict):
    """Preserved pages in a row, of one order and one owner."""

    start: Hex
    pages: Size
    order: int | None
    owner: Annotated[str | None, "path; null for pages that nothing reaches"]


class PageSummary(TypedDict):
    """Totals in pages."""

    preserved_pages: Size
    owned_pages: Size
    unowned_pages: Size
    unpreserved_pages: Size
    double_owned_pages: Size


class PageGroup(TypedDict):
    """Preserved memory of one session, handler, owner or entry."""

    name: str | None
    folios: Annotated[Size, "preserved blocks"]
    pages: Size
    bytes: Size
    payload_bytes: Annotated[Size, "contents of files and regions"]
    metadata_bytes: Annotated[Size, "records, lists and trees that describe them"]


class Pages(Head, total=False):
    """What `khotool pages --json` writes."""

    ranges: list[PageRange] | Absent
    by: Annotated[str, one_of(("session", "handler", "owner", "entry"))]
    groups: list[PageGroup] | Absent
    summary: PageSummary | Absent


# -- check -----------------------------------------------------------------------------------


class Finding(TypedDict):
    """A finding."""

    rule: str
    slug: str
    severity: Annotated[str, one_of(Severity)]
    path: str
    address: Hex | None
    message: str
    data: Free


class Skipped(TypedDict):
    """A rule that could not be judged."""

    rule: str
    path: str
    why: str


class Step(TypedDict):
    """A stage of the restore path."""

    stage: str
    outcome: str
    message: Annotated[str, "the line that kernel prints, if it prints one"]
    console: NotRequired[list[str]]
    why: NotRequired[str]
    unseen: NotRequired[str]


class RetrievedFile(TypedDict):
    """What retrieving a file gives."""

    token: str
    result: str


class RetrievedSession(TypedDict):
    """What retrieving a session gives."""

    name: str
    retrieved: bool | str | None
    files: list[RetrievedFile]


class Loss(TypedDict):
    """A file, or a session without files, whose state does not come back."""

    session: str
    token: str | None
    handler: str | None
    path: str
    result: str | None
    stage: str
    outcome: str
    message: str
    why: str


@extended
class Verdict(TypedDict):
    """What a kernel would do, and what is known of the kernel."""

    kernel: str
    outcome: Annotated[
        str, one_of(("accept", "ignore", "partial", "panic", "corrupt", "not-judged"))
    ]
    unseen: list[str]
    steps: list[Step]
    sessions: list[RetrievedSession]
    losses: list[Loss]


class CheckedImage(TypedDict, total=False):
    """The result of one image."""

    image: str
    findings: list[Finding]
    skipped: list[Skipped]
    verdict: Verdict
    verdicts: list[Verdict]
    known: Annotated[int, "findings that a baseline left out"]
    suppressed: list[Free]
    error: Annotated[str, "why the image could not be read"]


class CheckTotals(TypedDict):
    """Counts over several images."""

    images: int
    not_read: int
    findings: dict[str, int]
    verdicts: dict[str, dict[str, int]]


class Check(Head, CheckedImage, total=False):
    """What `khotool check --json` writes; of several images, `images` has one each."""

    images: list[CheckedImage]
    totals: CheckTotals


# -- diff ------------------------------------------------------------------------------------


@extended
class Change(TypedDict):
    """A difference; further keys say more about some of them."""

    kind: Annotated[str, one_of(("added", "removed", "changed", "moved"))]
    path: str
    old: Any
    new: Any
    named: NotRequired[str]


class PageChanges(TypedDict):
    """Preserved pages of one image only."""

    added: Size
    removed: Size


class OldNew(TypedDict):
    """A count in both images."""

    old: int | None
    new: int | None


class OwnerChange(OldNew):
    """Pages of an owner in both images."""

    path: str | None


class MemoryRange(TypedDict):
    """A range of physical memory, bytes."""

    start: Hex
    size: Size


class RangeChanges(TypedDict):
    """Preserved ranges of one image only."""

    added: list[MemoryRange]
    removed: list[MemoryRange]


class NotCompared(TypedDict):
    """A part that could not be compared."""

    path: str
    reason: str
    image: str
    contents: NotRequired[bool]
    size: NotRequired[Size]


class Diff(Head):
    """What `khotool diff --json` writes."""

    equal: bool
    result: Annotated[str, one_of(("equal", "different", "incomplete"))]
    changes: list[Change]
    pages: PageChanges
    preserved_pages: OldNew
    owners: list[OwnerChange]
    ranges: NotRequired[RangeChanges]
    not_compared: list[NotCompared]
    notes: list[str]


# -- boot ------------------------------------------------------------------------------------


class BootedKernel(TypedDict):
    """A kernel file."""

    file: str
    release: NotRequired[str | None]


class Difference(TypedDict):
    """A difference between the prediction and the boot."""

    what: str
    predicted: Any
    actual: Any


class Stage(TypedDict):
    """A stage, and the kernel's line about it."""

    stage: str
    line: str


class BootedFile(TypedDict):
    """A file as user space got it back."""

    token: Hex
    result: str
    size: int | None
    pos: int | None
    seals: int | None
    sha256: str | None
    contents: str | None


class BootedSession(TypedDict):
    """A session as user space got it back."""

    name: str
    result: str
    files: list[BootedFile]


class OneBoot(TypedDict, total=False):
    """A kernel booted on an image; with `error` where it could not be."""

    image: str
    kernel: BootedKernel
    error: str
    outcome: str
    why: str | None
    predicted: str | None
    agree: bool | None
    differences: list[Difference]
    stages: list[Stage]
    regions: dict[str, str]
    kho_test: str
    flbs: dict[str, str]
    unasked: list[str]
    sessions: list[BootedSession]
    console: list[str]
    command_line: str
    memory: Any
    seconds: float | int


class Boots(Head):
    """What `khotool boot --json` writes."""

    boots: list[OneBoot]


# -- identify, hex ---------------------------------------------------------------------------


@extended
class Fact(TypedDict):
    """Something that an address is; further keys depend on `kind`."""

    kind: str
    path: str | None
    text: str


class Identified(TypedDict):
    """All that an address is, most specific first."""

    address: Hex
    pfn: Size
    is_: list[Fact]


class Identify(Head):
    """What `khotool identify --json` writes."""

    addresses: list[Identified]


class Hexdump(Head):
    """What `khotool hex --json` writes."""

    ranges: list[Area]
    pieces: list[Free]


# -- what was written ------------------------------------------------------------------------


class Written(Head):
    """What `khotool encode`, `convert` and `pack` print with `--json` about the image."""

    output: str
    bytes: Size
    root: Hex
    lost: Annotated[list[str], "what the image does not have that the source had"]


class Extracted(Head):
    """What `khotool extract --json` prints about the file or folder."""

    output: str
    path: str
    bytes: Size
    data: Annotated[Size, "bytes that are not in a hole"]
    holes: Annotated[Size, "bytes of holes"]
    missing: Annotated[Size, "bytes that are not in the capture"]
    notes: list[str]


# -- graph -----------------------------------------------------------------------------------


class GraphNode(TypedDict):
    """A file, FLB or record that takes part in the restore."""

    path: str
    label: str
    position: Annotated[int | None, "place in the restore order, from 1; null inside a cycle"]


class GraphEdge(TypedDict):
    """A dependency of one node on a second one."""

    from_: str
    to: str
    why: str


class Graph(Head):
    """What `khotool graph --json` writes."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]
    cycles: list[list[str]]


# -- fleet -----------------------------------------------------------------------------------


class Answer(TypedDict):
    """The rows of a query."""

    columns: Annotated[list[str], "names, in order"]
    rows: Annotated[list[dict[str, Any]], "objects with these names; times are ISO 8601 in UTC"]


class Scanned(TypedDict):
    """Totals of a scan."""

    folder: str
    images: Size
    examined: Size
    unchanged: Size
    errors: Annotated[Size, "images that could not be examined"]
    seconds: float


class Fleet(Head, total=False):
    """What `khotool fleet` writes: an answer, with `compare` several, with `scan` the totals."""

    columns: list[str]
    rows: list[dict[str, Any]]
    equal: bool
    images: Annotated[Answer, "images that were added, removed or changed"]
    verdicts: Annotated[Answer, "outcomes that differ"]
    rules: Annotated[Answer, "rules that fire in more or fewer images"]
    pages: Annotated[Answer, "preserved and unowned pages that differ"]
    scan: Scanned
