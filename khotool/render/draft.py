"""A draft of a definition as TOML, for its author to complete."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from khotool.abi.c_text import aligned, declared
from khotool.abi.definition import Kind
from khotool.abi.registry import Registry
from khotool.abi.types import parse_type
from khotool.authoring.c_header import HeaderDrafter, HeaderStruct
from khotool.authoring.draft import MOST_BYTES
from khotool.authoring.draft_layout import DraftField, DraftStruct, guess

MATCHES = {
    Kind.ROOT: "compatible",
    Kind.ENTRY: "entry",
    Kind.NODE: "compatible",
    Kind.FILE: "compatible",
    Kind.FLB: "name",
}
"""Key of ``match`` that selects a definition of a kind; other kinds are pointed to."""
QUOTES = '"' * 3
LEADS = "leads to "
"""Begins the note of a pointer whose target the author has to describe."""
GUESSED = "role "
"""Begins the note of a field whose role is a guess."""


def draft_text(
    structs: Iterable[DraftStruct], identifier: str, kind: Kind, release: str | None, source: str
) -> str:
    """The definition file.

    Args:
        structs: the first is the content; those used from other definitions left out.
        release: of the kernel, if it is known.
        source: name of the file that the structs were read from.
    """
    return "\n".join(_lines(list(structs), identifier, kind, release, source)) + "\n"


def split_known(
    drafts: Iterable[DraftStruct], wanted: Iterable[str], known: Registry
) -> tuple[list[DraftStruct], dict[str, str]]:
    """Structs that the draft holds, and those that a structure of khotool already describes.

    Returns:
        The first list in order, wanted structs first; and definition ids by name of struct.
    """
    names = list(wanted)
    others: list[DraftStruct] = []
    uses: dict[str, str] = {}
    found = {draft.name: draft for draft in drafts if 0 < draft.size <= MOST_BYTES}
    for name, draft in found.items():
        owner = None if name in names else _owner(name, draft, known)
        if owner is not None:
            uses[name] = owner
        elif name not in names:
            others.append(draft)
    return [*(found[name] for name in dict.fromkeys(names)), *others], uses


def _owner(name: str, draft: DraftStruct, known: Registry) -> str | None:
    for definition in known:
        struct = definition.structs.get(name)
        if definition.kind is Kind.STRUCTURE and struct is not None:
            same = draft.page if struct.size == "page" else struct.size == draft.size
            if same:
                return definition.id
    return None


def with_uses(text: str, uses: Iterable[str]) -> str:
    """The definition with the ids of structures that it embeds."""
    names = ", ".join(map(_string, sorted(set(uses))))
    return text.replace("\n\n", f"\nuses = [{names}]\n\n", 1) if names else text


def header_draft_text(drafter: HeaderDrafter, identifier: str, kind: Kind, source: str) -> str:
    """The definition file of structs that were taken from a C header.

    Args:
        drafter: with the struct of the content first.
        source: path of the header.
    """
    lines = [
        f"# Drafted by khotool formats import from {_printable(source)}.",
        "# The layouts are the header's; a role that is a guess says so.",
        *_head(next(iter(drafter.done)), identifier, kind, None),
    ]
    if drafter.uses:
        lines.append(f"uses = [{', '.join(map(_string, sorted(set(drafter.uses.values()))))}]")
    if drafter.constants:
        lines += ["", "[constants]"]
        lines += [f"{name} = {value}" for name, value in drafter.constants.items()]
    for struct in drafter.done.values():
        lines += ["", *_header_struct(struct)]
    return "\n".join(lines) + "\n"


def _header_struct(struct: HeaderStruct) -> Iterator[str]:
    yield f"[struct.{struct.name}]"
    if struct.doc:
        yield f"doc = {_string(struct.doc)}"
    yield f"size = {_string('page') if struct.size == 'page' else struct.size}"
    if not struct.packed:
        yield "packed = false"
    yield f"layout = {QUOTES}"
    text = "".join(c if c.isprintable() or c == "\n" else "?" for c in struct.layout)
    # A backslash would be an escape in TOML.
    yield text.replace("\\", "/").replace(QUOTES, "'" * 3)
    yield QUOTES
    if struct.roles:
        yield ""
        yield f"[struct.{struct.name}.fields]"
        width = max(map(len, struct.roles))
        for name, role in struct.roles.items():
            yield f'{name:<{width}} = {{ role = "{role}" }}  # a guess from the name'


def _lines(
    structs: list[DraftStruct], identifier: str, kind: Kind, release: str | None, source: str
) -> Iterator[str]:
    of = f" of Linux {release}" if release else ""
    yield f"# Drafted by khotool formats import from {_printable(source)}{_printable(of)}."
    yield "# Offsets, sizes and names are the kernel's; a role that is a guess says so."
    yield from _head(structs[0].name, identifier, kind, release)
    for struct in structs:
        yield ""
        yield from _struct(struct)


def _head(content: str, identifier: str, kind: Kind, release: str | None) -> Iterator[str]:
    yield f"id = {_string(identifier)}"
    yield f"title = {_string(f'struct {content}')}"
    yield f'kind = "{kind}"'
    yield f"content = {_string(content)}"
    yield 'status = "local"'
    if release:
        first = ".".join(release.split("-")[0].split(".")[:2])
        yield f'releases = {{ first = {_string(first)}, last = "" }}'
    if kind in MATCHES:
        yield f"match = {{ {MATCHES[kind]} = {_string(identifier)} }}"


def _struct(struct: DraftStruct) -> Iterator[str]:
    yield f"[struct.{struct.name}]"
    for note in struct.notes:
        yield f"# {_printable(note)}"
    yield f"size = {_string('page') if struct.page else struct.size}"
    if not struct.packed:
        yield "packed = false"
    yield 'layout = """'
    yield from aligned(row for field in struct.fields for row in _declarations(field))
    yield '"""'
    meanings = [row for field in struct.fields for row in _meanings(struct.name, field)]
    if meanings:
        yield ""
        yield f"[struct.{struct.name}.fields]"
        width = max(len(name) for name, _, _ in meanings)
        for name, keys, why in meanings:
            yield f"{name:<{width}} = {{ {keys} }}{f'  # {why}' if why else ''}"
    for field in struct.fields:
        if field.enum:
            yield ""
            yield f"[enum.{struct.name}_{field.name}]"
            yield from (f"{name} = {_number(value)}" for name, value in field.enum)


