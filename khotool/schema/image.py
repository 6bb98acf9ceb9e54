"""Documents about an image as a whole: ``dump`` and ``live``."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from khotool.model.image import Phase, Role
from khotool.schema.derive import Absent, Free, Head, Hex, Size, one_of


class ImageInfo(TypedDict):
    """The capture: its file, format and kernel."""

    path: str
    container: str
    compression: str | None
    page_size: Annotated[Size, "bytes"]
    endian: Annotated[str, one_of(("little", "big"))]
    osrelease: str | None
    build: NotRequired[str]
    machine: NotRequired[str | None]
    phase: Annotated[str, one_of(Phase)]


class Root(TypedDict):
    """A KHO root that was found."""

    name: NotRequired[str]
    address: Hex | None
    compatible: str | None
    role: Annotated[str, one_of(Role)]
    selected: bool
    why: str


class Choice(TypedDict):
    """A definition and layout that was chosen among several."""

    definition: str
    layout: str | None
    certain: bool
    why: str


class Area(TypedDict):
    """A range of physical memory, bytes."""

    address: Hex
    size: Size


class Memory(TypedDict, total=False):
    """Totals of the preserved pages, or the absent object."""

    orders: Annotated[dict[str, Size], "blocks by page order"]
    preserved_pages: Size
    preserved_bytes: Size
    ranges: Size
    layout: str
    absent: str
    detail: str


class Entry(TypedDict):
    """An entry of the root."""

    name: str
    address: Hex | Absent
    size: Size | Absent
    format: str | None
    value: Any


class File(TypedDict):
    """A preserved file."""

    token: NotRequired[Hex | Absent]
    handler: NotRequired[Any]
    data: NotRequired[Any]
    payload: NotRequired[Free]


class Session(TypedDict):
    """A session."""

    name: Any
    files: list[File] | Absent


class Flb(TypedDict):
    """A file-lifecycle-bound object."""

    name: Any
    data: NotRequired[Any]
    count: NotRequired[Any]
    payload: NotRequired[Free]


class Subsystem(TypedDict):
    """A subsystem with a handle of its own."""

    name: Any
    data: Any


class Luo(TypedDict, total=False):
    """The live update orchestrator, or the absent object."""

    address: Hex | None
    compatible: Any
    state: Any
    liveupdate_number: Any
    sessions: list[Session] | Absent
    files: list[File] | Absent
    subsystems: list[Subsystem] | Absent
    flbs: list[Flb] | Absent
    absent: str
    detail: str


class Counts(TypedDict):
    """Findings by severity."""

    error: Size
    warning: Size
    note: Size


class Dump(Head, total=False):
    """What `khotool dump --json` writes; with a PATH, only `image`, `path` and `value`."""

    image: ImageInfo
    path: str
    value: Any
    roots: list[Root]
    abi: list[str]
    choices: list[Choice]
    unverified: dict[str, str]
    root: Free
    scratch: list[Area] | Absent
    memory: Memory
    entries: list[Entry]
    luo: Luo
    findings: Counts
    model: Annotated[Free, "with --full: everything that `khotool encode` needs"]
    payload: Annotated[Free, "with --blobs: where the contents are"]
    sha256: Annotated[dict[str, str], "with --full: of the readable part, so that edits are seen"]


class HostCheck(TypedDict):
    """A requirement for reading a host."""

    name: str
    state: Annotated[str, one_of(("ok", "missing", "unknown", "unused"))]
    found: str
    why: str | None
    remedy: str | None


class Host(TypedDict):
    """The running host."""

    release: str | None
    read: list[str]
    liveupdate_state: str | None
    checks: list[HostCheck]


class Booted(TypedDict):
    """Whether this boot was a live update."""

    live_update: bool
    handover: Annotated[bool, "anything at all was handed over"]
    liveupdate_number: int | None
    previous_release: str | None
    kexec_count: int | None
    sessions: Annotated[
        list[str] | None, "sessions that were handed over; null if their records are gone"
    ]


class Live(Dump, total=False):
    """What `khotool live --json` writes: the host, then as `khotool dump`."""

    host: Host
    booted: Annotated[Booted, "with --booted"]
