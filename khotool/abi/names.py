"""Named sets of flags and enums, and constants, that fields of definitions refer to.

A definition file has its own; ``formats/names.toml`` has those that several definitions share.
"""

from __future__ import annotations

from functools import cache

from khotool.abi.folder import NAMES_FILE, builtin_formats
from khotool.records import dataclass, field
from khotool.structured import Table, read_document

LOWEST = -(1 << 63)
"""Lowest integer of a definition."""


@dataclass(frozen=True, slots=True)
class NameSets:
    """Names with their values.

    Args:
        flags: names of bits, by name of the set.
        enums: names of values, by name of the set.
        constants: values of names that lengths and widths in C refer to.
    """

    flags: dict[str, dict[str, int]] = field(default_factory=dict)
    enums: dict[str, dict[str, int]] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)


def read_name_sets(top: Table) -> NameSets:
    """The sets of a file: tables ``[flags.NAME]`` and ``[enum.NAME]``, and ``[constants]``."""
    flags, enums = top.table("flags"), top.table("enum")
    return NameSets(
        {name: flags.named_integers(name, least=LOWEST) for name in flags},
        {name: enums.named_integers(name, least=LOWEST) for name in enums},
        top.named_integers("constants"),
    )


@cache
def shared_names() -> NameSets:
    """The sets that khotool ships for all definitions."""
    document = read_document(builtin_formats().joinpath(NAMES_FILE).read_bytes(), NAMES_FILE)
    names = read_name_sets(document.root)
    document.finish()
    return names
