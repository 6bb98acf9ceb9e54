"""A struct as C text, in the form that a definition's layout has."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator

from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.abi.definition import Field, FieldType

WIDTH = 100
"""Columns of a line."""
MAX_COLUMN = 48
"""Column of comments after members, at most."""


def struct_lines(
    compiled: CompiledStruct, page: str = "PAGE", meaning: Callable[[Field], str] | None = None
) -> list[str]:
    """Members of a struct with their comments.

    Args:
        page: begins the names of the page size and shift, ``PAGE_SIZE`` and ``PAGE_SHIFT``.
        meaning: the text of a member's comment; by default what the definition says it is.
    """
    rows = [
        (code, meaning(field) if meaning is not None else field.doc)
        for _, field, code in declarations(compiled, page)
    ]
    return aligned(rows)


def declarations(
    compiled: CompiledStruct, page: str = "PAGE"
) -> Iterator[tuple[PlacedField | None, Field, str]]:
    """Each member, or bit-field of a word, with its declaration.

    The place is None for arrays of open length at the end.
    """
    for placed in compiled.fields:
        field = placed.field
        for number, part in enumerate(field.parts):
            width = _width(field.parts, number, placed.size * 8, page)
            yield placed, part, f"{base_type(field.type)} {part.name} : {width};"
        if not field.parts:
            assert field.type is not None
            yield placed, field, declared(field.type, field.name, _room(placed, page))
    for tail, _ in compiled.tails:
        assert tail.type is not None
        yield None, tail, declared(tail.type, tail.name)


def base_type(kind: FieldType | None) -> str:
    """The type of a field in C, without the length of an array."""
    if kind is None:
        return "u64"
    if kind.struct:
        return f"struct {kind.struct}"
    if kind.kind == "int":
        return f"{'__be' if kind.big else 's' if kind.signed else 'u'}{kind.size * 8}"
    return "char" if kind.kind == "char" else "u8"


def declared(kind: FieldType, name: str, fill: str = "") -> str:
    """The declaration of a member that is not a bit-field.

    Args:
        fill: of an array up to the end of the page, the bytes of that, as C.
    """
    base = base_type(kind)
    length = str(kind.count or (kind.size if kind.kind in ("char", "bytes") else ""))
    if fill:
        length = f"{fill} / sizeof({base})"
    is_array = fill or kind.count or kind.kind in ("char", "bytes", "array")
    return f"{base} {name}{f'[{length}]' if is_array else ''};"


def _room(placed: PlacedField, page: str) -> str:
    if not placed.field.fill:
        return ""
    return f"({page}_SIZE - {placed.offset})" if placed.offset else f"{page}_SIZE"


def _width(parts: tuple[Field, ...], number: int, bits: int, page: str) -> str:
    width = parts[number].width
    if width == "page_shift":
        return f"{page}_SHIFT"
    if width != "rest":
        return str(width)
    before = [part.width for part in parts[:number]]
    fixed = sum(used for used in before if isinstance(used, int))
    shifts = [f" - {page}_SHIFT" for used in before if used == "page_shift"]
    return f"{bits - fixed}{''.join(shifts)}"


def aligned(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Declarations with their comments: in a column to the right where they fit, else above."""
    rows = list(rows)
    column = max((len(code) for code, _ in rows if len(code) < MAX_COLUMN), default=0) + 2
    lines = []
    for code, doc in rows:
        text = comment_text(doc)
        beside = f"{code:<{column}}/* {text} */"
        if not text:
            lines.append(code)
        elif len(beside) <= WIDTH and len(code) < column:
            lines.append(beside)
        else:
            lines += [*comment(text), code]
    return lines


def comment_text(text: str) -> str:
    """Text that does not end a comment, on one line."""
    plain = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return plain.replace("*/", "* /").replace("/*", "/ *")


def comment(text: str, indent: str = "") -> list[str]:
    """A comment of one line or several."""
    lines = [
        line
        for part in text.split("\n")
        for line in textwrap.wrap(comment_text(part), WIDTH - 8) or [""]
    ]
    if len(lines) == 1:
        return [f"{indent}/* {lines[0]} */"]
    return [f"{indent}/*", *(f"{indent} * {line}".rstrip() for line in lines), f"{indent} */"]