def _declarations(field: DraftField) -> Iterator[tuple[str, str]]:
    """Members in C, with what the author has to know as their comments."""
    notes = [note for note in field.notes if not note.startswith((GUESSED, LEADS))]
    # A backslash would be an escape in TOML.
    doc = "; ".join(notes).replace("\\", "/").replace('"', "'")
    if field.parts:
        yield from ((f"{field.type} {name} : {width};", "") for name, width in field.parts)
        return
    fill = ""
    if field.fill:
        fill = f"(PAGE_SIZE - {field.offset})" if field.offset else "PAGE_SIZE"
    yield declared(parse_type(field.type), field.name, fill), doc


def _meanings(struct: str, field: DraftField) -> Iterator[tuple[str, str, str]]:
    """Name, keys and the origin of a guess, of each member of a struct that has a meaning."""
    for name, _ in field.parts:
        unused = name.startswith("unused_")
        role = "" if unused else guess(name)
        if role:
            yield name, f'role = "{role}"', "a guess from the name"
        elif unused:
            yield name, "reserved = true", ""
    keys = [f'role = "{field.role}"'] if field.role else []
    if field.enum:
        keys.append(f'enum = "{struct}_{field.name}"')
    if field.reserved:
        keys.append("reserved = true")
    if keys:
        guessed = [note.partition(": ")[2] for note in field.notes if note.startswith(GUESSED)]
        leads = [_printable(note) for note in field.notes if note.startswith(LEADS)]
        yield field.name, ", ".join(keys), next(iter([*leads, *guessed]), "")


def _number(value: int) -> str:
    # TOML integers end at 2^63 - 1.
    return str(value) if value < 1 << 63 else f'"{value:#x}"'


def _string(text: str) -> str:
    return json.dumps(text.encode("utf-8", "replace").decode()).replace("\x7f", "\\u007f")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
