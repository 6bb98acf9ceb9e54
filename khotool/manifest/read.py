"""Read a hand-written manifest: a handover in a page of TOML or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from khotool.abi.definition import AbiSet
from khotool.abi.geometry import PAGE_SIZES, Geometry
from khotool.abi.registry import Registry
from khotool.encode.sets import default_release, named_set
from khotool.errors import UsageError
from khotool.handover.memory import PHYSICAL
from khotool.handover.values import EntryValue, Handover
from khotool.manifest.entries import memblock, metadata, read_entry, read_kho_test
from khotool.manifest.fields import FieldReader
from khotool.manifest.making import Making
from khotool.manifest.mutate import check_mutations
from khotool.manifest.sessions import luo
from khotool.memory.elf import MACHINES
from khotool.model.image import Span
from khotool.structured import Document, Table

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
NAMES = sorted({*MACHINES.values(), "ppc64le"})
"""Machines that an ELF header has a number for."""
LUO_KEYS = ("session", "flb", "liveupdate_number")


class Manifest:
    """A manifest being read.

    Args:
        document: of the file; mistakes are collected there.
        making: what it may read and have made; a folder for that of its author.
        abi: the set to write instead of the manifest's own.
    """

    def __init__(
        self,
        document: Document,
        making: Path | Making,
        registry: Registry,
        abi: AbiSet | None = None,
    ) -> None:
        """Read what everything else depends on.

        Raises:
            StructuredError: there is no such ABI set.
        """
        self.document = document
        self.root = document.root
        self.root.know(*TOP)
        self.name = self.root.text("abi", limit=64)
        self.abi = abi or self._set(registry)
        self.geometry = self._geometry()
        made = Making.of_author(making) if isinstance(making, Path) else making
        self.fields = FieldReader(registry, self.abi, self.geometry, made)

    def _set(self, registry: Registry) -> AbiSet:
        """The set that ``abi`` names: a kernel release, the id of a set, or a root's string."""
        try:
            return named_set(self.name, registry)
        except UsageError as error:
            if "abi" in self.root and not self.root["abi"].is_wrong:
                self.root["abi"].mistake(str(error))
        # Without a set there is nothing to compare the rest with.
        self.document.finish()
        raise AssertionError("a manifest without a set has a mistake")

    def _geometry(self) -> Geometry:
        """Page size and byte order."""
        size = self.root.integer("page_size", 4096, sizes=True)
        if size not in PAGE_SIZES:
            self.root["page_size"].mistake(f"{size} is not one of {PAGE_SIZES}")
            size = PAGE_SIZES[0]
        order = self.root.choice("endian", ("little", "big"), "little")
        return Geometry(size, "big" if order == "big" else "little")

    def handover(self) -> Handover:
        """The handover it describes, with the kernel's own value for everything not written.

        Raises:
            StructuredError: with file, line and key of every mistake.
        """
        release = self.root.text("osrelease", default_release(self.name, self.abi), limit=64)
        small = self.geometry.page_size == 4096 and self.geometry.byteorder == "little"
        handover = Handover(
            geometry=self.geometry,
            osrelease=release,
            machine=self.root.choice("machine", NAMES, "x86_64" if small else "aarch64"),
            entries=self._entries(release),
            memory=self._spans("memory"),
            scratch=self._spans("scratch"),
        )
        check_mutations(self.document)
        self.document.finish()
        return handover

    def _entries(self, release: str) -> list[EntryValue]:
        """All entries, in the order of the set; a table [[entry]] replaces one that is made."""
        root = self.root
        made: dict[str, EntryValue] = {}
        if "reserve_mem" in root:
            made["memblock"] = memblock(self.fields, root)
        if "kho_test" in root:
            made["kho_test"] = read_kho_test(self.fields, root.table("kho_test"))
        for name, keys in (("memblock", ("reserve_mem",)), ("kho_test", ("kho_test",))):
            self._refuse(name, keys)
        if "LUO" in self.abi.entries:
            made["LUO"] = luo(self.fields, root, self.abi.entries["LUO"])
        else:
            self._refuse("LUO", LUO_KEYS)
        if "kexec-metadata" in self.abi.entries:
            made["kexec-metadata"] = metadata(root.table("kexec_metadata"), release)
        else:
            self._refuse("kexec-metadata", ("kexec_metadata",))
        entries = [made[name] for name in self.abi.entries if name in made]
        for table in root.tables("entry"):
            entry = read_entry(self.fields, table)
            entries = [*(e for e in entries if e.name != entry.name), entry]
        order = list(self.abi.entries)
        entries.sort(key=lambda e: order.index(e.name) if e.name in order else len(order))
        return entries

    def _refuse(self, entry: str, keys: Sequence[str]) -> None:
        """Note keys that describe an entry which the set does not have."""
        for key in keys if entry not in self.abi.entries else ():
            if key in self.root:
                self.root[key].mistake(f"set {self.abi.id} has no entry {entry!r}")

    def _spans(self, key: str) -> list[Span]:
        """Ranges of memory: tables of ``start`` and ``size``."""
        found = [self._span(table) for table in self.root.tables(key)]
        return [span for span in found if span is not None]

    def _span(self, table: Table) -> Span | None:
        start, size = (table.integer(name, sizes=True) for name in ("start", "size"))
        if table.is_wrong:
            return None
        if start % self.geometry.page_size or size % self.geometry.page_size:
            table.mistake(f"not aligned to pages of {self.geometry.page_size} bytes")
        elif not size or start + size > PHYSICAL:
            table.mistake("empty, or beyond the physical address range of 2^52")
        else:
            return Span(start, size)
        return None
