"""Dialogs: a line to type, a list to pick from, both together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from khotool.tui.text import Line
from khotool.tui.widgets.line_view import LineView

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None]):
    """A dialog that is left once, however often its key is pressed.

    Args:
        title: in the border, plain text.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel", show=False)]
    left = False

    def __init__(self, title: str, classes: str = "dialog") -> None:
        super().__init__(classes=classes)
        self._title = title

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = Content(self._title)
            yield from self.body()

    def body(self) -> ComposeResult:
        """What is in the box."""
        raise NotImplementedError

    def leave(self, answer: Answer | None) -> None:
        """Give the answer and go."""
        if not self.left:
            self.left = True
            self.dismiss(answer)

    def action_leave(self) -> None:
        self.leave(None)


class Prompt(Dialog[str]):
    """One line of text; None when it is left.

    Args:
        value: text to start with.
        note: a sentence below.
    """

    def __init__(self, title: str, value: str = "", note: str = "") -> None:
        super().__init__(title)
        self._value, self._note = value, note

    def body(self) -> ComposeResult:
        yield Input(self._value, id="input")
        if self._note:
            yield Static(self._note, id="note", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.leave(event.value)


class Picker(Dialog[int]):
    """A list to pick from; the index of the line, or None.

    Args:
        lines: what to pick from.
        marks: keys that pick a line at once, one per line.
    """

    def __init__(
        self,
        title: str,
        lines: Sequence[Line],
        *,
        marks: str = "",
        center: bool = False,
        empty: str = "",
    ) -> None:
        super().__init__(title, "dialog -center" if center else "dialog")
        self._lines, self._marks, self._empty = lines, marks, empty

    def body(self) -> ComposeResult:
        yield LineView(id="list", empty=self._empty)

    def on_mount(self) -> None:
        """Fill the list."""
        view = self.query_one("#list", LineView)
        view.styles.height = min(max(len(self._lines), 1), 26 if self.app.size.height < 40 else 60)
        view.show_lines(self._lines)
        view.focus()

    def on_key(self, event: events.Key) -> None:
        if event.character and event.character in self._marks:
            event.stop()
            self.leave(self._marks.index(event.character))

    def on_line_view_chosen(self, event: LineView.Chosen) -> None:
        event.stop()
        self.leave(event.line)


class Reader(Picker):
    """Text to read."""

    def on_mount(self) -> None:
        """The list has no cursor."""
        self.query_one("#list", LineView).has_cursor = False


class Lookup(Dialog[int]):
    """A line to type with a list of what it finds; the index of the choice, or None.

    Args:
        search: called with each text; shows lines through ``show``, at once or later.
        preview: called with the index under the cursor.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "step(1)", "Down", show=False, priority=True),
        Binding("up", "step(-1)", "Up", show=False, priority=True),
        Binding("pagedown", "step(10)", "Down", show=False, priority=True),
        Binding("pageup", "step(-10)", "Up", show=False, priority=True),
    ]

    def __init__(
        self,
        title: str,
        search: Callable[[Lookup, str], None],
        *,
        preview: Callable[[int], None] | None = None,
        value: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(title)
        self._search, self._preview = search, preview
        self._value, self._hint = value, hint
        self.text = value
        self._waiting = False
        self._submitted = False

    def body(self) -> ComposeResult:
        yield Input(self._value, id="input")
        view = LineView(id="list")
        # Keys go to the line.
        view.can_focus = view.display = False
        yield view
        yield Static(self._hint, id="note", markup=False)

    def show(self, lines: Sequence[Line], note: str = "", *, ended: bool = True) -> None:
        """Show what was found.

        Args:
            ended: no more will be found. Enter, pressed before there were lines, waits for them.
        """
        if not self.is_mounted:
            return
        self._waiting = not lines and not ended
        view = self.query_one("#list", LineView)
        view.display = bool(lines)
        view.styles.height = min(len(lines), 14)
        view.show_lines(lines, 0)
        self.query_one("#note", Static).update(note or self._hint)
        if lines and self._preview is not None:
            self._preview(0)
        if self._submitted and not self._waiting:
            self._submitted = False
            if lines:
                self.leave(0)

    @property
    def count(self) -> int:
        return self.query_one("#list", LineView).count

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.text, self._waiting, self._submitted = event.value, True, False
        self._search(self, event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Choose; what is still being looked for is chosen when it is found."""
        event.stop()
        if self._waiting:
            self._submitted = True
        elif self.count:
            self.leave(self.query_one("#list", LineView).cursor)

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        event.stop()
        if self._preview is not None:
            self._preview(event.line)

    def on_line_view_chosen(self, event: LineView.Chosen) -> None:
        """A double click chooses."""
        event.stop()
        self.leave(event.line)

    def action_step(self, step: int) -> None:
        self.query_one("#list", LineView).action_move(step)
