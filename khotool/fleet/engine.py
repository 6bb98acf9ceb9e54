"""Spread the work of a scan: over processes of this machine, or over a running cluster.

Both are dask: its scheduler for threads, each with an examining process of its own, or the
scheduler of ``dask.distributed`` that an address names. Results come as they are ready.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

from khotool.errors import InputError, KhotoolError
from khotool.fleet.backlog import Work
from khotool.fleet.examine import failed
from khotool.fleet.examiner import Examined, Examiner
from khotool.fleet.extra import require
from khotool.fleet.inputs import Item
from khotool.fleet.settings import Settings
from khotool.fleet.spool import unpacked
from khotool.fleet.tars import Tars
from khotool.records import dataclass, field

ANSWER = 5.0
"""Seconds until a scheduler has to answer."""
WAITING = 64
"""Results that wait until they are written."""
IN_FLIGHT = 8
"""Images a worker of a cluster has been given, so that it never waits."""
RETRIES = 3
"""Workers that may be lost with an image before it is taken for the cause."""
POLL = 0.1
"""Seconds after which a waiting worker looks whether the scan was ended."""


class Engine(Protocol):
    """Examines images side by side."""

    workers: int

    def run(self, work: Iterable[Work]) -> Iterator[Examined]:
        """Results in the order in which they are ready."""

    def close(self) -> None:
        """End what was started for the scan."""


@dataclass(slots=True)
class LocalEngine:
    """A pool of processes on this machine, each with a thread that feeds it."""

    settings: Settings
    workers: int
    _stop: threading.Event = field(default_factory=threading.Event)
    _results: queue.Queue[Examined | BaseException | None] = field(
        default_factory=lambda: queue.Queue(WAITING)
    )
    _examiners: list[Examiner] = field(default_factory=list)

    def run(self, work: Iterable[Work]) -> Iterator[Examined]:
        """Results in the order in which they are ready."""
        feeder = threading.Thread(target=self._feed, args=(iter(work),), name="scan", daemon=True)
        feeder.start()
        try:
            while (found := self._results.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            self._stop.set()
            self._end_examiners()
            feeder.join()

    def _feed(self, work: Iterator[Work]) -> None:
        dask = require("dask")
        lock = threading.Lock()
        tars = Tars()
        try:
            loops = [
                dask.delayed(self._loop, pure=False)(work, tars, lock) for _ in range(self.workers)
            ]
            dask.compute(*loops, scheduler="threads", num_workers=self.workers)
            self._offer(None)
        except BaseException as error:
            self._offer(error)
        finally:
            tars.close()

    def _loop(self, work: Iterator[Work], tars: Tars, lock: threading.Lock) -> None:
        """Examine one image after another; all take from the same list, and read tars in turn."""
        examiner = Examiner(self.settings)
        self._examiners.append(examiner)
        while not self._stop.is_set():
            with contextlib.ExitStack() as stack:
                with lock:
                    found = next(work, None)
                    if found is None:
                        break
                    item = stack.enter_context(unpacked(found[0], tars))
                self._offer(examiner.examine(item, found[1]))
        examiner.close()

    def _offer(self, found: Examined | BaseException | None) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._results.put(found, timeout=POLL)
                break

    def _end_examiners(self) -> None:
        for examiner in self._examiners:
            examiner.stop()

    def close(self) -> None:
        """End the examining processes."""
        self._stop.set()
        self._end_examiners()


_thread = threading.local()


def examine_here(settings: Settings, item: Item, known: str | None) -> Examined:
    """Examine an image in the examiner of this thread, on a worker of a cluster."""
    examiner: Examiner | None = getattr(_thread, "examiner", None)
    if examiner is None or examiner.settings != settings:
        if examiner is not None:
            examiner.close()
            _thread.tars.close()
        examiner = _thread.examiner = Examiner(settings)
        _thread.tars = Tars()
    with unpacked(item, _thread.tars) as here:
        return examiner.examine(here, known)


@dataclass(slots=True)
class ClusterEngine:
    """The workers of a running ``dask.distributed`` scheduler, which read the images themselves."""

    settings: Settings
    client: Any
    workers: int

    @classmethod
    def connect(cls, settings: Settings, address: str) -> ClusterEngine:
        """Use the scheduler at an address.

        Raises:
            InputError: nobody answers there.
        """
        distributed = require("distributed")
        try:
            client = distributed.Client(address, timeout=ANSWER, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"--cluster {address}: no scheduler answers ({type(error).__name__}); "
                "start one with: dask scheduler"
            ) from None
        return cls(settings, client, max(1, sum(client.nthreads().values())))

    def run(self, work: Iterable[Work]) -> Iterator[Examined]:
        """Results in the order in which they are ready."""
        distributed = require("distributed")
        source = iter(work)
        waiting: dict[Any, Item] = {}
        done = distributed.as_completed(loop=self.client.loop)

        def submit(count: int) -> None:
            for item, known in islice(source, count):
                future = self.client.submit(
                    examine_here, self.settings, item, known, pure=False, retries=RETRIES
                )
                waiting[future] = item
                done.add(future)

        submit(self.workers * IN_FLIGHT)
        while waiting:
            future = next(done)
            item = waiting.pop(future)
            submit(1)
            yield self._result(future, item)

    def _result(self, future: Any, item: Item) -> Examined:
        error = future.exception()
        if error is None:
            found: Examined = future.result()
            return found
        if isinstance(error, KhotoolError):
            raise error
        text = f"its workers were lost ({type(error).__name__})"
        return Examined(item.name, failed(item, "crash", text, self.settings))

    def close(self) -> None:
        """Leave the cluster; it runs on."""
        self.client.close()


def local_workers(wanted: int | None) -> int:
    """Processes of a local pool: as wanted, else one for each processor that may be used."""
    return wanted or len(os.sched_getaffinity(0))
