"""Spread the work of a scan: over processes of this machine, or over a running cluster.

Both are dask: its scheduler for threads, each with an examining process of its own, or the
scheduler of ``dask.distributed`` that an address names. Results come as they are ready.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

from khotool.errors import InputError, KhotoolError
from khotool.fleet.examiner import Examined, Examiner
from khotool.fleet.extra import require
from khotool.fleet.inputs import Item
from khotool.fleet.settings import Settings
from khotool.records import dataclass

Work = tuple[Item, str | None]
"""An image, and its digest in an earlier scan with the same settings."""
WINDOW = 2048
"""Images whose tasks are known to the local scheduler at a time."""
IN_FLIGHT = 8
"""Images a worker of a cluster has been given, so that it never waits."""
RETRIES = 3
"""Workers that may be lost with an image before it is taken for the cause."""


class Engine(Protocol):
    """Examines images side by side."""

    workers: int

    def run(self, work: Iterable[Work]) -> Iterator[Examined]:
        """Results in the order in which they are ready."""
        ...

    def close(self) -> None:
        """End what was started for the scan."""
        ...


_thread = threading.local()


def examine_here(settings: Settings, item: Item, known: str | None) -> Examined:
    """Examine an image in the examiner of this thread."""
    examiner: Examiner | None = getattr(_thread, "examiner", None)
    if examiner is None or examiner.settings != settings:
        if examiner is not None:
            examiner.close()
        examiner = _thread.examiner = Examiner(settings)
        _examiners.append(examiner)
    return examiner.examine(item, known)


_examiners: list[Examiner] = []


@dataclass(slots=True)
class LocalEngine:
    """A pool of processes on this machine."""

    settings: Settings
    workers: int

    def run(self, work: Iterable[Work]) -> Iterator[Examined]:
        """Results in the order in which they are ready."""
        dask = require("dask")
        results: queue.SimpleQueue[Examined | BaseException | None] = queue.SimpleQueue()
        stop = threading.Event()

        def one(item: Item, known: str | None) -> None:
            if not stop.is_set():
                results.put(examine_here(self.settings, item, known))

        def feed() -> None:
            try:
                source = iter(work)
                while (window := list(islice(source, WINDOW))) and not stop.is_set():
                    tasks = [dask.delayed(one, pure=False)(item, known) for item, known in window]
                    dask.compute(*tasks, scheduler="threads", num_workers=self.workers)
                results.put(None)
            except BaseException as error:
                results.put(error)

        feeder = threading.Thread(target=feed, name="scan", daemon=True)
        feeder.start()
        try:
            while (found := results.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            stop.set()

    def close(self) -> None:
        """End the examining processes."""
        while _examiners:
            _examiners.pop().close()


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
            client = distributed.Client(address, timeout="5s", set_as_default=False)
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
        from khotool.fleet.examine import error_row

        text = f"its workers were lost ({type(error).__name__})"
        row = error_row(item, None, "crash", text, 0.0, self.settings.scan)
        return Examined(item.name, {"images": [row]})

    def close(self) -> None:
        """Leave the cluster; it runs on."""
        self.client.close()


def local_workers(wanted: int | None) -> int:
    """Processes of a local pool: as wanted, else one for each processor that may be used."""
    return wanted or len(os.sched_getaffinity(0))
