"""What the live update orchestrator hands over: sessions, files, objects, subsystems.

From luo-v1 (two device trees and arrays, 6.19) to luo-v5 (a record and lists of blocks, 7.2) and in
the postings before, the same things are kept in different layouts; here they read the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from khotool.abi.definition import Definition, Kind
from khotool.absent import Absent, Reason
from khotool.model.image import Image, Node
from khotool.model.path import paths_above
from khotool.records import dataclass
from khotool.view.folios import Folios, folios_of
from khotool.view.keyed import Keyed, OfNode, absent_of, keyed
from khotool.view.values import Record, number_in, text_in

ENTRY = "LUO"
"""Name of the orchestrator's entry in the KHO root."""
HANDLED = frozenset({Kind.FILE, Kind.FLB})


@dataclass(frozen=True, repr=False)
class Luo:
    """The state of the live update orchestrator; false where the handover has none."""

    image: Image

    def __repr__(self) -> str:
        return f"<Luo {self.compatible}>" if self else "<Luo: none>"

    @cached_property
    def node(self) -> Node | None:
        """The entry in the model; None where the handover has none."""
        return self.image.entry(ENTRY)

    def __bool__(self) -> bool:
        return self.node is not None

    @property
    def absent(self) -> Absent | None:
        """Why the state could not be read; None if it could, or there is none."""
        return absent_of(self.node)

    @property
    def compatible(self) -> str | Absent | None:
        """Its version string."""
        return None if self.node is None else text_in(self.node, "compatible")

    @property
    def liveupdate_number(self) -> int | Absent | None:
        """1 for the first live update, one more for each that follows."""
        return None if self.node is None else number_in(self.node, "liveupdate_number")

    @cached_property
    def sessions(self) -> Keyed[str, Session]:
        """Sessions by name."""
        nodes = self._list("sessions")
        return keyed(
            "session", nodes, lambda n: Session(n, self.image), lambda one: one.name, self.absent
        )

    @cached_property
    def files(self) -> Keyed[int, File]:
        """Files outside of sessions by token: of formats from before there were sessions."""
        nodes = self._list("files")
        return keyed("file", nodes, lambda n: File(n, self.image), lambda one: one.token)

    @cached_property
    def flbs(self) -> Keyed[str, Flb]:
        """File-lifecycle-bound objects by name."""
        nodes = self._list("flbs")
        return keyed("FLB", nodes, lambda n: Flb(n, self.image), lambda one: one.name, self.absent)

    @cached_property
    def subsystems(self) -> Keyed[str, Subsystem]:
        """Subsystems with a handle of their own by name: of formats from before 6.19."""
        return keyed("subsystem", self._list("subsystems"), Subsystem, lambda one: one.name)

    def all_files(self) -> Iterator[File]:
        """Every file: those of sessions, then those outside of one, in stored order."""
        for session in self.sessions:
            yield from session.files
        yield from self.files

    @cached_property
    def names(self) -> dict[str, str]:
        """Names that the owning program gave to sessions and files, by path; untrusted text.

        For example, systemd's map names the unit of a file; see ``khotool.handlers``.
        """
        nodes = [session.node for session in self.sessions]
        nodes += [file.node for file in self.all_files()]
        return {node.path: node.annotation for node in nodes if node.annotation}

    def name_of(self, path: str) -> str:
        """The name of the file or session at a path or above it; else empty."""
        above = (path, *reversed(paths_above(path))) if self.names else ()
        return next((self.names[one] for one in above if one in self.names), "")

    def _list(self, name: str) -> Node | None:
        return None if self.node is None else self.node.get(name)


@dataclass(frozen=True, repr=False)
class Session(OfNode):
    """A session: a name, and the files that user space put into it."""

    image: Image

    @property
    def name(self) -> str | Absent:
        """The name that user space gave it."""
        return _name_of(self.node)

    @property
    def count(self) -> int | Absent | None:
        """Number of files that the session records."""
        return number_in(self.node, "count")

    @cached_property
    def files(self) -> Keyed[int, File]:
        """Files by token."""
        nodes = self.node.get("files")
        return keyed("file", nodes, lambda n: File(n, self.image, self), lambda one: one.token)


