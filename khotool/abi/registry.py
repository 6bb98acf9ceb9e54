"""The registry of definitions: those that khotool ships, and those of packages and users.

Other rooms import this module; the modules of `khotool.abi` import `khotool.abi.index`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

from khotool.abi.cache import compile_texts, load_shipped
from khotool.abi.definition import AbiSet, Definition
from khotool.abi.folder import SETS_FILE, builtin_formats, toml_files
from khotool.abi.index import MAX_NESTING, SHIPPED, Origin, Registry
from khotool.abi.sources import installed, user_folders
from khotool.errors import DefinitionError, UsageError

__all__ = [
    "MAX_NESTING",
    "SETS_FILE",
    "SHIPPED",
    "Origin",
    "Registry",
    "builtin_formats",
    "load_registry",
    "shipped_registry",
    "toml_files",
]


def load_registry(folders: Iterable[str | Path] = ()) -> Registry:
    """All definitions: shipped, of installed packages, of the user's folders, of ``folders``.

    A later one replaces an earlier one of the same id. What is wrong with packages and the user's
    folders is reported to ``khotool.plugins`` and left out.

    Raises:
        DefinitionError: a file of ``folders`` is wrong; names file, key and reason.
        UsageError: one of ``folders`` does not exist.
    """
    registry = _installed_registry(user_folders())
    added: dict[str, tuple[Definition, Origin]] = {}
    sets: list[AbiSet] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UsageError(f"--formats {folder}: no such folder")
        try:
            found, found_sets = compile_texts(sorted(toml_files(folder)))
        except DefinitionError as error:
            where = str(folder / error.where)
            raise DefinitionError(where, error.reason, error.mistakes) from None
        added.update({d.id: (d, Origin("folder", str(folder))) for d in found})
        sets += found_sets
    return registry.extended(added.values(), sets) if added or sets else registry


@cache
def shipped_registry() -> Registry:
    """The definitions that khotool ships, and no others."""
    return Registry(*load_shipped())


@lru_cache(maxsize=4)
def _installed_registry(folders: tuple[str, ...]) -> Registry:
    return installed(shipped_registry(), folders)
