"""The terminal may go away: a closed window, a lost connection, a stopped tmux server.

Textual's input thread then reads an empty string over and over, and its orderly end waits for a
terminal that no longer answers; so the process has to notice, and to end by itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading

HUNG_UP = 128 + signal.SIGHUP
GRACE = 1.5
"""Seconds that an orderly end may take once the terminal is gone."""


def is_gone(fileno: int | None = None) -> bool:
    """Whether whatever typed into standard input, or a different file, has hung up."""
    try:
        poll = select.poll()
        poll.register(sys.__stdin__.fileno() if fileno is None and sys.__stdin__ else fileno or 0)
        found = poll.poll(0)
    except (OSError, ValueError):
        return True
    return any(flags & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, flags in found)


def end_soon() -> None:
    """End the process in a moment, whatever state it is in."""
    timer = threading.Timer(GRACE, os._exit, (HUNG_UP,))
    timer.daemon = True
    with contextlib.suppress(RuntimeError):
        timer.start()
