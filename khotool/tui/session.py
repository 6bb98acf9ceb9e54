"""One session over one image: the cursor that all views share, and where it has been.

Nothing here knows of Textual. Methods that move the cursor tell the listeners; every view
follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from khotool.findings import Finding, Severity
from khotool.model.annotate import Mark, tree_marks
from khotool.model.identify import Identifier
from khotool.model.image import UNPLACED, Image, Node, Span
from khotool.model.places import Spans
from khotool.model.region import FdtRegion
from khotool.pages.owners import Ownership
from khotool.records import dataclass, field
from khotool.tui.find import Filtered, Hit, Query, Stop
from khotool.tui.goto import Candidate, PathList, candidates
from khotool.tui.index import ByteIndex
from khotool.tui.memory_view import MemoryView
from khotool.tui.place import Place, TableSpans, group_span, nearest, resolve, span_of
from khotool.tui.rated import Badges, Rated, rate
from khotool.tui.state import Bookmark, image_digest, load_bookmarks, save_bookmarks

MAX_HISTORY = 1000


class Change(StrEnum):
    """What listeners hear of."""

    CURSOR = "cursor"
    INDEX = "index"
    OWNERS = "owners"
    FINDINGS = "findings"
    FILTER = "filter"
    MARKS = "marks"
    HITS = "hits"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the user is.

    Args:
        place: place of the model; None on bytes that no field holds.
        address: physical address in bytes, or None for a place without bytes.
        span: selected bytes: the field's, or what was asked for.
    """

    place: Place | None
    address: int | None
    span: Span | None


@dataclass(slots=True)
class History:
    """Cursors that jumps left, as in a browser."""

    behind: list[Cursor] = field(default_factory=list)
    ahead: list[Cursor] = field(default_factory=list)

    def push(self, cursor: Cursor) -> None:
        """Note a cursor that is about to be left."""
        if not self.behind or self.behind[-1] != cursor:
            self.behind.append(cursor)
            del self.behind[:-MAX_HISTORY]
        self.ahead.clear()

    def back(self, current: Cursor) -> Cursor | None:
        """The cursor before ``current``, or None."""
        if not self.behind:
            return None
        self.ahead.append(current)
        return self.behind.pop()

    def forward(self, current: Cursor) -> Cursor | None:
        """The cursor that ``back`` left, or None."""
        if not self.ahead:
            return None
        self.behind.append(current)
        return self.ahead.pop()


def _turned(at: int, step: int, count: int) -> int:
    """The next or previous index, round and round; from -1 the first or the last."""
    if at < 0:
        at = -1 if step > 0 else 0
    return (at + step) % count


Listener = Callable[[Change], None]


