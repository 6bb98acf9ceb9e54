"""The session as a machine: whatever is done in whatever order, its views agree."""

from __future__ import annotations

import functools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from khotool.check.run import check_image
from khotool.model.image import Image, Node
from khotool.tui.goto import PathList
from khotool.tui.index import ByteIndex
from khotool.tui.place import Place, resolve
from khotool.tui.session import Change, Cursor, Session
from tests.builders import capture
from tests.strategies import share
from tests.tui.conftest import goto

NAME = "linux-7.1.13"
TEXTS = ("/LUO", "0x0", "vm", "pfn", "/nowhere", "]][[", "REC", "files[0x1]", "0xffffffffffffffff")


@functools.cache
def known() -> tuple[Image, ByteIndex, PathList, list[Node]]:
    """An image and what workers make of it, once for all runs."""
    image = capture(NAME)
    image.ownership()
    return image, ByteIndex(image), PathList(image.tree), list(image.tree.walk())


class Machine(RuleBasedStateMachine):
    """A session beside a list of where it has been."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.byte_index, self.paths, self.nodes = known()
        self.session = Session(self.image)
        self.behind: list[Cursor] = []
        self.ahead: list[Cursor] = []
        self.told: list[Change] = []
        self.session.listen(self.told.append)

    @initialize(early=st.booleans())
    def workers(self, early: bool) -> None:
        """The byte index is there at once, or comes later."""
        if early:
            self.index_comes()

    @rule()
    @precondition(lambda self: self.session.index is None)
    def index_comes(self) -> None:
        self.session.set_index(self.byte_index)
        self.session.paths = self.paths

    @rule()
    @precondition(lambda self: not self.session.owners_known)
    def owners_come(self) -> None:
        self.session.set_ownership(self.image.ownership())

    @rule()
    @precondition(lambda self: not self.session.checked)
    def check_is_done(self) -> None:
        self.session.set_findings(check_image(self.image))

    def moved(self, before: Cursor, *, jump: bool) -> None:
        """Note a move, and that listeners heard of it if there was one."""
        assert (Change.CURSOR in self.told) == (self.session.cursor != before)
        if jump and self.session.cursor != before:
            if self.behind[-1:] != [before]:
                self.behind.append(before)
            self.ahead.clear()
        self.told.clear()

    def place(self, data: st.DataObject) -> Place:
        node = data.draw(st.sampled_from(self.nodes))
        if node.table is not None and len(node.table) and data.draw(st.booleans()):
            return Place(node, data.draw(st.integers(0, len(node.table) - 1)))
        return Place(node)

    @rule(data=st.data(), jump=st.booleans())
    def select(self, data: st.DataObject, jump: bool) -> None:
        before, place = self.session.cursor, self.place(data)
        self.told.clear()
        self.session.select(place, jump=jump)
        assert self.session.cursor.place == place
        self.moved(before, jump=jump)

    @rule(address=st.integers(-1, 1 << 64), jump=st.booleans(), size=st.integers(0, 100))
    def select_any_address(self, address: int, jump: bool, size: int) -> None:
        before = self.session.cursor
        self.told.clear()
        self.session.select_address(address, size, jump=jump)
        assert self.session.cursor.address == address or not 0 <= address < 1 << 64
        self.moved(before, jump=jump)

    @rule(data=st.data())
    def select_a_known_address(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.nodes))
        if node.span is not None:
            self.select_any_address(node.span.address, True, 0)

    @rule()
    def follow(self) -> None:
        before = self.session.cursor
        self.told.clear()
        self.session.follow()
        self.moved(before, jump=True)

    @rule(text=st.one_of(st.sampled_from(TEXTS), st.text(max_size=8)))
    def goto(self, text: str) -> None:
        before = self.session.cursor
        self.told.clear()
        goto(self.session, text)
        self.moved(before, jump=True)

    @rule(step=st.sampled_from([1, -1]))
    def next_region(self, step: int) -> None:
        before = self.session.cursor
        self.told.clear()
        self.session.next_region(step)
        self.moved(before, jump=True)

    @rule(step=st.sampled_from([1, -1]))
    def next_finding(self, step: int) -> None:
        before = self.session.cursor
        self.told.clear()
        assert (self.session.next_finding(step) is None) == (not self.session.findings)
        self.moved(before, jump=True)

    @rule(data=st.data())
    def peek_and_stay(self, data: st.DataObject) -> None:
        """A peek leaves no trace; staying there is a jump from where it began."""
        origin = self.session.cursor
        self.session.select(self.place(data))
        peeked = self.session.cursor
        self.session.peek(origin)
        self.session.peek(peeked)
        self.told.clear()
        if peeked != origin:
            self.session.commit(origin)
            if self.behind[-1:] != [origin]:
                self.behind.append(origin)
            self.ahead.clear()

    @rule()
    def back(self) -> None:
        before = self.session.cursor
        self.told.clear()
        assert self.session.back() == bool(self.behind)
        if self.behind:
            self.ahead.append(before)
            assert self.session.cursor == self.behind.pop()
        self.moved(before, jump=False)

    @rule()
    def forward(self) -> None:
        before = self.session.cursor
        self.told.clear()
        assert self.session.forward() == bool(self.ahead)
        if self.ahead:
            self.behind.append(before)
            assert self.session.cursor == self.ahead.pop()
        self.moved(before, jump=False)

    @rule()
    def toggle_mark(self) -> None:
        """A mark is on or off, and going to it comes back to the same bytes."""
        was = self.session.is_marked()
        assert self.session.toggle_mark() is not was
        assert self.session.is_marked() is not was
        self.told.clear()

    @invariant()
    def history_is_what_was_done(self) -> None:
        assert self.session.history.behind == self.behind
        assert self.session.history.ahead == self.ahead

    @invariant()
    def cursor_holds_together(self) -> None:
        """The selected bytes hold the address, and the place has a path that leads to it."""
        cursor = self.session.cursor
        if cursor.span is not None and cursor.address is not None and cursor.span.size:
            assert cursor.span.address <= cursor.address < cursor.span.end
        if cursor.place is not None:
            assert resolve(self.image.tree, cursor.place.path) == cursor.place


def test_any_order_of_commands() -> None:
    """History, listeners, marks and cursor hold together, whatever the order."""
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=share(5), stateful_step_count=30)
    )
