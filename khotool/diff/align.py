"""Pair what two lists have in common, and find what moved."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def numbered(keys: Sequence[Key]) -> list[tuple[Key, int]]:
    """Keys made distinct: each with how often it occurred before."""
    seen: dict[Key, int] = {}
    result = []
    for key in keys:
        count = seen.get(key, 0)
        seen[key] = count + 1
        result.append((key, count))
    return result


def paired(
    old: Sequence[Key], new: Sequence[Key]
) -> tuple[list[tuple[Key, int]], list[tuple[Key, int]]]:
    """Keys of two lists made distinct; of a repeated key, those at one place correspond.

    What has no partner at its own place takes the first one that is left.
    """
    if len(set(old)) == len(old) and len(set(new)) == len(new):
        return [(key, 0) for key in old], [(key, 0) for key in new]
    left = numbered(old)
    counts: dict[Key, int] = {}
    for key in old:
        counts[key] = counts.get(key, 0) + 1
    numbers: list[int | None] = [
        left[at][1] if at < len(old) and old[at] == key else None for at, key in enumerate(new)
    ]
    used = {(key, number) for key, number in zip(new, numbers, strict=True) if number is not None}
    following: dict[Key, int] = {}
    right = []
    for key, number in zip(new, numbers, strict=True):
        if number is None:
            number = following.get(key, 0)
            while number < counts.get(key, 0) and (key, number) in used:
                number += 1
            following[key] = number + 1
        right.append((key, number))
    return left, right


def moved(old: Sequence[Key], new: Sequence[Key]) -> list[tuple[Key, int, int]]:
    """The fewest keys whose move explains a new order.

    Args:
        old: distinct keys.
        new: the same keys in their new order.

    Returns:
        Key, position in ``old``, position in ``new``.
    """
    place = {key: index for index, key in enumerate(new)}
    order = [place[key] for key in old]
    kept = set(longest_ascending(order))
    return [(key, at, place[key]) for at, key in enumerate(old) if at not in kept]


def longest_ascending(values: Sequence[int]) -> list[int]:
    """Indexes of a longest ascending subsequence of distinct numbers."""
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, value in enumerate(values):
        at = bisect_left(tails, value)
        before.append(ends[at - 1] if at else -1)
        if at == len(tails):
            tails.append(value)
            ends.append(index)
        else:
            tails[at], ends[at] = value, index
    result: list[int] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        result.append(index)
        index = before[index]
    return result[::-1]