class Session:
    """All that views of one image share.

    Args:
        image: the decoded image.
        digest: name of the image for what is kept between runs; by default made of its bytes.
        edited: bytes that differ from those of the file.
    """

    def __init__(self, image: Image, digest: str = "", edited: Sequence[Span] = ()) -> None:
        self.image = image
        self.edited = edited
        self.view = MemoryView(image)
        self.index: ByteIndex | None = None
        self.identifier: Identifier | None = None
        self.paths: PathList | None = None
        self.owners_known = False
        self.checked = False
        self.findings: list[Rated] = rate(image.findings)
        self.badges = Badges(image.tree, self.findings)
        self.history = History()
        self.digest = digest or image_digest(image)
        self.marks: list[Bookmark] = load_bookmarks(self.digest)
        self.filter_text = ""
        self.shown: Filtered | None = None
        self.peeking = False
        self._unfiltered: Cursor | None = None
        self._filtered: Cursor | None = None
        self.query: Query | None = None
        self.query_text = ""
        self.hits: list[Hit] = []
        self.hit = -1
        self.finding = -1
        self._spans: dict[Node, TableSpans] = {}
        self._tokens: dict[FdtRegion, Spans[Mark]] = {}
        self._listeners: list[Listener] = []
        self.cursor = self.cursor_at(Place(image.tree))

    # -- listeners -------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every change."""
        self._listeners.append(listener)

    def forget(self, listener: Listener) -> None:
        """No longer call ``listener``."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _tell(self, change: Change) -> None:
        for listener in list(self._listeners):
            listener(change)

    # -- what workers bring ----------------------------------------------------------------

    def set_ownership(self, ownership: Ownership | None) -> None:
        """Owners of the preserved memory are known, or there is no map."""
        self.view = MemoryView(self.image, ownership)
        self.owners_known = True
        self._tell(Change.OWNERS)

    def set_index(self, index: ByteIndex, identifier: Identifier | None = None) -> None:
        """Bytes, and what points to them, can be looked up from now on."""
        self.index, self.identifier = index, identifier
        self._spans.update(index.spans)
        address = self.cursor.address
        if self.cursor.place is None and address is not None:
            self.cursor = self.cursor_at_address(address)
            self._tell(Change.CURSOR)
        self._tell(Change.INDEX)

    def set_findings(self, findings: list[Finding]) -> None:
        """The check is done."""
        self.findings = rate(findings)
        self.badges = Badges(self.image.tree, self.findings)
        self.checked = True
        self.finding = -1
        self._tell(Change.FINDINGS)

    def counts(self) -> dict[Severity, int]:
        """Number of findings of each severity."""
        counts = dict.fromkeys(Severity, 0)
        for item in self.findings:
            counts[item.severity] += 1
        return counts

    # -- the cursor ------------------------------------------------------------------------

    def spans(self, place: Place) -> TableSpans | None:
        """Index of the table that a row belongs to, made once."""
        table = place.table
        if table is None:
            return None
        found = self._spans.get(place.node)
        if found is None:
            found = self._spans[place.node] = TableSpans(table)
        return found

    def span(self, place: Place) -> Span | None:
        """Bytes of a place."""
        return span_of(place, self.spans(place))

    def token_at(self, address: int) -> tuple[FdtRegion, Mark | None] | None:
        """The device tree that holds a physical address, and its token there; None for none."""
        for region in self.image.regions:
            if not isinstance(region, FdtRegion) or region.address >= UNPLACED:
                continue
            if region.address <= address < region.address + len(region.blob.data):
                if region not in self._tokens:
                    marks = tree_marks(region)
                    self._tokens[region] = Spans((m.address, m.address + m.size, m) for m in marks)
                found = self._tokens[region].overlapping(address, address + 1)
                return region, found[0] if found else None
        return None

    def group(self) -> Span | None:
        """Bytes of the record around the cursor."""
        place = self.cursor.place
        return None if place is None else group_span(place, self.spans(place))

    def cursor_at(self, place: Place) -> Cursor:
        """The cursor on a place of the model."""
        span = self.span(place)
        return Cursor(place, span.address if span is not None else None, span)

    def cursor_at_address(self, address: int, size: int = 0) -> Cursor:
        """The cursor on a byte, and on the field that holds it; ``size`` bytes are selected."""
        place = self.index.find(address) if self.index is not None else None
        if size > 1:
            return Cursor(place, address, Span(address, size))
        span = self.span(place) if place is not None else None
        if span is None or not span.address <= address < span.end:
            span = Span(address, 1)
        return Cursor(place, address, span)

    def jump(self, cursor: Cursor) -> None:
        """Go there; ``back`` returns."""
        self._move(cursor, jump=True)

    def _move(self, cursor: Cursor, *, jump: bool) -> None:
        if cursor == self.cursor:
            return
        if jump:
            self.history.push(self.cursor)
        self.cursor = cursor
        self._tell(Change.CURSOR)

    def select(self, place: Place, *, jump: bool = False) -> None:
        """Move to a place of the model; a jump can be undone with ``back``."""
        self._move(self.cursor_at(place), jump=jump)

    def select_address(self, address: int, size: int = 0, *, jump: bool = False) -> None:
        """Move to a byte, and to the field that holds it; ``size`` bytes are selected."""
        if 0 <= address < 1 << 64:
            self._move(self.cursor_at_address(address, size), jump=jump)

    def peek(self, cursor: Cursor) -> None:
        """Show a place without a trace in the history."""
        self.peeking = True
        try:
            self._move(cursor, jump=False)
        finally:
            self.peeking = False

    def commit(self, origin: Cursor) -> None:
        """Note that the cursor, moved by ``peek``, came from ``origin``."""
        if origin != self.cursor:
            self.history.push(origin)

    def back(self) -> bool:
        """To where the last jump came from."""
        found = self.history.back(self.cursor)
        if found is not None:
            self._move(found, jump=False)
        return found is not None

    def forward(self) -> bool:
        """Undo ``back``."""
        found = self.history.forward(self.cursor)
        if found is not None:
            self._move(found, jump=False)
        return found is not None

    def target(self, place: Place) -> Cursor | None:
        """Where a pointer leads: the first field there, else the bytes; what a token names."""
        node = place.node
        if place.row < 0 and node.reference:
            return self.cursor_at(nearest(self.image.tree, node.reference))
        if place.row < 0 and node.target is not None:
            below = next((c for c in node.children if self._inside(c, node.target)), None)
            if below is not None:
                return self.cursor_at(Place(below))
            address: int | None = node.target.address
        else:
            address = self._address_in(place)
        if address is None or not 0 <= address < 1 << 64:
            return None
        return self.cursor_at_address(address)

    def _address_in(self, place: Place) -> int | None:
        """The physical address that a value is; None for a value that is none."""
        value, role = place.value, place.field.role if place.field is not None else ""
        if isinstance(value, list) and role == "address":
            return next(iter(value), None)
        if not isinstance(value, int) or not value:
            return None
        shift = {"pfn": self.image.geometry.page_shift, "address": 0}.get(role)
        return None if shift is None else value << shift

    @staticmethod
    def _inside(node: Node, span: Span) -> bool:
        own = node.span
        return own is not None and span.address <= own.address < max(span.end, span.address + 1)

    def follow(self) -> bool:
        """Go where the pointer under the cursor leads; from payload, to its owner."""
        place = self.cursor.place
        found = self.target(place) if place is not None else None
        if found is None and place is None and self.cursor.address is not None:
            owners = self.view.owners(self.cursor.address)
            found = self.cursor_at(nearest(self.image.tree, owners[0])) if owners else None
        if found is not None:
            self.jump(found)
        return found is not None

    # -- finding one's way -----------------------------------------------------------------

    def candidates(self, text: str, limit: int = 50, stop: Stop = lambda: False) -> list[Candidate]:
        """What a text in the goto box can mean; ``stop`` ends the search early."""
        return candidates(
            self.image,
            text,
            here=self.cursor.address,
            paths=self.paths,
            limit=limit,
            stop=stop,
            findings=[item.finding for item in self.findings],
        )

    def cursor_of(self, candidate: Candidate) -> Cursor:
        """The cursor of a candidate."""
        if candidate.place is not None and (candidate.span is None or candidate.kind == "rule"):
            return self.cursor_at(candidate.place)
        span = candidate.span
        assert span is not None
        return self.cursor_at_address(span.address, span.size)

    def cursor_of_hit(self, hit: Hit) -> Cursor:
        """The cursor on something found."""
        if hit.place is not None:
            return self.cursor_at(hit.place)
        assert hit.span is not None
        return self.cursor_at_address(hit.span.address, max(hit.span.size, 2))

    def goto_path(self, path: str) -> None:
        """Move to a path, or as near to it as there is a place, without a trace."""
        self._move(self.cursor_at(nearest(self.image.tree, path)), jump=False)

    def set_hits(self, text: str, query: Query | None, hits: list[Hit]) -> None:
        """The result of a search, for ``next_hit``."""
        self.query_text, self.query, self.hits, self.hit = text, query, hits, -1
        self._tell(Change.HITS)

    def next_hit(self, step: int) -> bool:
        """The next or previous hit, round and round."""
        if not self.hits:
            return False
        self.hit = _turned(self.hit, step, len(self.hits))
        self.jump(self.cursor_of_hit(self.hits[self.hit]))
        return True

    def next_finding(self, step: int) -> Rated | None:
        """Go to the next or previous finding, worst first, round and round."""
        if not self.findings:
            return None
        self.finding = _turned(self.finding, step, len(self.findings))
        item = self.findings[self.finding]
        self.show_finding(item)
        return item

    def show_finding(self, item: Rated) -> None:
        """Go to where a finding is."""
        self.jump(self.cursor_of_finding(item))

    def cursor_of_finding(self, item: Rated) -> Cursor:
        """Where a finding is."""
        finding = item.finding
        exact = resolve(self.image.tree, finding.path)
        place = exact or nearest(self.image.tree, finding.path)
        cursor = self.cursor_at(place)
        if (exact is None or place.node.parent is None) and finding.address is not None:
            found = self.cursor_at_address(finding.address)
            return Cursor(found.place or place, found.address, found.span)
        return cursor

    def next_region(self, step: int) -> bool:
        """To the start of the next or previous stretch of decoded bytes."""
        address = self.cursor.address
        if self.index is None:
            return False
        found = self.index.next_region(address or 0, step)
        if found is not None:
            self.jump(self.cursor_at_address(found))
        return found is not None

    # -- filter and bookmarks --------------------------------------------------------------

    def set_filter(self, text: str, shown: Filtered) -> bool:
        """Show only these nodes; True if the cursor had to move, which ``back`` undoes.

        A cursor that the filter hides goes to the first match.
        """
        place = self.cursor.place
        if self.shown is None:
            self._unfiltered = self.cursor
        self.filter_text, self.shown = text, shown
        self._tell(Change.FILTER)
        hidden = bool(shown.matches) and (place is None or not shown.is_match(place.node))
        if hidden:
            self.jump(self.cursor_at(Place(shown.matches[0])))
        self._filtered = self.cursor
        return hidden

    def clear_filter(self) -> None:
        """Show all; the cursor is where it was before the filter, unless the user moved it."""
        if self.shown is None:
            return
        moved = self.cursor == self._filtered and self._unfiltered is not None
        if moved and self._unfiltered is not None:
            self.cursor = self._unfiltered
        self.filter_text, self.shown = "", None
        self._tell(Change.FILTER)
        if moved:
            self._tell(Change.CURSOR)

    def toggle_mark(self, note: str = "") -> bool:
        """Keep the cursor as a bookmark, or drop it; True if it is one now."""
        cursor = self.cursor
        path = cursor.place.path if cursor.place is not None else ""
        address = cursor.address
        kept = [m for m in self.marks if (m.path, m.address) != (path, address)]
        added = len(kept) == len(self.marks)
        self.marks = [*kept, Bookmark(path, address, note)] if added else kept
        save_bookmarks(self.digest, self.marks)
        self._tell(Change.MARKS)
        return added

    @property
    def notes(self) -> dict[str, str]:
        """Notes of bookmarks by path."""
        return {mark.path: mark.note for mark in self.marks if mark.path}

    def is_marked(self) -> bool:
        """Whether the cursor is on a bookmark."""
        place = self.cursor.place
        path = place.path if place is not None else ""
        return any((m.path, m.address) == (path, self.cursor.address) for m in self.marks)

    def goto_mark(self, mark: Bookmark) -> bool:
        """Go to a bookmark; False if its place is gone."""
        place = resolve(self.image.tree, mark.path) if mark.path else None
        if place is not None:
            self.jump(self.cursor_at(place))
        elif mark.address is not None:
            self.jump(self.cursor_at_address(mark.address))
        else:
            return False
        return True
