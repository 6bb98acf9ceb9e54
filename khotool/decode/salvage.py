"""Find lists whose head is gone: the kernel frees the LUO record at boot, not what it points to.

A record's lists keep their shape. Every page is looked at through the definitions: a page whose
records all make sense, down to the lists they point to, is taken for the list it looks like.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Definition, Field, Kind, Reference, Shape
from khotool.abi.record import decode_record, decode_records
from khotool.absent import Absent, Reason
from khotool.codec.blocks import capacity
from khotool.decode.follow import BLOCK_LIST
from khotool.decode.walk import Walker
from khotool.memory.space import MemoryFault
from khotool.model.image import Image, Node, NodeKind

Scores = dict[tuple[str, int], int]
"""Records in and below the list whose first block is at an address, by struct and address."""
Pages = dict[tuple[bool, int], list[int]]
"""Pages that may start a list, by whether its header has a link, and how many records fit."""
HEADER = 16
"""Bytes of the headers that are looked for: two words."""
MAX_CANDIDATES = 20_000
"""Pages whose first two words may start a list; each is read once."""


def salvage(walker: Walker, image: Image) -> None:
    """Look for the lists of every entry whose record was reused.

    Of several definitions of an entry the one is meant that explains most of what is there.
    """
    pages: Pages = {}
    for entry in image.entries:
        if not isinstance(entry.value, Absent) or entry.value.reason is not Reason.CONSUMED:
            continue
        best = 0
        meant: tuple[Definition, dict[Field, int]] | None = None
        for definition in image.registry:
            fits = definition.kind is Kind.ENTRY and definition.content in definition.structs
            if fits and entry.name in definition.match.get("entry", ()):
                score, places = _lists(walker, definition, pages)
                if score > best:
                    best, meant = score, (definition, places)
        if meant is not None:
            _place(walker, entry, *meant)
            image.used.append(meant[0])


def _lists(walker: Walker, definition: Definition, pages: Pages) -> tuple[int, dict[Field, int]]:
    """Records in and below the longest list of each field, and where those lists start."""
    total = 0
    places: dict[Field, int] = {}
    known: Scores = {}
    for field in definition.structs[definition.content].fields:
        reference = field.points_to
        if reference is None or not (
            reference.shape is Shape.BLOCKS or (reference.shape is Shape.ARRAY and reference.header)
        ):
            continue
        heads = list(_heads(walker, definition, reference, known, pages))
        if heads:
            score, places[field] = max(heads)
            total += score
    return total, places


def _place(walker: Walker, entry: Node, definition: Definition, places: dict[Field, int]) -> None:
    """Give an entry the fields of its record, of which only lists are known."""
    gone = entry.value
    entry.value = None
    entry.format = definition.id
    entry.note = "its record was reused; these lists were found by their shape"
    for field in definition.structs[definition.content].fields:
        node = entry.add(Node(field.label, NodeKind.VALUE, field=field, format=definition.id))
        if field in places:
            node.value = places[field]
            walker.follower.follow_field(node, field, definition, {})
        else:
            node.value = gone


def _heads(
    walker: Walker, definition: Definition, reference: Reference, known: Scores, pages: Pages
) -> Iterator[tuple[int, int]]:
    """Score and address of each page that starts a sound list."""
    geometry = walker.geometry
    record = walker.registry.compile(definition, reference.of, geometry)
    if reference.shape is Shape.BLOCKS:
        blocks = walker.registry.get(BLOCK_LIST)
        header = walker.registry.compile(blocks, blocks.content, geometry)
        most = capacity(header, record)
    else:
        header = walker.registry.compile(definition, reference.header, geometry)
        most = (reference.pages * geometry.page_size - header.size) // record.size
    if header.size != HEADER:
        return
    link = header.fields[0].field.role == "address"
    if (link, most) not in pages:
        pages[link, most] = _candidates(walker, link, most)
    for address in pages[link, most]:
        score = _score(walker, definition, reference, header, record, address, known)
        if score:
            yield score, address


def _candidates(walker: Walker, link: bool, most: int) -> list[int]:
    """Pages whose first two words can be a header: a link or a page count, and a count."""
    page = walker.geometry.page_size
    found: list[int] = []
    for base, words in walker.space.first_words(page, 2):
        native = words if walker.geometry.byteorder == "little" else words.byteswap()
        first, count = native[:, 0], native[:, 1]
        fits = (count >= 1) & (count <= np.uint64(most))
        fits &= (first % np.uint64(page) == 0) if link else (first == 1)
        found += [base + int(i) * page for i in np.flatnonzero(fits)[:MAX_CANDIDATES]]
        if len(found) >= MAX_CANDIDATES:
            break
    return found[:MAX_CANDIDATES]


def _score(
    walker: Walker,
    definition: Definition,
    reference: Reference,
    header: CompiledStruct,
    record: CompiledStruct,
    address: int,
    known: Scores,
) -> int:
    """Records in the list at ``address`` and below it; 0 if anything about it is unsound."""
    if reference.shape is Shape.BLOCKS:
        return _list_score(walker, definition, header, record, address, known)
    try:
        top = decode_record(header, walker.space.read(address, header.size))
        count = top[reference.count]
        body = walker.space.read(address + header.size, count * record.size)
    except MemoryFault:
        return 0
    return _rows_score(walker, definition, record, body, count, known) or 0


def _list_score(
    walker: Walker,
    definition: Definition,
    header: CompiledStruct,
    record: CompiledStruct,
    address: int,
    known: Scores,
) -> int:
    """As ``_score`` for a list of blocks; every block is looked at once, however many lead to it.

    A list is sound if its first block and the list behind that are.
    """
    name = record.struct.name
    path: list[tuple[int, int]] = []
    seen: set[int] = set()
    total: int | None = 0
    at = address
    while at:
        if (name, at) in known:
            total = known[name, at] or None
            break
        found = None if at in seen else _block_score(walker, definition, header, record, at, known)
        if found is None:
            known[name, at] = 0
            total = None
            break
        seen.add(at)
        path.append((at, found[0]))
        at = found[1]
    for at, score in reversed(path):
        total = None if total is None else total + score
        known[name, at] = total or 0
    return known[name, address]


def _block_score(
    walker: Walker,
    definition: Definition,
    header: CompiledStruct,
    record: CompiledStruct,
    address: int,
    known: Scores,
) -> tuple[int, int] | None:
    """Records in and below one block, and the block behind it; None if it is unsound."""
    page = walker.geometry.page_size
    try:
        data = walker.space.read(address, page)
    except MemoryFault:
        return None
    top = decode_record(header, data)
    count, following = top["count"], top["next"]
    fits = capacity(header, record)
    if not 1 <= count <= fits or address % page or (following and count < fits):
        return None
    score = _rows_score(walker, definition, record, data[header.size :], count, known)
    return None if score is None else (score, following)


def _rows_score(
    walker: Walker,
    definition: Definition,
    record: CompiledStruct,
    body: memoryview,
    count: int,
    known: Scores,
) -> int | None:
    """Records in an array and below it; None if one of them is unsound."""
    if not count or not _clean_text(record, bytes(body[: count * record.size])):
        return None
    score = 0
    for row in decode_records(record, body, count):
        below = _row_score(walker, definition, record, row, known)
        if below is None:
            return None
        score += 1 + below
    return score


def _clean_text(record: CompiledStruct, data: bytes) -> bool:
    """True if every fixed string is printable and zero behind its end."""
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


def _row_score(
    walker: Walker,
    definition: Definition,
    record: CompiledStruct,
    row: dict[str, Any],
    known: Scores,
) -> int | None:
    """Records below one record; None if a pointer or a count cannot be right."""
    total = 0
    for placed in record.fields:
        field = placed.field
        reference = field.points_to
        if reference is None or field.role != "address":
            continue
        address = row[field.label]
        counted = next((f.field.label for f in record.fields if f.field.counts == field.label), "")
        if not address:
            if row.get(counted):
                return None
            continue
        if address % walker.geometry.page_size or not walker.space.contains(address, 16):
            return None
        if reference.shape is not Shape.BLOCKS and not (reference.shape is Shape.ARRAY and counted):
            continue
        below = walker.registry.compile(definition, reference.of, walker.geometry)
        if reference.shape is Shape.BLOCKS:
            blocks = walker.registry.get(BLOCK_LIST)
            header = walker.registry.compile(blocks, blocks.content, walker.geometry)
            number = _list_score(walker, definition, header, below, address, known)
        else:
            room = reference.pages * walker.geometry.page_size
            number = _array_score(walker, definition, below, address, row[counted], room, known)
        if not number or (counted and number != row[counted]):
            return None
        total += number
    return total


def _array_score(
    walker: Walker,
    definition: Definition,
    record: CompiledStruct,
    address: int,
    count: int,
    room: int,
    known: Scores,
) -> int:
    """As ``_score`` for an array counted beside its pointer, of at most ``room`` bytes.

    The first count that leads to an array is the one by which it is judged.
    """
    key = (record.struct.name, address)
    if key not in known:
        known[key] = 0
        if count * record.size <= room:
            try:
                body = walker.space.read(address, count * record.size)
            except MemoryFault:
                return 0
            known[key] = _rows_score(walker, definition, record, body, count, known) or 0
    return known[key]
