"""Garbage collection that does not stop the keys.

A full collection walks every object; with an image of millions of nodes that takes far longer
than a key may. A loaded image is therefore set apart (``gc.freeze``), and what little is made
afterwards is collected in full while the user rests, or after so many keys that waiting for a
rest would make that collection long. Younger objects are looked at less often than Python does:
nearly all of what a key makes is gone by then.
"""

from __future__ import annotations

import gc
import time

IDLE = 1.5
"""Seconds without a key after which there is time to collect."""
MANY = 40
"""Keys after which garbage is collected even while more of them come."""
YOUNG = 20_000
"""Objects made after which the young ones are collected."""
NEVER = 1 << 30

_before: tuple[int, int, int] | None = None
_last_key = 0.0
_keys = 0


def defer() -> None:
    """From now on full collections happen only in ``when_idle``."""
    global _before, _keys
    _keys = 0
    if _before is None:
        _before = gc.get_threshold()
        gc.set_threshold(YOUNG, _before[1], NEVER)


def restore() -> None:
    """Collect as before ``defer``."""
    global _before
    if _before is not None:
        gc.set_threshold(*_before)
        gc.unfreeze()
        _before = None


def freeze(*, again: bool = False) -> None:
    """Set what is loaded apart; ``again`` first frees the image it replaces."""
    if again:
        gc.unfreeze()
        gc.collect()
    gc.freeze()


def note_key() -> None:
    """The user is at work."""
    global _last_key, _keys
    _last_key, _keys = time.monotonic(), _keys + 1


def when_idle() -> bool:
    """Collect if there were keys, and there are none now, or many were; True if it did."""
    global _keys
    if not _keys or (_keys < MANY and time.monotonic() - _last_key < IDLE):
        return False
    _keys = 0
    gc.collect()
    return True
