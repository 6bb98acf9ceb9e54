"""Paths to type, with the files there are: of an image to open, of a file to write."""

from __future__ import annotations

import os
from pathlib import Path

from textual.widgets import Input

from khotool.tui.screens.dialogs import Lookup
from khotool.tui.state import load_recent
from khotool.tui.text import Line, size_text, visible
from khotool.tui.widgets.line_view import LineView

MAX_FILES = 100


def completions(text: str) -> list[Path]:
    """Files and folders that a path begins, folders first; hidden ones only if asked for."""
    path = Path(text).expanduser()
    folder, start = (path, "") if text.endswith("/") or not text else (path.parent, path.name)
    found: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                    found.append(folder / entry.name)
                if len(found) >= MAX_FILES * 10:
                    break
    except OSError:
        return []
    return sorted(found, key=lambda p: (not p.is_dir(), p.name))[:MAX_FILES]


class OpenDialog(Lookup):
    """Ask for an image; ``chosen`` is its path."""

    def __init__(
        self,
        now: str = "",
        title: str = "Open an image",
        value: str = "",
        hint: str = "a file or a folder; empty lists recent images",
    ) -> None:
        super().__init__(title, self._look, value=value, hint=hint)
        self._now = now
        self.chosen = ""
        self._paths: list[str] = []

    def on_mount(self) -> None:
        """Begin with what fits the text there is."""
        self.call_after_refresh(self._look, self, self.text)

    def _look(self, dialog: Lookup, text: str) -> None:
        lines: list[Line] = []
        if not text.strip():
            self._paths = [path for path in load_recent() if path != self._now]
            lines = [[(f" {visible(path)}", "name"), ("  recent", "dim")] for path in self._paths]
        else:
            found = completions(text.strip())
            self._paths = [str(path) for path in found]
            for path in found:
                folder = path.is_dir()
                note = "folder" if folder else _size(path)
                name = f" {visible(str(path))}{'/' if folder else ''}"
                lines.append([(name, "key" if folder else "name"), (f"  {note}", "dim")])
        dialog.show(lines)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """A folder is entered, anything else opened."""
        event.stop()
        event.prevent_default()
        text = event.value.strip()
        if text and os.path.isfile(os.path.expanduser(text)):
            self._choose(os.path.expanduser(text))
            return
        self._pick(self.query_one("#list", LineView).cursor if self.count else -1, text)

    def on_line_view_chosen(self, event: LineView.Chosen) -> None:
        event.stop()
        event.prevent_default()
        self._pick(event.line, "")

    def _choose(self, path: str) -> None:
        self.chosen = path
        self.leave(0)

    def _pick(self, index: int, text: str) -> None:
        path = self._paths[index] if 0 <= index < len(self._paths) else os.path.expanduser(text)
        if self.enters(path):
            field = self.query_one("#input", Input)
            field.value = f"{path.rstrip('/')}/"
            field.cursor_position = len(field.value)
        elif path:
            self._choose(path)

    def enters(self, path: str) -> bool:
        """Whether a path is a folder to look into, and not a copy of /sys/kernel/debug/kho."""
        copy = any(os.path.isdir(os.path.join(path, name)) for name in ("out", "in"))
        return os.path.isdir(path) and not copy


class SaveDialog(OpenDialog):
    """Ask for a file to write; ``chosen`` is its path.

    The text counts, not the list below it, unless the user moves there.
    """

    def __init__(self, title: str, proposed: str, hint: str) -> None:
        super().__init__(title=title, value=proposed, hint=hint)
        self._moved = False

    def on_input_changed(self, event: Input.Changed) -> None:
        """The text counts again."""
        self._moved = False

    def action_step(self, step: int) -> None:
        """The list counts."""
        self._moved = True
        super().action_step(step)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the text or what is chosen; a folder is looked into."""
        text = event.value.strip()
        self._pick(self.query_one("#list", LineView).cursor if self._moved else -1, text)
        # The handlers of other dialogs would take the first line.
        event.stop()
        event.prevent_default()

    def enters(self, path: str) -> bool:
        """Whether a path is a folder."""
        return os.path.isdir(path)


def _size(path: Path) -> str:
    try:
        return size_text(path.stat().st_size)
    except OSError:
        return ""
