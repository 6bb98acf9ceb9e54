"""Search: names, values and flags of the model, and patterns in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from khotool.absent import Absent
from khotool.errors import UsageError
from khotool.memory.space import ADDRESS_LIMIT, MemoryFault
from khotool.model.image import Image, Node, Span
from khotool.records import dataclass
from khotool.tui.place import Place

Stop = Callable[[], bool]

MAX_HITS = 10_000
"""Hits after which a search stops."""
MAX_ROWS = 1000
"""Hits in one table."""
SEARCH_BYTES = 1 << 40


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found.

    Args:
        place: a place of the model; None for bytes.
        span: the bytes of a pattern, or None.
    """

    place: Place | None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search.

    Args:
        text: lower case, looked for in names, keys, values and flags; empty for bytes.
        number: the number that the text is, if it is one.
        pattern: bytes to look for in memory; None at a place where any byte will do.
    """

    text: str = ""
    number: int | None = None
    pattern: tuple[int | None, ...] = ()

    @property
    def in_memory(self) -> bool:
        """Whether memory is searched, not the model."""
        return bool(self.pattern)


_WORD = re.compile(r"(?i)([us])(8|16|32|64)(le|be)?:(.+)")
_BYTES = re.compile(r"(?i)(?:bytes:|hex:)?\s*((?:[0-9a-f]{2}|\?\?)(?:\s+(?:[0-9a-f]{2}|\?\?))+)")


def parse_query(text: str, byteorder: str = "little") -> Query:
    """What a user typed: ``name``, ``0x2a``, ``48 ?? 05``, ``"text"``, ``u64:0x2a``.

    Raises:
        UsageError: a word that does not fit its size, or a pattern without a fixed byte.
    """
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        raw = text[1:-1].encode("utf-8", "surrogateescape")
        if not raw:
            raise UsageError('"" is everywhere; type some text between the quotes')
        return Query(pattern=tuple(raw))
    word = _WORD.fullmatch(text)
    if word is not None:
        value = parse_number(word[4])
        if value is None:
            raise UsageError(f"{word[4]!r} is not a number")
        size = int(word[2]) // 8
        order = {"le": "little", "be": "big"}.get((word[3] or "").lower(), byteorder)
        try:
            signed = word[1].lower() == "s"
            raw = value.to_bytes(size, "big" if order == "big" else "little", signed=signed)
        except OverflowError:
            raise UsageError(f"{value:#x} does not fit {word[2]} bits") from None
        return Query(pattern=tuple(raw))
    found = _BYTES.fullmatch(text)
    if found is not None:
        pattern = tuple(None if t == "??" else int(t, 16) for t in found[1].split())
        if all(byte is None for byte in pattern):
            raise UsageError("?? alone is everywhere; give at least one byte")
        return Query(pattern=pattern)
    return Query(text=text.casefold(), number=parse_number(text))


def parse_number(text: str) -> int | None:
    """A decimal, 0x or -decimal number with ``_`` and a suffix K, M, G or T; None if it is none."""
    found = re.fullmatch(r"(?i)(-?)(0x[0-9a-f_]+|[0-9][0-9_]*)([kmgt]?)", text.strip())
    if found is None:
        return None
    try:
        value = int(found[2], 0 if found[2][:2].lower() == "0x" else 10)
    except ValueError:
        return None
    value <<= {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[found[3].lower()]
    return -value if found[1] else value


def search(image: Image, query: Query, stop: Stop | None = None) -> Iterator[Hit]:
    """Everything a query finds, in the order of the model or of memory.

    Args:
        stop: asked now and then; the search ends when it is true.
    """
    hits = _bytes(image, query, stop) if query.in_memory else _model(image, query, stop)
    for number, hit in enumerate(hits):
        if number >= MAX_HITS:
            return
        yield hit


def _model(image: Image, query: Query, stop: Stop | None) -> Iterator[Hit]:
    if not query.text:
        return
    for number, node in enumerate(image.tree.walk()):
        if stop is not None and number % 1024 == 0 and stop():
            return
        if matches(node, query):
            yield Hit(Place(node))
        if node.table is not None and query.number is not None and len(node.table):
            yield from _rows(node, query.number)


def matches(node: Node, query: Query) -> bool:
    """Whether a node's name, key, value or flags are what is looked for."""
    text = query.text
    if text in node.name.casefold() or (node.key is not None and text in node.key.casefold()):
        return True
    value = node.value
    if isinstance(value, str):
        return text in value.casefold()
    if isinstance(value, Absent):
        return text in value.reason
    if isinstance(value, int):
        if query.number is not None:
            return value == query.number
        if node.field is not None:
            return any(
                text in name.casefold() for name in flag_names(value, node.field.flags)
            ) or any(
                text in name.casefold() and value == bits for name, bits in node.field.enum.items()
            )
    return text in node.note.casefold() if node.note else False


