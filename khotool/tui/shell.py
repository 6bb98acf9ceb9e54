"""What the screens share: the open images, the work in hand, and the notes in the corner.

The screens and the actions know only this; the app adds the screens.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.app import App
from textual.message import Message
from textual.screen import Screen
from textual.worker import Worker, get_current_worker

from khotool.check.run import check_image
from khotool.errors import KhotoolError
from khotool.findings import Severity
from khotool.limits import Limits, OpenOptions
from khotool.model.image import Node
from khotool.tui import garbage, terminal, work
from khotool.tui.describe import sketch
from khotool.tui.edits import Effect, effect_of
from khotool.tui.keys import Config, load_config
from khotool.tui.place import resolve
from khotool.tui.session import Change, Session
from khotool.tui.state import add_recent, config_folder, load_place, save_place
from khotool.tui.text import Line, count_text, told_apart, visible
from khotool.tui.themes import THEMES, default_theme
from khotool.tui.work import Cancelled, Source, Stop

POLL = 2.0
"""Seconds between looks at the file."""

ParseFlags = Callable[[str], OpenOptions]
"""Flags in one string to options; raises UsageError."""

Job = Callable[[Stop], None]
"""Work for a thread; it asks now and then whether it is still wanted."""

CANCELLABLE = ("open", "other", "find", "filter", "diff", "copy", "export", "probe")
"""Groups of work that escape stops."""


class Done(Message):
    """A worker has a result.

    Args:
        kind: ``open``, ``other``, ``index``, ``owners``, ``findings``, ``progress``, ``failed``,
            ``finished``.
        generation: of the opening it belongs to.
    """

    def __init__(self, kind: str, generation: int, result: Any = None) -> None:
        super().__init__()
        self.kind = kind
        self.generation = generation
        self.result = result


class Follower(Screen[None]):
    """A screen that follows the session."""

    def sync(self) -> None:
        """Show the session from scratch, or why there is none."""

    def update_frame(self) -> None:
        """Title, banner and state have changed."""

    def session_changed(self, change: Change) -> None:
        """Follow a change of the session."""

    def job_failed(self, group: str) -> None:
        """Work of a group has failed or was cancelled."""


class Shell(App[int]):
    """The images, and the work done on them in threads.

    Args:
        path: image to open; None for none yet.
        other: second image, to compare.
        options: how to read them.
        config: keys and theme; read from the user's file if not given.
        parse: reads flags as the command line has them; None where they cannot be changed.
        fixed: the images are those of the start, and no file is written: the user of a browser
            is not the user of this machine.

    Attributes:
        source: where ``session`` comes from, or what is being opened where there is none.
        opening: what is being opened, or failed to open.
        jobs: what is being done, by group.
    """

    def __init__(
        self,
        path: str | None = None,
        other: str | None = None,
        options: OpenOptions | None = None,
        config: Config | None = None,
        *,
        parse: ParseFlags | None = None,
        fixed: bool = False,
    ) -> None:
        super().__init__()
        self.parse, self.fixed = parse, fixed
        self.source = Source(path, options or OpenOptions()) if path is not None else None
        self.opening = self.source
        self.other_source = Source(other, options or OpenOptions()) if other is not None else None
        self.config = config if config is not None else load_config(config_folder() / "config.toml")
        self.session: Session | None = None
        self.other: Session | None = None
        self.error = ""
        self.details = ""
        self.progress = ""
        self.stages: dict[str, str] = {}
        self.sketch: list[Line] = []
        self.probed: list[tuple[str, bool, str]] = []
        self.jobs: dict[str, str] = {}
        self.changed_on_disk = False
        self.effect: Effect | None = None
        self._generation = 0
        for theme in THEMES:
            self.register_theme(theme)
        known = self.config.theme in self.available_themes
        self.theme = self.config.theme if known else default_theme()
        self.set_keymap(self.config.keys)

    def on_mount(self) -> None:
        """Open what the command line names."""
        garbage.defer()
        ends = {signal.SIGTERM: self._terminated, signal.SIGHUP: self._hang_up}
        for number, end in ends.items():
            # An exception in the middle of the event loop would leave the terminal as it is.
            with contextlib.suppress(RuntimeError, ValueError):
                asyncio.get_running_loop().add_signal_handler(number, end)
        for problem in self.config.problems:
            self.say(problem, Severity.WARNING)
        if self.source is not None:
            self.open_source(self.source)
        if self.other_source is not None:
            self.open_other(self.other_source)
        self.set_interval(POLL, self._look_at_file)
        self.set_interval(POLL, self._collect)
        if not self.is_headless:
            self.set_interval(POLL, self._look_at_terminal)

    def on_unmount(self) -> None:
        """Keep the place for the next time, and leave the process as it was."""
        garbage.restore()
        place = self.session.cursor.place if self.session is not None else None
        if self.session is not None and place is not None and not self.fixed:
            save_place(self.session.digest, "" if place.path == "/" else place.path)

    # -- what the screens show -------------------------------------------------------------

    @property
    def title_text(self) -> str:
        """Name of the file that is shown, or of the one that is being opened; of both in a diff."""
        if self.source is None:
            return "no image"
        if self.other_source is None:
            return Path(self.source.path).name
        return " | ".join(told_apart(Path(self.source.path), Path(self.other_source.path)))

    @property
    def busy_text(self) -> str:
        """What is being done."""
        if "open" in self.jobs and self.session is not None and self.opening is not None:
            name = visible(Path(self.opening.path).name)
            return f"opening {name}  {visible(self.progress)}  esc cancels"
        return next((text for text in self.jobs.values() if text), "")

    @property
    def banner_text(self) -> str:
        """What the user should know and do; empty for nothing."""
        if self.changed_on_disk:
            return "The file has changed on disk.  r reads it again"
        if self.source is not None and self.source.edits:
            staged = count_text(len(self.source.edits), "change")
            found = self.effect.text if self.effect is not None else "checking"
            return f"{staged} staged: {visible(found)}.  W writes, U undoes, C lists"
        if self.session is not None and (limit := work.hit_limit(self.session.image)):
            return f"{visible(limit.split(';')[0])}.  L reads on with ten times the limit"
        return ""

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.source.options.limits if self.source is not None else Limits()

    def followers(self) -> list[Follower]:
        """The screen of the mode that is shown."""
        return [screen for screen in self.screen_stack if isinstance(screen, Follower)]

    def refresh_frames(self) -> None:
        """Title, banner and state have changed."""
        for screen in self.followers():
            screen.update_frame()

    def show_mode(self, name: str) -> None:
        """Switch to a mode."""
        if self.current_mode != name:
            self.switch_mode(name)

    def refused(self) -> bool:
        """Whether files may not be chosen; says so."""
        if self.fixed:
            self.say("Not in a browser: files are chosen where khotool runs", Severity.WARNING)
        return self.fixed

    def say(self, text: str, severity: Severity = Severity.NOTE) -> None:
        """A note in the corner; text of an image is plain text."""
        kind = {Severity.ERROR: "error", Severity.WARNING: "warning"}.get(severity, "information")
        shown = "\n".join(visible(part) for part in text.splitlines())
        self.notify(shown, severity=kind, timeout=4, markup=False)  # type: ignore[arg-type]

    # -- work ------------------------------------------------------------------------------

    def run_job(self, group: str, text: str, job: Job) -> Worker[None]:
        """Run ``job`` in a thread; it is asked to stop when the next of its group starts."""
        self.jobs[group] = text
        self.refresh_frames()

        def run() -> None:
            worker = get_current_worker()
            generation = self._generation
            result: tuple[str, Any] = "finished", group
            try:
                job(lambda: worker.is_cancelled)
            except Cancelled:
                pass
            except KhotoolError as error:
                result = "failed", (group, str(error), "")
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                result = "failed", (group, text, traceback.format_exc())
            # Whoever cancels work takes it off the list: it may not even have begun.
            if not worker.is_cancelled:
                self.post_message(Done(result[0], generation, result[1]))

        return self.run_worker(run, group=group, thread=True, exclusive=True, exit_on_error=False)

    def show_progress(self, group: str, text: str) -> None:
        """How far the work of a group is; may be called from its thread."""
        if group in self.jobs and self.jobs[group] != text:
            self.jobs[group] = text
            self.post_message(Done("progress", self._generation))

    def drop_job(self, group: str) -> None:
        """Work of a group is no longer wanted."""
        self.workers.cancel_group(self, group)
        self.jobs.pop(group, None)

    def cancel_work(self) -> bool:
        """Stop what can be stopped; False if there is nothing."""
        stopped = False
        for group in CANCELLABLE:
            if group in self.jobs:
                self.drop_job(group)
                for screen in self.followers():
                    screen.job_failed(group)
                stopped = True
        if stopped:
            self.progress = ""
            if self.session is None and not self.error:
                self.error = "Opening was cancelled"
            self.refresh_frames()
        return stopped

    # -- images ----------------------------------------------------------------------------

    def open_source(self, source: Source) -> None:
        """Open an image in a worker; the one that is shown stays until the new one is there."""
        self._generation += 1
        generation = self._generation
        self.workers.cancel_group(self, "analyse")
        self.jobs.clear()
        self.opening, self.error, self.details, self.progress = source, "", "", ""
        self.stages, self.sketch, self.probed = {}, [], []
        if self.session is None:
            self.source = source
        self.changed_on_disk = False

        def job(stop: Stop) -> None:
            def report(what: str, done: int, total: int | None) -> None:
                text = work.progress_text(what, done, total)
                if text != self.progress:
                    self.progress = self.stages[what] = text
                    self.post_message(Done("progress", generation))

            def draw(top: Node, nodes: int) -> None:
                self.sketch = sketch(top, self.size.height)
                report("Decoding", nodes, None)

            session = work.open_session(source, report, stop, draw)
            self.post_message(Done("open", generation, session))

        self.run_job("open", "opening", job)

    def open_other(self, source: Source) -> None:
        """Open the second image in a worker."""
        generation = self._generation
        self.other_source = source

        def job(stop: Stop) -> None:
            session = work.open_session(source, lambda *_: None, stop)
            self.post_message(Done("other", generation, session))

        self.run_job("other", "opening the other image", job)

    def swap(self) -> bool:
        """The second image becomes the first, and is explored; False if there is none."""
        first, second = self.session, self.other
        if first is None or second is None or self.other_source is None:
            return False
        if "open" in self.jobs or "other" in self.jobs:
            return False
        self._generation += 1
        self.workers.cancel_group(self, "analyse")
        self.jobs.clear()
        self.effect = None
        self.session, self.other = second, first
        self.source, self.other_source = self.other_source, self.source
        self.opening = self.source
        first.forget(self._session_changed)
        second.listen(self._session_changed)
        self._sync()
        if not second.checked:
            self._analyse(second)
        return True

    @property
    def sides(self) -> tuple[Session | None, Session | None]:
        """What a comparison has as first and second; an edited image comes after its original."""
        if self.source is not None and self.other is not None and self.other is self.source.base:
            return self.other, self.session
        return self.session, self.other

    def _analyse(self, session: Session) -> None:
        generation = self._generation
        base = self.source.base if self.source is not None and self.source.edits else None

        def job(stop: Stop) -> None:
            image = session.image
            self.post_message(Done("index", generation, work.index_image(image, stop)))
            if stop():
                return
            owners = image.ownership()
            self.post_message(Done("owners", generation, owners))
            if stop():
                return
            findings = check_image(image)
            self.post_message(Done("findings", generation, findings))
            if base is not None and not stop():
                before = [item.finding for item in base.findings]
                effect = effect_of(base.image, image, before, findings)
                self.post_message(Done("effect", generation, effect))

        self.run_job("analyse", "finding owners", job)

    def on_done(self, event: Done) -> None:
        """Put the result of a worker in place; this happens nowhere else."""
        event.stop()
        if event.generation == self._generation or event.kind == "other":
            self._put(event.kind, event.result)
            self.refresh_frames()

    def _put(self, kind: str, result: Any) -> None:
        session = self.session
        if kind == "open":
            self._opened(result)
        elif kind == "other":
            self.other = result
            self._sync()
        elif kind == "failed":
            self._failed(*result)
        elif kind == "finished":
            self.jobs.pop(result, None)
            if result == "analyse":
                garbage.freeze()
        elif kind == "probed":
            self.probed = result
        elif session is None:
            return
        elif kind == "index":
            index, session.paths, identifier = result
            session.set_index(index, identifier)
        elif kind == "owners":
            session.set_ownership(result)
        elif kind == "findings":
            session.set_findings(result)
        elif kind == "effect":
            self.effect = result

    def _opened(self, session: Session) -> None:
        assert self.opening is not None
        old = self.session
        before, self.session, self.source, self.effect = self.source, session, self.opening, None
        base = self.source.base
        garbage.freeze(again=old is not None and base is None)
        if old is not None:
            old.forget(self._session_changed)
        session.listen(self._session_changed)
        if old is None:
            self._restore(session)
        elif old.cursor.place is not None:
            session.goto_path(old.cursor.place.path)
        elif old.cursor.address is not None:
            session.select_address(old.cursor.address)
        if self.other_source is None and base is not None:
            # Diff shows what the edits change.
            self.other = base if self.source.edits else None
        elif before is not None and self.other is before.base:
            self.other = None
        add_recent(self.source.path)
        self._sync()
        self._analyse(session)

    def _restore(self, session: Session) -> None:
        """Go where this image was left the last time; back is the root."""
        place = resolve(session.image.tree, load_place(session.digest) or "/")
        if place is not None and place.node.parent is not None:
            session.select(place, jump=True)

    def _sync(self) -> None:
        for screen in self.followers():
            screen.sync()

    def _session_changed(self, change: Change) -> None:
        for screen in self.followers():
            screen.session_changed(change)

    def _failed(self, group: str, text: str, details: str) -> None:
        self.jobs.pop(group, None)
        self.details = details
        for screen in self.followers():
            screen.job_failed(group)
        if group == "open":
            self._open_failed(text)
        elif group == "other":
            self.other_source = None if self.other is None else self.other_source
            self.say(text, Severity.ERROR)
        else:
            hint = "\nthe details can be copied from the palette" if details else ""
            self.say(f"{group}: {text}{hint}", Severity.ERROR)

    def _open_failed(self, text: str) -> None:
        """Keep the image that is shown, with its own name; without one, say why in its place."""
        if self.session is None:
            self.error = text
            self._probe()
            return
        self.opening = self.source
        self.say(text, Severity.ERROR)
        if self.jobs.get("analyse") is None and not self.session.checked:
            self._analyse(self.session)

    def _probe(self) -> None:
        """Say what the file could be, where it is not what it was taken for."""
        source, generation = self.opening, self._generation
        if source is None or not Path(source.path).is_file():
            return

        def job(stop: Stop) -> None:
            self.post_message(Done("probed", generation, work.probe(source, stop)))

        self.run_job("probe", "trying containers", job)

    def _look_at_file(self) -> None:
        source = self.source
        if source is None or source.stamp is None or self.changed_on_disk or "open" in self.jobs:
            return
        if work.stamp_of(source.path) != source.stamp:
            self.changed_on_disk = True
            self.refresh_frames()

    def _look_at_terminal(self) -> None:
        if terminal.is_gone():
            self._hang_up()

    def _hang_up(self) -> None:
        terminal.end_soon()
        self.exit(terminal.HUNG_UP)

    def _terminated(self) -> None:
        self.exit(128 + signal.SIGTERM)

    def _collect(self) -> None:
        if not self.jobs:
            garbage.when_idle()
