"""khotool: decode, encode, diff and validate Linux kexec handover images.

``khotool.open`` is the way in for scripts; docs/reference/api.md has all of it. Importing this
package loads nothing but itself: a name is looked up when it is first used.
"""

# ruff: noqa: F403, F405 -- __all__ has the names of khotool.api, which are looked up late

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from khotool.api import *

__all__ = [
    "Absent",
    "Change",
    "Comparison",
    "DefinitionError",
    "EncodeError",
    "Entry",
    "File",
    "Finding",
    "Flb",
    "Folios",
    "InputError",
    "Keyed",
    "KhotoolError",
    "Limits",
    "Luo",
    "Memory",
    "MissingError",
    "OpenImage",
    "Outcome",
    "PageRange",
    "Phase",
    "Plan",
    "Reason",
    "Record",
    "Region",
    "Rows",
    "Rule",
    "Session",
    "Severity",
    "Subsystem",
    "UsageError",
    "Value",
    "Verdict",
    "Written",
    "open",
    "rule",
]


if not TYPE_CHECKING:  # A type checker is to see the names above and no others.

    def __getattr__(name: str) -> object:
        if name in __all__:
            from khotool import api

            return getattr(api, name)
        raise AttributeError(f"module 'khotool' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