def flag_names(value: int, flags: dict[str, int]) -> list[str]:
    """Names of the flags that are set; unknown bits as one hexadecimal number."""
    names = [name for name, bit in flags.items() if bit and value & bit == bit]
    rest = value
    for bit in flags.values():
        rest &= ~bit
    return names + ([f"{rest:#x}"] if rest else [])


def _rows(node: Node, number: int) -> Iterator[Hit]:
    table = node.table
    assert table is not None
    if not 0 <= number < ADDRESS_LIMIT:
        return
    for placed in table.compiled.fields:
        for field in placed.field.parts or (placed.field,):
            if field.type is None or field.type.kind == "int":
                if placed.nested is not None or field.fill:
                    continue
                found = np.flatnonzero(table.column(field.label) == np.uint64(number))
                for row in found[:MAX_ROWS].tolist():
                    yield Hit(Place(node, row, field.label))


def _bytes(image: Image, query: Query, stop: Stop | None) -> Iterator[Hit]:
    """Matches of a pattern: its longest fixed part is searched, the rest compared."""
    pattern = query.pattern
    at, needle = _longest(pattern)
    space = image.space
    for start, end in space.extents().tolist():
        # The search goes on in pieces, so that it can be stopped.
        for low in range(start, end, 1 << 24):
            if stop is not None and stop():
                return
            high = min(low + (1 << 24) + len(needle) - 1, end)
            for address in space.find(needle, low, high, SEARCH_BYTES):
                if _fits(image, address - at, pattern):
                    yield Hit(None, Span(address - at, len(pattern)))


def _longest(pattern: tuple[int | None, ...]) -> tuple[int, bytes]:
    best, begin = (0, b""), 0
    for end in range(len(pattern) + 1):
        if end == len(pattern) or pattern[end] is None:
            run = bytes(byte for byte in pattern[begin:end] if byte is not None)
            if len(run) > len(best[1]):
                best = begin, run
            begin = end + 1
    return best


def _fits(image: Image, address: int, pattern: tuple[int | None, ...]) -> bool:
    if address < 0:
        return False
    try:
        data = image.space.read(address, len(pattern))
    except MemoryFault:
        return False
    return all(want is None or want == have for want, have in zip(pattern, data, strict=True))


class Filtered:
    """What a filter lets through: what matches, what is above it, and all that is below it.

    Args:
        matches: nodes that match and have no matching node above them, in the order of the tree.
    """

    def __init__(self, matches: list[Node]) -> None:
        self.matches = matches
        self._matching = set(matches)
        self._above: set[Node] = set()
        for node in matches:
            above = node.parent
            while above is not None and above not in self._above:
                self._above.add(above)
                above = above.parent

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Node) and (node in self._above or self.is_match(node))

    def is_match(self, node: Node) -> bool:
        """Whether a node matches, or is below one that does."""
        current: Node | None = node
        while current is not None:
            if current in self._matching:
                return True
            current = current.parent
        return False


def filter_nodes(image: Image, text: str, stop: Stop | None = None) -> Filtered:
    """The topmost nodes that match a text, with all that is above and below them."""
    query = Query(text=text.casefold(), number=parse_number(text))
    found: list[Node] = []
    pending = [image.tree]
    number = 0
    while pending:
        if stop is not None and number % 1024 == 0 and stop():
            break
        number += 1
        node = pending.pop()
        if node.parent is not None and matches(node, query):
            found.append(node)
        else:
            pending.extend(reversed(node.children))
    return Filtered(found)
