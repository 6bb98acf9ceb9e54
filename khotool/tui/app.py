"""The app: it opens images in workers, and hands the session to the screens."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding
from textual.message import Message
from textual.screen import Screen
from textual.worker import Worker, get_current_worker

from khotool.discovery.options import OpenOptions
from khotool.errors import KhotoolError
from khotool.findings import Severity
from khotool.tui import work
from khotool.tui.actions import Actions
from khotool.tui.keys import Config, load_config
from khotool.tui.screens.diff import DiffScreen
from khotool.tui.screens.explore import ExploreScreen
from khotool.tui.screens.findings import FindingsScreen
from khotool.tui.screens.formats import FormatsScreen
from khotool.tui.screens.mode import WIDE, ModeScreen
from khotool.tui.screens.pages import PagesScreen
from khotool.tui.session import Change, Session
from khotool.tui.state import add_recent, config_folder
from khotool.tui.text import Line, visible
from khotool.tui.themes import THEMES, default_theme
from khotool.tui.work import Cancelled, Source

POLL = 2.0
"""Seconds between looks at the file."""


class Done(Message):
    """Work has brought something.

    Args:
        kind: ``open``, ``other``, ``index``, ``owners``, ``findings``, ``progress``, ``failed``.
        generation: of the opening it belongs to.
    """

    def __init__(self, kind: str, generation: int, result: Any = None) -> None:
        super().__init__()
        self.kind = kind
        self.generation = generation
        self.result = result


class KhotoolApp(Actions):
    """khotool tui.

    Args:
        path: image to open; None for none yet.
        other: second image, to compare.
        options: how to read them.
        config: keys and theme; read from the user's file if not given.
    """

    TITLE = "khotool"
    CSS_PATH = "app.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "explore": ExploreScreen,
        "findings": FindingsScreen,
        "pages": PagesScreen,
        "diff": DiffScreen,
        "formats": FormatsScreen,
    }
    DEFAULT_MODE = "explore"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - the base class does not say ClassVar
        (0, "-tiny"),
        (60, "-narrow"),
        (WIDE, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-short"),
        (15, "-tall"),
    ]
    BINDINGS: ClassVar[list[Any]] = [Binding("ctrl+q", "quit", "Quit", show=False, id="app.quit")]

    def __init__(
        self,
        path: str | None = None,
        other: str | None = None,
        options: OpenOptions | None = None,
        config: Config | None = None,
    ) -> None:
        super().__init__()
        self.source = Source(path, options or OpenOptions()) if path is not None else None
        self.other_source = Source(other, options or OpenOptions()) if other is not None else None
        self.config = config if config is not None else load_config(config_folder() / "config.toml")
        self.session: Session | None = None
        self.other: Session | None = None
        self.error = ""
        self.details = ""
        self.progress = ""
        self.jobs: dict[str, str] = {}
        self.changed_on_disk = False
        self._generation = 0
        for theme in THEMES:
            self.register_theme(theme)
        names = {theme.name for theme in THEMES} | set(self.available_themes)
        self.theme = self.config.theme if self.config.theme in names else default_theme()
        self.set_keymap(self.config.keys)

    def on_mount(self) -> None:
        """Open what the command line names."""
        for problem in self.config.problems:
            self.say(problem, Severity.WARNING)
        if self.source is not None:
            self.open_source(self.source)
        if self.other_source is not None:
            self.open_other(self.other_source)
        self.set_interval(POLL, self._look_at_file)

    # -- what the screens show -------------------------------------------------------------

    @property
    def title_text(self) -> str:
        """Name of the file."""
        name = Path(self.source.path).name if self.source is not None else "no image"
        return f"{name} | {Path(self.other_source.path).name}" if self.other_source else name

    @property
    def busy_text(self) -> str:
        """What is being done."""
        return next(iter(self.jobs.values()), "")

    @property
    def banner_text(self) -> str:
        """What the user should know and do; empty for nothing."""
        if self.changed_on_disk:
            return "The file has changed on disk.  r reads it again"
        if self.session is not None and (limit := work.hit_limit(self.session.image)):
            return f"{visible(limit.split(';')[0])}.  L reads on with ten times the limit"
        return ""

    def state_lines(self) -> list[Line]:
        """Why there is no image, and what to do."""
        if self.error:
            lines: list[Line] = [[("This image could not be opened", "error")], []]
            for part in self.error.splitlines():
                for piece in part.split("; "):
                    lines.append([(visible(piece), "text")])
            lines += [[], [("o", "title"), ("  open another image", "dim")]]
            lines.append([("r", "title"), ("  try again", "dim")])
            if self.details:
                lines.append([("y", "title"), ("  copy the details of the error", "dim")])
            lines.append(
                [
                    ("   ", ""),
                    ("--root, --page-size, --base and --endian say what a file does not", "dim"),
                ]
            )
            return lines
        if "open" in self.jobs:
            return [
                [("Opening ", "text"), (visible(self.title_text), "title")],
                [],
                [(visible(self.progress or "Probing the container"), "accent")],
                [],
                [("escape", "title"), ("  cancel", "dim")],
            ]
        return [
            [("No image is open", "title")],
            [],
            [("o", "title"), ("  open an image: an ELF core, a kdump, a raw or LiME file,", "dim")],
            [("   a copy of /sys/kernel/debug/kho, or a bare device tree blob", "dim")],
            [("?", "title"), ("  keys", "dim")],
            [("q", "title"), ("  quit", "dim")],
        ]

    def mode_screens(self) -> list[ModeScreen]:
        """The screen of the mode that is shown."""
        return [screen for screen in self.screen_stack if isinstance(screen, ModeScreen)]

    def refresh_frames(self) -> None:
        """Title, banner and state have changed."""
        for screen in self.mode_screens():
            screen.update_frame()

    def show_mode(self, name: str) -> None:
        """Another mode."""
        if self.current_mode != name:
            self.switch_mode(name)

    def say(self, text: str, severity: Severity = Severity.NOTE) -> None:
        """A note in the corner; text of an image is plain text."""
        kind = {Severity.ERROR: "error", Severity.WARNING: "warning"}.get(severity, "information")
        shown = "\n".join(visible(part) for part in text.splitlines())
        self.notify(shown, severity=kind, timeout=4, markup=False)  # type: ignore[arg-type]

    # -- work ------------------------------------------------------------------------------

    def run_job(
        self, group: str, text: str, job: Callable[[Callable[[], bool]], None]
    ) -> Worker[None]:
        """Run ``job`` in a thread; it is asked to stop when another of its group starts."""
        self.jobs[group] = text
        self.refresh_frames()

        def run() -> None:
            worker = get_current_worker()
            generation = self._generation
            try:
                job(lambda: worker.is_cancelled)
            except Cancelled:
                self.post_message(Done("cancelled", generation, group))
            except KhotoolError as error:
                self.post_message(Done("failed", generation, (group, str(error), "")))
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                details = traceback.format_exc()
                self.post_message(Done("failed", generation, (group, text, details)))
            else:
                self.post_message(Done("finished", generation, group))

        return self.run_worker(run, group=group, thread=True, exclusive=True, exit_on_error=False)

    def cancel_work(self) -> bool:
        """Stop what can be stopped; False if there is nothing."""
        stopped = False
        for group in ("open", "other", "find", "filter", "diff"):
            if group in self.jobs:
                self.workers.cancel_group(self, group)
                self.jobs.pop(group, None)
                for screen in self.mode_screens():
                    screen.job_failed(group)
                stopped = True
        if stopped:
            self.progress = ""
            if self.session is None and not self.error:
                self.error = "Opening was cancelled"
            self.refresh_frames()
        return stopped

    def open_source(self, source: Source) -> None:
        """Open an image in a worker."""
        self._generation += 1
        generation = self._generation
        self.workers.cancel_group(self, "analyse")
        self.jobs.clear()
        self.source, self.error, self.details, self.progress = source, "", "", ""
        self.changed_on_disk = False

        def job(stop: Callable[[], bool]) -> None:
            def report(what: str, done: int, total: int | None) -> None:
                text = work.progress_text(what, done, total)
                if text != self.progress:
                    self.progress = text
                    self.post_message(Done("progress", generation, text))

            session = work.open_session(source, report, stop)
            self.post_message(Done("open", generation, session))

        self.run_job("open", "opening", job)

    def open_other(self, source: Source) -> None:
        """Open the second image in a worker."""
        generation = self._generation
        self.other_source = source

        def job(stop: Callable[[], bool]) -> None:
            session = work.open_session(source, lambda *_: None, stop)
            self.post_message(Done("other", generation, session))

        self.run_job("other", "opening the other image", job)

    def _analyse(self, session: Session) -> None:
        generation = self._generation

        def job(stop: Callable[[], bool]) -> None:
            image = session.image
            index, paths = work.index_image(image, stop)
            self.post_message(Done("index", generation, (index, paths)))
            if stop():
                return
            self.post_message(Done("owners", generation, image.ownership()))
            if stop():
                return
            self.post_message(Done("findings", generation, work.findings_of(image)))

        self.run_job("analyse", "finding owners", job)

    def on_done(self, event: Done) -> None:
        """Only here is what workers bring put in place."""
        event.stop()
        kind, result = event.kind, event.result
        if event.generation != self._generation and kind != "other":
            return
        session = self.session
        if kind == "open":
            self._opened(result)
        elif kind == "other":
            self.other = result
            self._tell_diff()
        elif kind == "index" and session is not None:
            session.paths = result[1]
            session.set_index(result[0])
        elif kind == "owners" and session is not None:
            session.set_ownership(result)
        elif kind == "findings" and session is not None:
            session.set_findings(result)
        elif kind == "failed":
            self._failed(*result)
        elif kind in ("finished", "cancelled"):
            self.jobs.pop(result, None)
        self.refresh_frames()

    def _opened(self, session: Session) -> None:
        assert self.source is not None
        old = self.session
        self.session = session
        session.listen(self._session_changed)
        if old is not None and old.cursor.place is not None:
            session.goto_path(old.cursor.place.path)
        add_recent(self.source.path)
        for screen in self.mode_screens():
            screen.sync()
        self._tell_diff()
        self._analyse(session)

    def _tell_diff(self) -> None:
        for screen in self.mode_screens():
            if isinstance(screen, DiffScreen):
                screen.sync()

    def _session_changed(self, change: Change) -> None:
        for screen in self.mode_screens():
            screen.session_changed(change)

    def _failed(self, group: str, text: str, details: str) -> None:
        self.jobs.pop(group, None)
        self.details = details
        for screen in self.mode_screens():
            screen.job_failed(group)
        if group == "open":
            self.error = text
            if self.session is not None:
                self.say(text, Severity.ERROR)
        elif group == "other":
            self.other_source = None
            self.say(text, Severity.ERROR)
        else:
            hint = "\nthe details can be copied from the palette" if details else ""
            self.say(f"{group}: {text}{hint}", Severity.ERROR)

    def _look_at_file(self) -> None:
        source = self.source
        if source is None or source.stamp is None or self.changed_on_disk:
            return
        if work.stamp_of(source.path) != source.stamp:
            self.changed_on_disk = True
            self.refresh_frames()
