"""Drafts of structs: fields at their offsets, and the layout that explains these."""

from __future__ import annotations

import re

from khotool.abi.c_types import KEYWORDS, TYPES
from khotool.abi.geometry import PAGE_SIZES
from khotool.records import dataclass, replace

WORDS = (1, 2, 4, 8)
"""Bytes of integers."""
TYPE_NAMES = ("string", "bytes", *(f"{sign}{n}" for sign in "us" for n in (8, 16, 32, 64)))
"""Types of a definition that no struct can be called after."""
RESERVED = KEYWORDS | TYPES.keys()
"""Words that no member or struct can be called."""
GUESSES = (
    (re.compile(r"(^|_)(pa|phys|paddr|phys_addr|phys_start)$"), "address"),
    (re.compile(r"(^|_)pfn$"), "pfn"),
    (re.compile(r"^(nr|num)_|(^|_)(count|cnt)$"), "count"),
    (re.compile(r"(^|_)flags$"), "flags"),
    (re.compile(r"(^|_)(size|len|bytes)$"), "bytes"),
    (re.compile(r"(^|_)order$"), "order"),
    (re.compile(r"(^|_)token$"), "token"),
    (re.compile(r"(^|_)magic$"), "magic"),
)
"""What the end of a name says about a number's role."""


@dataclass(frozen=True, slots=True)
class DraftField:
    """A field, or a word of bit-fields.

    Args:
        offset, size: bytes from the start of the struct.
        align: bytes, in natural layout.
        type: as a definition writes it.
        struct: type number of a struct that is embedded, 0 for none.
        parts: names and widths in bits of a word's bit-fields, from the least significant bit up.
        fill: an array up to the end of the page.
        notes: what the author has to know.
    """

    name: str
    type: str
    offset: int
    size: int
    align: int = 1
    role: str = ""
    struct: int = 0
    parts: tuple[tuple[str, int], ...] = ()
    enum: tuple[tuple[str, int], ...] = ()
    fill: bool = False
    reserved: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DraftStruct:
    """A struct; ``page`` says that its size is that of a page."""

    name: str
    size: int
    fields: tuple[DraftField, ...]
    packed: bool
    page: bool = False
    notes: tuple[str, ...] = ()

    @property
    def align(self) -> int:
        """Bytes that an instance is aligned to where it is embedded."""
        return 1 if self.packed else max((item.align for item in self.fields), default=1)


class Names:
    """Names that a definition can hold, each given out once."""

    def __init__(self, taken: tuple[str, ...] = ()) -> None:
        self._taken = dict.fromkeys(taken, 1)

    def take(self, name: str) -> str:
        """The name, with a number appended if it is taken."""
        text = base = identifier(name)
        while text in self._taken:
            self._taken[base] += 1
            text = f"{base}_{self._taken[base]}"
        self._taken[text] = 1
        return text


def identifier(name: str) -> str:
    """A name as a definition takes it."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", name)
    text = text if text[:1].isalpha() or text[:1] == "_" else f"_{text}"
    return f"{text}_" if text in RESERVED else text


def laid_out(name: str, size: int, items: list[DraftField], notes: list[str]) -> DraftStruct:
    """Decide packed or natural from the offsets; what neither explains becomes padding."""
    names = Names()
    items = [
        replace(
            item,
            name=names.take(item.name) if item.name else "",
            parts=tuple((names.take(part), width) for part, width in item.parts),
        )
        for item in items
    ]
    packed, natural = (_fits(size, items, packed=packed) for packed in (True, False))
    if packed or natural:
        page = _fills_page(size, items)
        if page:
            items[-1] = replace(items[-1], type=items[-1].type.partition("[")[0], fill=True)
            note = "a page long, and its last array ends with it: taken to follow PAGE_SIZE"
            notes = [*notes, note]
        return DraftStruct(name, size, tuple(items), packed, page, tuple(notes))
    padded: list[DraftField] = []
    end = 0
    for item in items:
        # Members that overlap or leave the struct are damage; the first ones stay.
        if item.offset < end or item.offset + item.size > size:
            continue
        if item.offset > end:
            padded.append(_padding(end, item.offset - end, names))
        padded.append(item)
        end = item.offset + item.size
    if end < size:
        padded.append(_padding(end, size - end, names))
    return DraftStruct(name, size, tuple(padded), True, False, tuple(notes))


def _padding(offset: int, size: int, names: Names) -> DraftField:
    text = f"u{size * 8}" if size in WORDS else f"bytes[{size}]"
    return DraftField(
        names.take(f"pad_{offset:x}"),
        text,
        offset,
        size,
        reserved=size in WORDS,
        notes=("padding",),
    )


def _fits(size: int, items: list[DraftField], *, packed: bool) -> bool:
    end, most = 0, 1
    for item in items:
        align = 1 if packed else item.align
        most = max(most, align)
        end = -(-end // align) * align
        if item.offset != end:
            return False
        end += item.size
    return -(-end // most) * most == size


def _fills_page(size: int, items: list[DraftField]) -> bool:
    """True if the last array ends with the page, whatever the size of a page is."""
    last = items[-1] if items else None
    if size not in PAGE_SIZES or last is None or "[" not in last.type:
        return False
    text, _, count = last.type.partition("[")
    if text in ("char", "bytes"):
        return False
    step = last.size // int(count.rstrip("]"))
    return last.offset + last.size == size and all(
        page > last.offset and (page - last.offset) % step == 0 for page in PAGE_SIZES
    )


def guess(name: str) -> str:
    """The role that a number of this name may have; empty for none."""
    return next((role for pattern, role in GUESSES if pattern.search(name)), "")
