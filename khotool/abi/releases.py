"""Kernel releases: how they are written, how they compare, and what each one speaks."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from khotool.abi.definition import AbiSet
from khotool.errors import UsageError
from khotool.records import dataclass

FINAL = 1 << 30
"""In place of the number of a release candidate: later than all of them."""
_RELEASE = re.compile(
    r"v?([0-9]{1,9})\.([0-9]{1,9})(?:\.[0-9]+)?(?:[-~.](?:0\.)?rc([0-9]{1,9}))?(?![0-9A-Za-z])"
)


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """A kernel release as far as an ABI can depend on it; stable updates do not count.

    Args:
        major, minor: ``7`` and ``1`` of ``7.1.13``.
        rc: number of the release candidate, ``FINAL`` for none.
    """

    major: int
    minor: int
    rc: int = FINAL

    @classmethod
    def parse(cls, text: str) -> Release | None:
        """A release as people write it or ``uname -r`` prints it; None if it is not one.

        Examples are ``7.3``, ``v7.3.4``, ``7.1-rc1``, ``7.1.0-rc1-00012-g0123abc`` and
        ``6.19.11-arch1``.
        """
        found = _RELEASE.match(text)
        if found is None:
            return None
        major, minor, rc = found.groups()
        return cls(int(major), int(minor), FINAL if rc is None else int(rc))

    @property
    def final(self) -> Release:
        """The release that a candidate leads to."""
        return Release(self.major, self.minor)

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}"
        return text if self.rc == FINAL else f"{text}-rc{self.rc}"


NEVER = Release(1 << 30, 0)
"""In place of a last release where there is none."""


def span(first: str, last: str) -> tuple[Release, Release] | None:
    """First and last release of a definition or set, both included; None where it has none.

    Args:
        first, last: releases; an empty last is open.
    """
    low = Release.parse(first)
    high = Release.parse(last) if last else NEVER
    return None if low is None or high is None else (low, high)


def find_set(release: Release, sets: Mapping[str, AbiSet]) -> AbiSet | None:
    """The set of a kernel release; None if none has it.

    A release candidate that no set names is taken for the release it leads to.
    """
    for wanted in (release, release.final):
        for abi in sets.values():
            ends = span(abi.first, abi.last)
            if ends is not None and ends[0] <= wanted <= ends[1]:
                return abi
    return None


def set_of(name: str, sets: Mapping[str, AbiSet]) -> AbiSet:
    """The set of a kernel release.

    Raises:
        UsageError: not a release, or none that a set has; names the nearest.
    """
    release = Release.parse(name)
    found = find_set(release, sets) if release is not None else None
    if found is None:
        raise UsageError(unknown_release(name, sets))
    return found


def unknown_release(name: str, sets: Mapping[str, AbiSet]) -> str:
    """The message of every command for a release that no set has, or any unknown name."""
    ends = sorted(
        (release, text)
        for abi in sets.values()
        for text in (abi.first, abi.last)
        if (release := Release.parse(text)) is not None
    )
    if not ends:
        return f"unknown kernel release {name!r}; no ABI set has a release"
    release = Release.parse(name)
    if release is None:
        named = {*sets, *(abi.root for abi in sets.values()), *(text for _, text in ends)}
        near = difflib.get_close_matches(name, sorted(named), 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {ends[0][1]} to {ends[-1][1]}"
        return f"unknown kernel release or ABI set {name!r}; {hint}"
    nearest = next((text for known, text in reversed(ends) if known <= release), ends[0][1])
    return f"unknown kernel release {name!r}; the nearest that khotool knows is {nearest}"
