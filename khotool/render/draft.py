"""A draft of a definition as TOML, for its author to complete."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from khotool.abi.definition import Kind
from khotool.abi.registry import Registry
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


def _lines(
    structs: list[DraftStruct], identifier: str, kind: Kind, release: str | None, source: str
) -> Iterator[str]:
    content = structs[0]
    of = f" of Linux {release}" if release else ""
    yield f"# Drafted by khotool formats import from {_printable(source)}{_printable(of)}."
    yield "# Offsets, sizes and names are the kernel's; a role that is a guess says so."
    yield f"id = {_string(identifier)}"
    yield f"title = {_string(f'struct {content.name}')}"
    yield f'kind = "{kind}"'
    yield f"content = {_string(content.name)}"
    yield 'status = "local"'
    if release:
        first = ".".join(release.split("-")[0].split(".")[:2])
        yield f'releases = {{ first = {_string(first)}, last = "" }}'
    if kind in MATCHES:
        yield f"match = {{ {MATCHES[kind]} = {_string(identifier)} }}"
    for struct in structs:
        yield ""
        yield from _struct(struct)


def _struct(struct: DraftStruct) -> Iterator[str]:
    yield f"[struct.{struct.name}]"
    for note in struct.notes:
        yield f"# {_printable(note)}"
    if not struct.packed:
        yield "packed = false"
    yield "fields = ["
    for field in struct.fields:
        yield from _field(field)
    yield "]"
    yield f"size = {_string('page') if struct.page else struct.size}"


def _field(field: DraftField) -> Iterator[str]:
    *above, last = field.notes or ("",)
    if last and not last.startswith("role "):
        above, last = [*above, last], ""
    for note in above:
        yield f"  # {_printable(note)}"
    tail = f"  # {_printable(last)}" if last else ""
    if field.parts:
        yield f'  {{ bits = "{field.type}", parts = ['
        for name, width in field.parts:
            unused = name.startswith("unused_")
            role = "" if unused else guess(name)
            more = f', role = "{role}"' if role else ", reserved = true" if unused else ""
            why = f"  # role {role}: a guess from the name" if role else ""
            yield f"    {{ name = {_string(name)}, width = {width}{more} }},{why}"
        yield "  ] },"
        return
    keys = [f"name = {_string(field.name)}", f"type = {_string(field.type)}"]
    if field.fill:
        keys.append('fill = "page"')
    if field.role:
        keys.append(f'role = "{field.role}"')
    if field.enum:
        named = ", ".join(f"{name} = {_number(value)}" for name, value in field.enum)
        keys.append(f"enum = {{ {named} }}")
    if field.reserved:
        keys.append("reserved = true")
    yield f"  {{ {', '.join(keys)} }},{tail}"


def _number(value: int) -> str:
    # TOML integers end at 2^63 - 1.
    return str(value) if value < 1 << 63 else f'"{value:#x}"'


def _string(text: str) -> str:
    return json.dumps(text.encode("utf-8", "replace").decode()).replace("\x7f", "\\u007f")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
