"""Check folders of definition files: every mistake of every file at once."""

from __future__ import annotations

from importlib.resources.abc import Traversable

from khotool.abi.definition import AbiSet, Definition
from khotool.abi.folder import (
    NAMES_FILE,
    NOT_DEFINITIONS,
    SETS_FILE,
    definition_bytes,
    toml_files,
)
from khotool.abi.index import Registry
from khotool.abi.load import MAX_BYTES, DefinitionFile, read_definition
from khotool.abi.meaning import meaning_mistakes
from khotool.abi.names import read_name_sets
from khotool.abi.sets import read_sets
from khotool.records import replace
from khotool.structured import Document, Mistake, Path, StructuredError, read_document


def check_folder(folder: Traversable, known: Registry) -> tuple[int, list[Mistake]]:
    """Check every definition in a folder, or a single file.

    Files of sets and of names at its top are checked too, but are not definitions.

    Args:
        known: definitions that those of the folder may refer to.

    Returns:
        Number of definition files, and all mistakes, file by file in the order of their lines.
    """
    found = toml_files(folder) if folder.is_dir() else [(folder.name, definition_bytes(folder))]
    documents: dict[str, Document] = {}
    mistakes: dict[str, list[Mistake]] = {}
    definitions = 0
    for source, raw in sorted(found):
        definitions += source not in NOT_DEFINITIONS
        try:
            documents[source] = read_document(raw, source, limit=MAX_BYTES)
        except StructuredError as error:
            mistakes[source] = [replace(one, line=max(one.line, 1)) for one in error.mistakes]
    files = [
        read_definition(document)
        for source, document in documents.items()
        if source not in NOT_DEFINITIONS
    ]
    ids = known.definitions.keys() | {file.definition.id for file in files}
    _check_definitions(files, known, ids)
    if NAMES_FILE in documents:
        read_name_sets(documents[NAMES_FILE].root)
    if SETS_FILE in documents:
        _check_sets(documents[SETS_FILE], ids)
    for source, document in documents.items():
        document.close_tables()
        mistakes[source] = document.mistakes()
    return definitions, [mistake for source in sorted(mistakes) for mistake in mistakes[source]]


def _check_definitions(files: list[DefinitionFile], known: Registry, ids: set[str]) -> None:
    for file in files:
        _check_uses(file, ids)
    registry = Registry([*known, *(file.definition for file in files)])
    seen: dict[str, str] = {}
    for file in files:
        definition, document = file.definition, file.document
        if not definition.id or document.is_wrong(("id",)):
            continue
        if definition.id in seen:
            document.add(("id",), f"{definition.id!r} is defined in {seen[definition.id]} too")
        seen[definition.id] = document.name
        _check_meaning(file, registry)


def _check_uses(file: DefinitionFile, ids: set[str]) -> None:
    """Note what is used but not defined, and go on without it."""
    uses = file.definition.uses
    for number, used in enumerate(uses):
        if used not in ids and not file.document.is_wrong(("uses", number)):
            file.document.add(("uses", number), f"uses {used!r}, which is not defined")
    there = tuple(used for used in uses if used in ids)
    file.definition = replace(file.definition, uses=there)


def _check_meaning(file: DefinitionFile, registry: Registry) -> None:
    """Note what does not hold, except for consequences of mistakes noted before."""
    wrong = _wrong_layouts(file)
    is_wrong = file.document.is_wrong
    known = not is_wrong(("uses",))
    # Decided before the first of them is noted: they are not consequences of each other.
    found = [
        (path, message)
        for path, message in meaning_mistakes(file.definition, registry, all_structs=known)
        if not (path[0] == "struct" and path[1] in wrong) and (len(path) == 2 or not is_wrong(path))
    ]
    for path, message in found:
        file.add_mistake(path, message)


def _wrong_layouts(file: DefinitionFile) -> set[str]:
    """Structs whose layout or size has a mistake, and those that embed one."""
    structs = file.definition.structs
    is_wrong = file.document.is_wrong
    parts = ("layout", "size", "packed")
    wrong = {name for name in structs if any(is_wrong(("struct", name, key)) for key in parts)}
    embeds = {name: _embedded(file.definition, name) for name in structs}
    for _ in structs:
        more = {name for name in structs if embeds[name] & wrong}
        if more <= wrong:
            break
        wrong |= more
    return wrong


def _embedded(definition: Definition, name: str) -> set[str]:
    fields = definition.structs[name].fields
    return {field.type.struct for field in fields if field.type is not None}


def _check_sets(document: Document, ids: set[str]) -> None:
    for number, abi in enumerate(read_sets(document)):
        for path, identifier in _named(abi):
            here = ("set", number, *path)
            if identifier and identifier not in ids and not document.is_wrong(here):
                document.add(here, f"names {identifier!r}, which is not defined")


def _named(abi: AbiSet) -> list[tuple[Path, str]]:
    """Paths within a set, and the definitions that they name."""
    found: list[tuple[Path, str]] = [(("root",), abi.root)]
    found += [(("entries", name), identifier) for name, identifier in abi.entries.items()]
    found += [(("layouts", identifier), identifier) for identifier in abi.layouts]
    for key, values in (("nodes", abi.nodes), ("files", abi.files), ("flbs", abi.flbs)):
        found += [((key, number), identifier) for number, identifier in enumerate(values)]
    return found
