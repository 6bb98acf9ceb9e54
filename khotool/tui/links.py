"""What a place or a byte is linked to: what points here, who owns it, what preserves it."""

from __future__ import annotations

from collections.abc import Iterator

from khotool.absent import Absent
from khotool.model.image import UNPLACED, Node
from khotool.records import dataclass
from khotool.tui.map_words import page_at, word_of_block
from khotool.tui.memory_view import address_text
from khotool.tui.place import Place, nearest
from khotool.tui.rated import Rated
from khotool.tui.session import Cursor, Session
from khotool.tui.text import visible

LISTED = 32
"""Pointers to one place that are listed."""


@dataclass(frozen=True, slots=True)
class Link:
    """Somewhere to go from the cursor.

    Args:
        kind: ``target``, ``pointer``, ``folio``, ``owner``, ``map`` or ``finding``.
        text: path or address, made harmless.
        cursor: the place.
        finding: the finding, where the link is to one.
    """

    kind: str
    text: str
    cursor: Cursor
    finding: Rated | None = None


def links_of(session: Session, cursor: Cursor | None = None) -> list[Link]:
    """Everything that a cursor, by default the session's, is linked to; each place once."""
    found: dict[tuple[str, str], Link] = {}
    for link in _links(session, cursor or session.cursor):
        found.setdefault((link.kind, link.text), link)
    return list(found.values())


def _links(session: Session, cursor: Cursor) -> Iterator[Link]:
    if cursor.place is not None:
        target = session.target(cursor.place)
        if target is not None:
            yield Link("target", _text(target), target)
        for item in session.badges.of(cursor.place):
            text = f"{item.finding.rule} {visible(item.finding.message)}"
            yield Link("finding", text, cursor, item)
    address = cursor.address
    if address is None or address >= UNPLACED:
        return
    yield from _pointers(session, address, cursor.place)
    for path in session.view.owners(address):
        yield _to_path(session, "owner", path)
    yield from _map(session, address)


def _pointers(session: Session, address: int, place: Place | None) -> Iterator[Link]:
    """Nodes whose target holds the address, the tightest first, then records of folios."""
    identifier = session.identifier
    if identifier is None:
        return
    own = place.node if place is not None else None
    for node in identifier.places.targets.overlapping(address, address + 1)[:LISTED]:
        if node is not own:
            yield _to_place(session, "pointer", Place(node))
    # Until the owners are known, who claims a byte is looked for among all claims.
    for fact in identifier.identify(address) if session.owners_known else ():
        if fact.kind == "payload" and "row" in fact.data:
            yield _to_path(session, "folio", fact.path)


def _map(session: Session, address: int) -> Iterator[Link]:
    """The word of the map that preserves the page; of a page of the map, the one above."""
    image = session.image
    if isinstance(image.map, Absent):
        return
    block = image.map.blocks.block_of(address)
    if block is not None:
        word = word_of_block(image, *block)
        if word is not None:
            yield _to_address(session, "map", word)
    page = page_at(image, address)
    if page is not None and page.parent is not None:
        yield _to_address(session, "pointer", page.parent)


def breadcrumb(place: Place) -> list[Node]:
    """The pointers that lead to a place, from the root on."""
    found: list[Node] = []
    node: Node | None = place.node.parent if place.row < 0 else place.node
    while node is not None and node.parent is not None:
        if node.target is not None and node.value is not None:
            found.append(node)
        node = node.parent
    return found[::-1]


def _to_place(session: Session, kind: str, place: Place) -> Link:
    return Link(kind, visible(place.path), session.cursor_at(place))


def _to_path(session: Session, kind: str, path: str) -> Link:
    return Link(kind, visible(path), session.cursor_at(nearest(session.image.tree, path)))


def _to_address(session: Session, kind: str, address: int) -> Link:
    return Link(kind, address_text(address), session.cursor_at_address(address))


def link_to(cursor: Cursor) -> Link:
    """The place itself."""
    return Link("here", _text(cursor), cursor)


def _text(cursor: Cursor) -> str:
    if cursor.place is not None:
        return visible(cursor.place.path)
    return address_text(cursor.address or 0)
