"""Where definitions come from: khotool itself, installed packages, and the user's folders.

What khotool ships has to be right. A fault in anything else that is merely there, unlike a folder
that a command line names, is reported and left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType

from khotool.abi.cache import compile_texts
from khotool.abi.definition import AbiSet, Definition
from khotool.abi.folder import definition_bytes, toml_files
from khotool.abi.index import Origin, Registry
from khotool.errors import DefinitionError, InputError
from khotool.plugins import Plugin, plugins, report, said
from khotool.records import dataclass

GROUP = "khotool.formats"
"""Entry points that name definitions."""
VARIABLE = "KHOTOOL_FORMATS"
"""Environment variable that names further folders, separated as in PATH."""


@dataclass(frozen=True, slots=True)
class Source:
    """Definitions from one place that is neither shipped nor named by ``--formats``.

    Args:
        name: begins each problem.
        folders: folders of definitions, or single files.
    """

    origin: Origin
    name: str
    folders: tuple[Traversable, ...]


def user_folders() -> tuple[str, ...]:
    """Folders of the user's definitions: in the configuration, then those of the variable."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.config")
    own = os.path.join(base, "khotool", "formats")
    found = [own] if os.path.isdir(own) else []
    for folder in os.environ.get(VARIABLE, "").split(os.pathsep):
        if folder and not os.path.isdir(folder):
            report(f"{VARIABLE}: {folder}: no such folder; not used")
        elif folder:
            found.append(folder)
    return tuple(found)


def installed(shipped: Registry, folders: Iterable[str]) -> Registry:
    """The shipped definitions, those of packages, and those of the user's folders.

    A later one replaces an earlier one of the same id. Nothing that is wrong with them is raised.
    """
    registry = shipped
    for source in _sources(folders):
        registry = _extended(registry, source)
    return registry


def _sources(folders: Iterable[str]) -> Iterator[Source]:
    for plugin in plugins(GROUP):
        loaded = plugin.load()
        if loaded is not None:
            found = tuple(_folders_of(plugin, loaded))
            yield Source(Origin("package", plugin.package), f"package {plugin.package}", found)
    for folder in folders:
        yield Source(Origin("user", folder), folder, (Path(folder),))


def _folders_of(plugin: Plugin, loaded: object) -> Iterator[Traversable]:
    """Folders and files that an entry point names."""
    if isinstance(loaded, ModuleType):
        package = loaded.__name__ if hasattr(loaded, "__path__") else loaded.__package__
        if package:
            yield files(package)
        else:
            plugin.report("a module outside of a package has no files of its own")
        return
    if not callable(loaded):
        plugin.report(f"expected a package or a callable, found {type(loaded).__name__}")
        return
    try:
        given = loaded()
        several = isinstance(given, Iterable) and not isinstance(given, str | Traversable)
        items = list(given) if several else [given]
    except (Exception, SystemExit) as error:
        plugin.report(said(error))
        return
    for item in items:
        if isinstance(item, str | os.PathLike):
            yield Path(item)
        elif isinstance(item, Traversable):
            yield item
        else:
            plugin.report(f"returned {type(item).__name__}, which is not a path")


def _extended(known: Registry, source: Source) -> Registry:
    """A registry with the definitions of a source that hold."""
    definitions: dict[str, Definition] = {}
    sets: list[AbiSet] = []
    for name, text in _texts(source):
        try:
            found, found_sets = compile_texts([(name, text)])
        except DefinitionError as error:
            report(f"{source.name}: {error}; not used")
            continue
        definitions.update({definition.id: definition for definition in found})
        sets += found_sets
    while fault := _first_fault(known, definitions):
        identifier, why = fault
        report(f"{source.name}: {definitions.pop(identifier).source}: {why}; not used")
    registry = known.extended((definition, source.origin) for definition in definitions.values())
    for abi in sets:
        try:
            registry = registry.extended((), [abi])
        except DefinitionError as error:
            report(f"{source.name}: {error}; not used")
    return registry


def _texts(source: Source) -> Iterator[tuple[str, bytes]]:
    for folder in source.folders:
        try:
            if folder.is_dir():
                yield from sorted(toml_files(folder))
            else:
                yield folder.name, definition_bytes(folder)
        except InputError as error:
            report(f"{source.name}: {error}; not used")
        except OSError as error:
            report(f"{source.name}: {folder}: {error.strerror or said(error)}; not used")


def _first_fault(known: Registry, definitions: dict[str, Definition]) -> tuple[str, str] | None:
    """A definition that cannot be used with those before it, and why."""
    from khotool.abi.meaning import meaning_mistakes
    from khotool.structured import key_text

    ids = known.definitions.keys() | definitions.keys()
    for definition in definitions.values():
        for used in definition.uses:
            if used not in ids:
                return definition.id, f"uses {used!r}, which is not defined"
    registry = known.extended((definition, Origin("user")) for definition in definitions.values())
    for definition in definitions.values():
        for path, message in meaning_mistakes(definition, registry):
            return definition.id, f"{key_text(path)}: {message}"
    # One that replaces another may lack what others use.
    for definition in known:
        replaced = [used for used in definition.uses if used in definitions]
        if replaced and definition.id not in definitions:
            for _, message in meaning_mistakes(definition, registry):
                return replaced[0], f"{definition.id} needs the one it replaces: {message}"
    return None
