"""Read a hand-written manifest: a handover in a page of TOML or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from khotool.abi.definition import AbiSet, Definition, Kind
from khotool.abi.geometry import PAGE_SIZES, Geometry
from khotool.abi.record import encode_text
from khotool.abi.registry import Registry
from khotool.abi.releases import unknown_release
from khotool.document.json_input import number
from khotool.encode.build import MAX_ORDER
from khotool.encode.fdt_build import MAX_NODE_NAME
from khotool.encode.sets import default_release
from khotool.errors import EncodeError
from khotool.handover.values import EntryValue, Handle, Handover, Payload, Rows
from khotool.manifest.contents import ReadAt, contents_from, file_contents
from khotool.manifest.fields import FieldReader
from khotool.model.image import Span

TOP = (
    "abi",
    "page_size",
    "endian",
    "osrelease",
    "machine",
    "memory",
    "scratch",
    "reserve_mem",
    "session",
    "flb",
    "kexec_metadata",
    "kho_test",
    "liveupdate_number",
    "entry",
    "mutate",
    "about",
)
FILE = (
    "handler",
    "token",
    "size",
    "pos",
    "seals",
    "contents",
    "folio",
    "fields",
    "holes",
    "data",
    "format",
)
FOLIO_FLAGS = 3
"""The kernel marks every folio dirty and up to date."""
HUGE_ORDER = {4096: 9, 16384: 11, 65536: 13}
"""Page order of a huge page of the page middle directory."""
MAX_FOLIOS = 1 << 26
"""Folios of one file; columns of more would not fit the memory of most hosts."""
MAX_CONTENTS = 16 << 30
"""Bytes of contents of one file or region, which are made in memory."""
SUFFIXES = {"K": 10, "M": 20, "G": 30, "T": 40}


class Manifest:
    """A manifest being read.

    Args:
        data: the document.
        name: of the file, for errors.
        folder: where relative file names start.
    """

    def __init__(self, data: Any, name: str, folder: Path, registry: Registry) -> None:
        """Check the top level; everything else is checked as it is read."""
        self.name = name
        self.folder = folder
        self.registry = registry
        self.data = self.table(data, "", TOP)
        self.abi = self.abi_set()
        self.fields = FieldReader(self)
        self.geometry = self.read_geometry()

    # -- values --------------------------------------------------------------------------

    def error(self, key: str, message: str) -> EncodeError:
        """An error at a key of this file."""
        return EncodeError(f"{self.name}: {key}" if key else self.name, message)

    def table(self, data: Any, key: str, allowed: tuple[str, ...]) -> dict[str, Any]:
        """A table with known keys only."""
        if not isinstance(data, dict):
            raise self.error(key, "expected a table")
        for name in data:
            if name not in allowed:
                where = f"{key}.{name}" if key else name
                raise self.error(where, f"unknown key; expected one of {', '.join(allowed)}")
        return data

    def rows(self, data: dict[str, Any], key: str, where: str = "") -> list[tuple[str, Any]]:
        """A list of tables, each with its place."""
        value = data.get(key, [])
        here = f"{where}.{key}" if where else key
        if not isinstance(value, list):
            raise self.error(here, "expected a list of tables")
        return [(f"{here}[{index}]", item) for index, item in enumerate(value)]

    def integer(self, data: dict[str, Any], key: str, where: str, default: int | None) -> int:
        """A number of at least 0: ``4096``, ``"0x1000"`` or ``"2M"``."""
        here = f"{where}.{key}" if where else key
        value = data.get(key, default)
        if value is None:
            raise self.error(here, "this key is needed")
        shift = 0
        if isinstance(value, str) and SUFFIXES.get(value[-1:]) and value[:-1].isdecimal():
            value, shift = value[:-1].lstrip("0") or "0", SUFFIXES[value[-1]]
        try:
            result = number(value, here) << shift
        except EncodeError as error:
            raise self.error(here, str(error).partition(": ")[2]) from None
        if not 0 <= result < 1 << 64:
            raise self.error(here, f"{result:#x} does not fit 64 bits")
        return result

    def text(
        self, data: dict[str, Any], key: str, where: str, default: str | None, limit: int
    ) -> str:
        """A string of at most ``limit`` bytes."""
        here = f"{where}.{key}" if where else key
        value = data.get(key, default)
        if value is None:
            raise self.error(here, "this key is needed")
        if not isinstance(value, str):
            raise self.error(here, f"expected a string, found {value!r:.40}")
        raw = encode_text(value, f"{self.name}: {here}")
        if len(raw) > limit:
            raise self.error(here, f"{len(raw)} bytes; at most {limit} fit")
        if b"\0" in raw:
            raise self.error(here, "a NUL cannot stand inside a string")
        return value

    def identity(self, data: dict[str, Any], where: str, limit: int) -> str:
        """The ``name`` of something; as ``text``, but not empty."""
        name = self.text(data, "name", where, None, limit)
        if not name:
            raise self.error(f"{where}.name", "a name has at least one character")
        return name

    # -- top level -----------------------------------------------------------------------

    def abi_set(self) -> AbiSet:
        """The set that ``abi`` names: a kernel release or the id of a set."""
        name = self.text(self.data, "abi", "", None, 64)
        found = self.registry.set_for(name)
        if found is None:
            raise self.error("abi", unknown_release(name, self.registry.sets))
        return found

    def read_geometry(self) -> Geometry:
        """Page size and byte order."""
        size = self.integer(self.data, "page_size", "", 4096)
        if size not in PAGE_SIZES:
            raise self.error("page_size", f"{size} is none of {PAGE_SIZES}")
        order = self.data.get("endian", "little")
        if order not in ("little", "big"):
            raise self.error("endian", f"{order!r} is neither 'little' nor 'big'")
        return Geometry(size, order)

    def spans(self, key: str) -> list[Span]:
        """Ranges of memory: tables of ``start`` and ``size``."""
        spans = []
        for where, item in self.rows(self.data, key):
            table = self.table(item, where, ("start", "size"))
            span = Span(
                self.integer(table, "start", where, None), self.integer(table, "size", where, None)
            )
            if span.address % self.geometry.page_size or span.size % self.geometry.page_size:
                raise self.error(where, f"not aligned to pages of {self.geometry.page_size} bytes")
            if not span.size or span.end > 1 << 52:
                raise self.error(where, "empty, or beyond the physical address range of 2^52")
            spans.append(span)
        return spans

    def handover(self) -> Handover:
        """The handover it describes, with the kernel's own value for everything not written.

        Raises:
            EncodeError: names file, key and what was expected.
        """
        release = self.text(
            self.data, "osrelease", "", default_release(str(self.data["abi"]), self.abi), 64
        )
        small = self.geometry.page_size == 4096 and self.geometry.byteorder == "little"
        default_machine = "x86_64" if small else "aarch64"
        handover = Handover(
            geometry=self.geometry,
            osrelease=release,
            machine=self.text(self.data, "machine", "", default_machine, 32),
            entries=[],
            memory=self.spans("memory"),
            scratch=self.spans("scratch"),
        )
        made = {
            "memblock": self.memblock(),
            "LUO": self.luo(),
            "kho_test": self.kho_test(),
            "kexec-metadata": self.metadata(release),
        }
        for name in self.abi.entries:
            entry = made.pop(name, None)
            if entry is not None:
                handover.entries.append(entry)
        for name, entry in made.items():
            if entry is not None and name != "kexec-metadata":
                raise self.error("", f"set {self.abi.id} cannot carry entry {name!r}")
        for where, item in self.rows(self.data, "entry"):
            entry = self.entry(where, item)
            given = [e for e in handover.entries if e.name != entry.name]
            handover.entries = [*given, entry]
        order = list(self.abi.entries)
        handover.entries.sort(key=lambda e: order.index(e.name) if e.name in order else len(order))
        return handover

    def entry(self, where: str, item: Any) -> EntryValue:
        """One entry of the root, by the fields of its format."""
        table = self.table(item, where, ("name", "format", "fields", "bytes"))
        name = self.identity(table, where, MAX_NODE_NAME)
        if "bytes" in table:
            return EntryValue(name, "", raw=self.fields.hexadecimal(table["bytes"], where))
        chosen = self.text(table, "format", where, self.abi.entries.get(name), 64)
        definition = self.registry.definitions.get(chosen)
        if definition is None or definition.kind is not Kind.ENTRY:
            raise self.error(f"{where}.format", f"{chosen!r} is no format of an entry")
        here = f"{where}.fields"
        values = self.fields.content(definition, table.get("fields", {}), here)
        return EntryValue(name, definition.id, values)

    # -- entries -------------------------------------------------------------------------

    def memblock(self) -> EntryValue | None:
        """Regions of reserve_mem=."""
        if "reserve_mem" not in self.data:
            return None
        regions = []
        keys = ("name", "size", "start", "align", "contents")
        for where, item in self.rows(self.data, "reserve_mem"):
            table = self.table(item, where, keys)
            size = self.integer(table, "size", where, None)
            if not size or size % self.geometry.page_size:
                raise self.error(f"{where}.size", "expected whole pages")
            align = self.integer(table, "align", where, self.geometry.page_size)
            if not align or align & (align - 1) or align % self.geometry.page_size:
                raise self.error(f"{where}.align", "expected a power of two of at least a page")
            start = self.integer(table, "start", where, 0) if "start" in table else None
            read, _ = self.contents(table, where, size)
            zero = np.zeros(1, np.uint64)
            contents = file_contents(read, zero, size, self.geometry.page_size) if read else None
            payload = Payload(np.array([size], np.uint64), contents, start, align)
            name = self.identity(table, where, 15)
            regions.append({"name": name, "start": payload, "size": size})
        limit = self.registry.get("memblock-v1").limits["regions"]
        if len(regions) > limit:
            raise self.error("reserve_mem", f"{len(regions)} regions; a kernel has at most {limit}")
        return EntryValue("memblock", "memblock-v1", {"regions": regions})

    def metadata(self, release: str) -> EntryValue | None:
        """kexec-metadata; every kernel that knows it writes it."""
        where = "kexec_metadata"
        given = self.data.get(where, {})
        table = self.table(given, where, ("version", "previous_release", "kexec_count"))
        if where in self.data and "kexec-metadata" not in self.abi.entries:
            raise self.error(where, f"set {self.abi.id} does not carry it")
        return EntryValue(
            "kexec-metadata",
            "kexec-metadata",
            {
                "version": self.integer(table, "version", where, 1),
                "previous_release": self.text(table, "previous_release", where, release, 64),
                "kexec_count": self.integer(table, "kexec_count", where, 1),
            },
        )

    def kho_test(self) -> EntryValue | None:
        """The kernel's own test: folios by order."""
        if "kho_test" not in self.data:
            return None
        where = "kho_test"
        table = self.table(self.data[where], where, ("orders", "csum", "magic", "contents"))
        orders = table.get("orders", [0])
        if not isinstance(orders, list) or not all(is_order(order, MAX_ORDER) for order in orders):
            raise self.error(
                f"{where}.orders", f"expected a list of page orders from 0 to {MAX_ORDER}"
            )
        column = np.array(orders, np.uint64)
        sizes = np.uint64(self.geometry.page_size) << column
        total = int(sizes.sum())
        read, _ = contents_from(
            table.get("contents"), f"{where}.contents", self.folder, total, self.geometry.page_size
        )
        payload = Payload(sizes)
        csum = 0
        if read is not None:
            offsets = np.cumsum(sizes) - sizes
            payload.contents = file_contents(read, offsets, total, self.geometry.page_size)
            csum = folded_sum(read(0, total), self.geometry)
        values: dict[str, Any] = {
            "csum": self.integer(table, "csum", where, csum),
            "folios": Rows({"order": column}, payload),
        }
        if "magic" in table:
            values["magic"] = self.integer(table, "magic", where, 0)
        return EntryValue("kho_test", "kho-test-v1", values)

    def luo(self) -> EntryValue | None:
        """Sessions, files and FLBs; a kernel with LUO always writes its entry."""
        identifier = self.abi.entries.get("LUO")
        wanted = [key for key in ("session", "flb", "liveupdate_number") if key in self.data]
        if identifier is None:
            if wanted:
                raise self.error(wanted[0], f"set {self.abi.id} has no live update orchestrator")
            return None
        sessions = [self.session(where, item) for where, item in self.rows(self.data, "session")]
        files = sum(len(session["files"]) for session in sessions)
        values: dict[str, Any] = {
            "liveupdate_number": self.integer(self.data, "liveupdate_number", "", 1),
            "sessions": sessions,
        }
        flbs = [self.flb(where, item, files) for where, item in self.rows(self.data, "flb")]
        if flbs and identifier == "luo-v1" and "luo-flb-v1" not in self.abi.nodes:
            raise self.error("flb", f"set {self.abi.id} does not carry FLBs")
        values["flbs"] = flbs
        definition = self.registry.get(identifier)
        labels = self.fields.content_labels(definition)
        if "sessions" not in labels:
            # An orchestrator without sessions is described as an entry of its own.
            if sessions or flbs:
                raise self.error("", f"{identifier} has no sessions; use [[entry]]")
            values = {key: value for key, value in values.items() if key in labels}
        if "liveupdate_number" not in labels and "liveupdate_number" not in self.data:
            values.pop("liveupdate_number", None)
        return EntryValue("LUO", identifier, values)

    def flb(self, where: str, item: Any, files: int) -> dict[str, Any]:
        """One file-lifecycle-bound object."""
        table = self.table(item, where, ("name", "data", "count", "fields", "format"))
        name = self.identity(table, where, 47)
        result: dict[str, Any] = {
            "name": name,
            "count": self.integer(table, "count", where, files),
        }
        if "fields" in table:
            chosen, here = table.get("format"), f"{where}.fields"
            result["data"] = self.fields.handle(Kind.FLB, name, chosen, table["fields"], here)
        elif "data" in table:
            result["data"] = self.integer(table, "data", where, 0)
        return result

    def session(self, where: str, item: Any) -> dict[str, Any]:
        """One session."""
        table = self.table(item, where, ("name", "file"))
        files = [self.file(here, entry) for here, entry in self.rows(table, "file", where)]
        return {"name": self.identity(table, where, 63), "files": files}

    def file(self, where: str, item: Any) -> dict[str, Any]:
        """One preserved file."""
        table = self.table(item, where, FILE)
        handler = self.text(table, "handler", where, self.default_handler(where), 47)
        result: dict[str, Any] = {
            "handler": handler,
            "token": self.integer(table, "token", where, None),
        }
        definition = self.fields.handler(Kind.FILE, handler, table.get("format"), where)
        if definition is None:
            if "fields" in table:
                raise self.error(f"{where}.handler", f"no definition of {handler!r}")
            result["data"] = Handle(None, self.integer(table, "data", where, 0))
            return result
        if "data" in table or definition.content in ("none", "literal"):
            literal = self.integer(table, "data", where, 0)
            result["data"] = Handle(None, literal, definition.id)
            return result
        given = table.get("fields", {})
        values = self.fields.content(definition, given, f"{where}.fields")
        if "folios" in self.fields.content_labels(definition) and "folios" not in values:
            values |= self.memory_file(where, table, definition)
        result["data"] = Handle(values, format=definition.id)
        return result

    def default_handler(self, where: str) -> str | None:
        """The set's only file handler."""
        return self.abi.files[0] if self.abi.files else None

    def contents(self, table: dict[str, Any], where: str, size: int) -> tuple[ReadAt | None, int]:
        """A reader of a table's ``contents``, and their size in bytes; -1 takes their own."""
        here = f"{self.name}: {where}.contents"
        read, size = contents_from(
            table.get("contents"), here, self.folder, size, self.geometry.page_size
        )
        if read is not None and size > MAX_CONTENTS:
            raise EncodeError(here, f"{size} bytes; at most {MAX_CONTENTS} are made, or 'none'")
        return read, size

    def memory_file(
        self, where: str, table: dict[str, Any], definition: Definition
    ) -> dict[str, Any]:
        """A file whose contents are folios: size, position, seals, and the folios themselves."""
        page = self.geometry.page_size
        size = self.integer(table, "size", where, 0) if "size" in table else -1
        read, size = self.contents(table, where, size)
        values: dict[str, Any] = {"pos": self.integer(table, "pos", where, 0), "size": size}
        if "seals" in table:
            if "seals" not in self.fields.content_labels(definition):
                raise self.error(f"{where}.seals", f"{definition.id} does not carry seals")
            values["seals"] = self.seals(where, table["seals"], definition)
        pages, order = -(-size // page), self.order(where, table)
        if (pages >> order) + pages % (1 << order) > MAX_FOLIOS:
            raise self.error(
                f"{where}.size", f"more than {MAX_FOLIOS} folios; larger ones are folio = 'huge'"
            )
        orders, index = folio_layout(pages, order)
        if "holes" in table:
            orders, index = self.without_holes(where, table["holes"], orders, index)
        sizes = np.uint64(page) << orders
        offsets = index * np.uint64(page)
        contents = file_contents(read, offsets, size, page) if read else None
        columns = {"index": index}
        if "flags" in self.fields.row_labels(definition, "folios"):
            columns = {"flags": np.full(len(index), FOLIO_FLAGS, np.uint64), "index": index}
        values["folios"] = Rows(columns, Payload(sizes, contents))
        return values

    def order(self, where: str, table: dict[str, Any]) -> int:
        """Page order of the large folios of a file."""
        folio = table.get("folio", "small")
        if folio == "small":
            return 0
        if folio == "huge":
            return HUGE_ORDER[self.geometry.page_size]
        if is_order(folio, 18):
            return int(folio)
        raise self.error(f"{where}.folio", "expected 'small', 'huge' or a page order")

    def seals(self, where: str, value: Any, definition: Definition) -> int:
        """Seals as a number or as a list of F_SEAL_ names."""
        if not isinstance(value, list):
            return self.integer({"seals": value}, "seals", where, 0)
        struct = definition.structs[definition.content]
        fields = [f for field in struct.fields for f in field.parts or (field,)]
        known = next(field.flags for field in fields if field.label == "seals")
        result = 0
        for name in value:
            if not isinstance(name, str) or name not in known:
                raise self.error(f"{where}.seals", f"{name!r} is none of {', '.join(known)}")
            result |= known[name]
        return result

    def without_holes(self, where: str, value: Any, orders: Any, index: Any) -> tuple[Any, Any]:
        """Leave out folios whose page index is in a hole: a list of [first, pages]."""
        keep = np.ones(len(index), bool)
        if not isinstance(value, list):
            raise self.error(f"{where}.holes", "expected a list of [first page, pages]")
        for pair in value:
            if not isinstance(pair, list) or len(pair) != 2:
                raise self.error(f"{where}.holes", "expected a list of [first page, pages]")
            first, pages = (number(item, f"{self.name}: {where}.holes") for item in pair)
            if not 0 <= first <= first + pages < 1 << 64:
                raise self.error(f"{where}.holes", f"{first} and {pages} are no range of pages")
            keep &= (index < np.uint64(first)) | (index >= np.uint64(first + pages))
        return orders[keep], index[keep]


def is_order(value: Any, most: int) -> bool:
    """True for a page order of at most ``most``."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def folded_sum(data: bytes, geometry: Geometry) -> int:
    """The kernel's csum_partial: the sum of native 32-bit words with its carries added back."""
    total = int(np.frombuffer(data, f"{geometry.prefix}u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFF_FFFF) + (total >> 32)
    return total


def folio_layout(pages: int, order: int) -> tuple[Any, Any]:
    """Orders and page indexes of the folios of a file: large ones first, then single pages."""
    large = pages >> order
    rest = pages - (large << order)
    index = np.concatenate(
        [
            np.arange(large, dtype=np.uint64) << np.uint64(order),
            np.uint64(large << order) + np.arange(rest, dtype=np.uint64),
        ]
    )
    orders = np.zeros(len(index), np.uint64)
    orders[:large] = order
    return orders, index
