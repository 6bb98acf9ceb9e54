"""A smaller input with the same fault."""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 2000
SECONDS = 60.0


def minimise(
    data: bytes, fails: Callable[[bytes], bool], tries: int = TRIES, seconds: float = SECONDS
) -> bytes:
    """Leave out pieces, large ones first, then set bytes to zero, as long as it still fails.

    Args:
        fails: whether an input has the fault that ``data`` has.
        tries: calls of ``fails`` at most.
        seconds: after which nothing more is tried.
    """
    end = time.monotonic() + seconds
    left = tries

    def try_one(candidate: bytes) -> bool:
        nonlocal left
        if left <= 0 or time.monotonic() > end:
            return False
        left -= 1
        return fails(candidate)

    size = len(data) // 2
    while size and left > 0:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if try_one(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    size = len(data) // 2
    while size and left > 0:
        for at in range(0, len(data), size):
            piece = bytes(len(data[at : at + size]))
            plain = data[:at] + piece + data[at + size :]
            if plain != data and try_one(plain):
                data = plain
        size //= 2
    return data
