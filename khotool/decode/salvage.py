"""Find lists whose head is gone: the kernel frees the LUO record at boot, not what it points to.

A record's lists keep their shape. Every page is looked at through the definitions: a page whose
records are all sound, down to the lists they point to, is taken for the list it looks like.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Kind, Reference
from khotool.abi.record import decode_record, decode_records
from khotool.absent import Absent, Reason
from khotool.codec.base import codec_of
from khotool.codec.blocks import capacity
from khotool.codec.contexts import Walk
from khotool.codec.follow import follow
from khotool.codec.lists import ListCodec
from khotool.codec.scene import Scene
from khotool.model.node import Node, NodeKind, NodeState, entries_of

Scores = dict[tuple[str, int], int]
"""Records in and below the list whose first block is at an address, by struct and address."""
Pages = dict[tuple[bool, int], list[int]]
"""Pages that may start a list, by whether its header has a link, and how many records fit."""
HEADER = 16
"""Bytes of the headers that are looked for: two words."""
MAX_CANDIDATES = 20_000
"""Pages whose first two words may start a list; each is read once."""


def salvage(walk: Walk) -> None:
    """Look for the lists of every entry whose record was reused.

    Of several definitions of an entry the one is meant that explains most of what is there.
    """
    pages: Pages = {}
    for entry in entries_of(walk.recorder.tree):
        if not isinstance(entry.value, Absent) or entry.value.reason is not Reason.CONSUMED:
            continue
        meant = explain(walk.scene, entry.name, pages)
        if meant is not None:
            walk.recorder.use(meant[0])
            _place(walk, entry, *meant)


def explain(scene: Scene, name: str, pages: Pages) -> tuple[Definition, dict[Field, int]] | None:
    """The definition of an entry that explains most of memory, and where its lists start.

    Args:
        name: of the entry.
        pages: that may start a list, as far as they are known; is added to.
    """
    best = 0
    meant: tuple[Definition, dict[Field, int]] | None = None
    for definition in scene.registry:
        fits = definition.kind is Kind.ENTRY and definition.content in definition.structs
        if fits and name in definition.match.get("entry", ()):
            score, places = _Search(scene, definition, pages).lists()
            if score > best:
                best, meant = score, (definition, places)
    return meant


def _list_codec(reference: Reference | None) -> ListCodec | None:
    """The codec of a pointer to a list; None for every other one."""
    codec = codec_of(reference.shape) if reference is not None else None
    return codec if isinstance(codec, ListCodec) else None


def _place(walk: Walk, entry: Node, definition: Definition, places: dict[Field, int]) -> None:
    """Give an entry the fields of its record, of which only lists are known."""
    gone = entry.value
    entry.value = None
    entry.format = definition.id
    entry.state = NodeState.SALVAGED
    for field in definition.structs[definition.content].fields:
        node = entry.add(Node(field.label, NodeKind.VALUE, field=field, format=definition.id))
        if field in places:
            node.value = places[field]
            follow(walk, node, field, definition, {})
        else:
            node.value = gone


class _Search:
    """The search for the lists of one definition.

    Args:
        pages: that may start a list, as far as they are known; is added to.
    """

    def __init__(self, scene: Scene, definition: Definition, pages: Pages) -> None:
        self.scene = scene
        self.definition = definition
        self.pages = pages
        self.known: Scores = {}

    def lists(self) -> tuple[int, dict[Field, int]]:
        """Records in and below the longest list of each field, and where those lists start."""
        total = 0
        places: dict[Field, int] = {}
        for field in self.definition.structs[self.definition.content].fields:
            reference = field.points_to
            codec = _list_codec(reference)
            if reference is None or codec is None:
                continue
            heads = list(self.heads(reference, codec))
            if heads:
                score, places[field] = max(heads)
                total += score
        return total, places

    def heads(self, reference: Reference, codec: ListCodec) -> Iterator[tuple[int, int]]:
        """Score and address of each page that starts a sound list."""
        record = self.scene.struct(self.definition, reference.of)
        header = codec.header(self.scene, self.definition, reference)
        if header is None or header.size != HEADER:
            return
        most = capacity(header, record, 1 if codec.linked else reference.pages)
        link = header.fields[0].field.role == "address"
        if (link, most) not in self.pages:
            self.pages[link, most] = _candidates(self.scene, link, most)
        for address in self.pages[link, most]:
            if codec.linked:
                score = self.chain(header, record, address)
            else:
                score = self.headed(reference.count, header, record, address)
            if score:
                yield score, address

    def headed(
        self, counter: str, header: CompiledStruct, record: CompiledStruct, address: int
    ) -> int:
        """Records in the array after a header, and below it; 0 if anything about it is unsound."""
        head = self.scene.read(address, header.size)
        count = 0 if isinstance(head, Absent) else decode_record(header, head)[counter]
        body = self.scene.read(address + header.size, count * record.size)
        return 0 if isinstance(body, Absent) else self.rows(record, body, count) or 0

    def chain(self, header: CompiledStruct, record: CompiledStruct, address: int) -> int:
        """As ``headed`` for a list of blocks; each block is looked at once.

        A list is sound if its first block and the list after that are.
        """
        name = record.struct.name
        path: list[tuple[int, int]] = []
        seen: set[int] = set()
        total: int | None = 0
        at = address
        while at:
            if (name, at) in self.known:
                total = self.known[name, at] or None
                break
            found = None if at in seen else self.block(header, record, at)
            if found is None:
                self.known[name, at] = 0
                total = None
                break
            seen.add(at)
            path.append((at, found[0]))
            at = found[1]
        for at, score in reversed(path):
            total = None if total is None else total + score
            self.known[name, at] = total or 0
        return self.known[name, address]

    def block(
        self, header: CompiledStruct, record: CompiledStruct, address: int
    ) -> tuple[int, int] | None:
        """Records in and below one block, and the block after it; None if it is unsound."""
        page = self.scene.geometry.page_size
        data = self.scene.read(address, page)
        if isinstance(data, Absent):
            return None
        top = decode_record(header, data)
        count, following = top["count"], top["next"]
        fits = capacity(header, record)
        if not 1 <= count <= fits or address % page or (following and count < fits):
            return None
        score = self.rows(record, data[header.size :], count)
        return None if score is None else (score, following)

    def rows(self, record: CompiledStruct, body: memoryview, count: int) -> int | None:
        """Records in an array and below it; None if one of them is unsound."""
        if not count or not _clean_text(record, bytes(body[: count * record.size])):
            return None
        score = 0
        for row in decode_records(record, body, count):
            below = self.row(record, row)
            if below is None:
                return None
            score += 1 + below
        return score

    def row(self, record: CompiledStruct, row: dict[str, Any]) -> int | None:
        """Records below one record; None if a pointer or a count cannot be right."""
        total = 0
        fields = [placed.field for placed in record.fields]
        for field in fields:
            reference = field.points_to
            if reference is None or field.role != "address":
                continue
            address = row[field.label]
            counted = next((other.label for other in fields if other.counts == field.label), "")
            if not address:
                if row.get(counted):
                    return None
                continue
            page = self.scene.geometry.page_size
            if address % page or not self.scene.space.contains(address, HEADER):
                return None
            number = self.below(reference, address, row.get(counted))
            if number is None:
                continue
            if not number or (counted and number != row[counted]):
                return None
            total += number
        return total

    def below(self, reference: Reference, address: int, count: int | None) -> int | None:
        """Records in and below the list of a pointer, 0 if it is unsound; None for no list."""
        codec = _list_codec(reference)
        if codec is None or (count is None and not codec.linked):
            return None
        record = self.scene.struct(self.definition, reference.of)
        if codec.linked:
            header = codec.header(self.scene, self.definition, reference)
            assert header is not None
            return self.chain(header, record, address)
        assert count is not None
        return self.array(record, address, count, reference.pages * self.scene.geometry.page_size)

    def array(self, record: CompiledStruct, address: int, count: int, room: int) -> int:
        """As ``headed`` for an array counted beside its pointer, of at most ``room`` bytes.

        The first count that leads to an array is the one by which it is judged.
        """
        key = (record.struct.name, address)
        if key not in self.known:
            self.known[key] = 0
            if count * record.size <= room:
                body = self.scene.read(address, count * record.size)
                if not isinstance(body, Absent):
                    self.known[key] = self.rows(record, body, count) or 0
        return self.known[key]


def _candidates(scene: Scene, link: bool, most: int) -> list[int]:
    """Pages whose first two words can be a header: a link or a page count, and a count."""
    page = scene.geometry.page_size
    found: list[int] = []
    for base, words in scene.space.first_words(page, 2):
        native = words if scene.geometry.byteorder == "little" else words.byteswap()
        first, count = native[:, 0], native[:, 1]
        fits = (count >= 1) & (count <= np.uint64(most))
        fits &= (first % np.uint64(page) == 0) if link else (first == 1)
        found += [base + int(i) * page for i in np.flatnonzero(fits)[:MAX_CANDIDATES]]
        if len(found) >= MAX_CANDIDATES:
            break
    return found[:MAX_CANDIDATES]


def _clean_text(record: CompiledStruct, data: bytes) -> bool:
    """True if every fixed string is printable and zero after its end."""
    for placed in record.fields:
        kind = placed.field.type
        if kind is None or kind.kind != "char":
            continue
        for row in range(len(data) // record.size):
            at = row * record.size + placed.offset
            text, _, tail = data[at : at + placed.size].partition(b"\0")
            if any(tail) or (placed.field.nonempty and not text):
                return False
            try:
                if not text.decode().isprintable():
                    return False
            except UnicodeDecodeError:
                return False
    return True
