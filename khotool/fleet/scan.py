"""A whole scan: what is new or changed is examined, what is known stays as it is."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator

from khotool.fleet.backlog import Backlog
from khotool.fleet.engine import ClusterEngine, Engine, LocalEngine, local_workers
from khotool.fleet.examiner import Examined
from khotool.fleet.inputs import Item
from khotool.fleet.settings import Settings
from khotool.fleet.store import Journal, Store
from khotool.records import dataclass, replace
from khotool.version import version

Report = Callable[["Progress"], None]


@dataclass(slots=True)
class Progress:
    """How far a scan is.

    Args:
        total: images to look at, as far as they are listed.
        done: images that are done; of these ``unchanged`` were known and ``failed`` have an error.
        began: ``time.monotonic`` when the first was handed out; 0 while they are listed.
    """

    total: int = 0
    done: int = 0
    unchanged: int = 0
    failed: int = 0
    began: float = 0.0

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.done / max(time.monotonic() - self.began, 1e-6)

    @property
    def left(self) -> float:
        """Seconds that the rest will take at this rate."""
        return (self.total - self.done) / max(self.rate, 1e-6)


def settings_digest(settings: Settings) -> str:
    """Digest of what changes the rows of an image: khotool, the kernels, the definitions."""
    words = [version(), sorted(settings.kernels), sorted(settings.formats)]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]


def open_engine(settings: Settings, workers: int | None, cluster: str | None) -> Engine:
    """The engine that the user asks for.

    Raises:
        InputError: no scheduler answers; UsageError: a package is missing.
    """
    if cluster is not None:
        return ClusterEngine.connect(settings, cluster)
    return LocalEngine(settings, local_workers(workers))


def scan(
    items: Iterable[Item],
    store: Store,
    settings: Settings,
    engine: Callable[[Settings], Engine],
    report: Report,
) -> Progress:
    """Examine what is new or changed, and fold the results into the tables.

    What an earlier scan left in its journal is folded first. When this one is interrupted, what it
    has found so far is in the tables, or, if the process is killed, in the journal.

    Raises:
        KhotoolError: the results cannot be written; InputError: another scan is writing there.
    """
    settings = replace(settings, scan=settings_digest(settings))
    progress = Progress()
    with store.journal() as journal, contextlib.closing(Backlog()) as backlog:
        store.fold(journal)
        backlog.know(store.known(settings.scan))
        backlog.add(_counted(items, progress, report))
        progress.total = len(backlog)
        progress.began = time.monotonic()
        running = engine(settings)
        try:
            for examined in running.run(backlog):
                _note(examined, journal, progress)
                report(progress)
        finally:
            running.close()
            store.fold(journal)
    return progress


def _counted(items: Iterable[Item], progress: Progress, report: Report) -> Iterator[Item]:
    for item in items:
        progress.total += 1
        report(progress)
        yield item


def _note(examined: Examined, journal: Journal, progress: Progress) -> None:
    progress.done += 1
    if examined.rows is None:
        progress.unchanged += 1
    else:
        progress.failed += examined.rows["images"][0].get("error") is not None
        journal.add(examined.rows)