@dataclass(frozen=True, repr=False)
class Handled(OfNode):
    """A handle, and the record it points to, read by the definition of its handler."""

    image: Image

    @property
    def data(self) -> int | Absent | None:
        """The handle: the physical address of a record, or a number private to the handler."""
        return number_in(self.node, "data")

    @cached_property
    def payload(self) -> Record | Absent | None:
        """The record that the handle points to; None for a handle without one.

        Absent with the reason ``unparsable`` where no definition knows the handler, or the handle
        is 0 where the handler needs an address.
        """
        data = self.node.get("data")
        if data is None:
            return None
        if (gone := absent_of(data)) is not None:
            return gone
        if data.children:
            return Record(data)
        if not self.definitions and data.value:
            return Absent(Reason.UNPARSABLE, "no definition for this handler")
        if data.value == 0 and not data.struct:
            return Absent(Reason.UNPARSABLE, "data is 0")
        return None

    @property
    def definition(self) -> Definition | None:
        """The definition that the payload was read by; None where none applies."""
        data = self.node.get("data")
        found = None if data is None else self.image.registry.definitions.get(data.format)
        return found if found is not None and found.kind in HANDLED else None

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Every definition of the handler's string."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class File(Handled):
    """A preserved file descriptor.

    Args:
        session: the session it is in; None for formats from before there were sessions.
    """

    session: Session | None = None

    @property
    def token(self) -> int | Absent:
        """The number that user space gave it."""
        token = number_in(self.node, "token")
        return token if token is not None else _key_of(self.node)

    @property
    def handler(self) -> str | Absent:
        """The string of the handler that can read ``data``, such as ``memfd-v2``."""
        handler = text_in(self.node, "handler")
        return handler if handler is not None else _no_field("handler")

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Every definition of the handler's string."""
        handler = self.handler
        if isinstance(handler, Absent):
            return ()
        return self.image.registry.handlers(Kind.FILE, handler)

    @property
    def size(self) -> int | Absent | None:
        """Bytes of the contents; None where the handler's record has no size."""
        payload = self.payload
        return payload.number("size") if isinstance(payload, Record) else payload

    @cached_property
    def folios(self) -> Folios | None:
        """The folios that hold its contents; None where the handler's record lists none."""
        return folios_of(self.image, self.node)


@dataclass(frozen=True, repr=False)
class Flb(Handled):
    """A file-lifecycle-bound object: state that all files of some handlers share."""

    @property
    def name(self) -> str | Absent:
        """The string of the object that can read ``data``."""
        return _name_of(self.node)

    @property
    def count(self) -> int | Absent | None:
        """References held on it."""
        return number_in(self.node, "count")

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Every definition of the object's string."""
        name = self.name
        return () if isinstance(name, Absent) else self.image.registry.handlers(Kind.FLB, name)


@dataclass(frozen=True, repr=False)
class Subsystem(OfNode):
    """A subsystem of the formats from before 6.19, with a handle of its own."""

    @property
    def name(self) -> str | Absent:
        """Its name."""
        return _name_of(self.node)

    @property
    def data(self) -> int | Absent | None:
        """Its handle."""
        return number_in(self.node, "data")


def _name_of(node: Node) -> str | Absent:
    """The field ``name``, or the name of a node of a device tree, which is its key."""
    name = text_in(node, "name")
    return name if name is not None else node.key or ""


def _key_of(node: Node) -> int | Absent:
    """The number that a node of a device tree is named by."""
    try:
        return int(node.key or "", 0)
    except ValueError:
        return _no_field("token")


def _no_field(name: str) -> Absent:
    return Absent(Reason.UNPARSABLE, f"the format has no {name}")
