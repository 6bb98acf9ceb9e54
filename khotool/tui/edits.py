"""Changes to an image that are decoded and checked here, and written only to a new file."""

from __future__ import annotations

from collections import Counter

from khotool.absent import Absent
from khotool.check.kernels.judge import judge
from khotool.errors import KhotoolError
from khotool.findings import Finding
from khotool.fixture.fuzz import release_of
from khotool.model.image import UNPLACED, Image, Span
from khotool.model.lookup import find_node
from khotool.opening.edits import stored_bytes
from khotool.records import dataclass
from khotool.tui.memory_view import address_text, read_span
from khotool.tui.session import Session
from khotool.tui.text import count_text

MOST_BYTES = 64
"""Bytes that are offered for editing at once."""
LISTED = 3
"""Rules that a sentence names."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes in place of those of the file.

    Args:
        where: path of the value, or the address.
        address: physical address in bytes.
        old, new: of the same size.
    """

    where: str
    address: int
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Effect:
    """What edits do to an image.

    Args:
        more, fewer: rules of findings that appear and that go, with their numbers.
        kernel: release whose verdict is given, empty for none.
        before, after: its verdicts.
    """

    more: Counter[str]
    fewer: Counter[str]
    kernel: str = ""
    before: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        """One sentence."""
        parts = [
            f"{sign}{count_text(rules.total(), 'finding')} ({', '.join(list(rules)[:LISTED])})"
            for sign, rules in (("+", self.more), ("-", self.fewer))
            if rules
        ]
        if self.kernel:
            change = self.before if self.before == self.after else f"{self.before} → {self.after}"
            parts.append(f"{self.kernel} {change}")
        return "; ".join(parts) or "no finding more or fewer"


def _value_of(session: Session) -> object:
    """The value under the cursor, if it is one to edit as such; else None: edit its bytes."""
    place, span = session.cursor.place, session.cursor.span
    if place is None or span is None or span != session.span(place):
        return None
    value = place.value
    return value if isinstance(value, (int, str)) and not isinstance(value, Absent) else None


def shown(session: Session) -> tuple[str, str]:
    """What is under the cursor as one types it, and what may be typed.

    Raises:
        KhotoolError: there is nothing to edit here.
    """
    span, container = session.cursor.span, session.image.info.container
    if container in ("debugfs", "fdt"):
        raise KhotoolError("device trees without their memory are not edited here")
    if span is None or span.address >= UNPLACED:
        raise KhotoolError("nothing to edit here: no bytes with a physical address")
    value, place = _value_of(session), session.cursor.place
    if isinstance(value, str):
        return value, "text"
    if isinstance(value, int) and place is not None:
        names = [*place.field.enum, *place.field.flags] if place.field is not None else []
        return hex(value), " ".join(["a number", *names])
    size = min(span.size, MOST_BYTES)
    return read_span(session.image, Span(span.address, size)).hex(" "), "bytes as hex digits"


def edit_of(session: Session, text: str) -> Edit:
    """What a text, typed for the value or bytes under the cursor, changes.

    Raises:
        KhotoolError: the text does not fit, or the bytes are not captured.
    """
    cursor, image = session.cursor, session.image
    assert cursor.span is not None
    place, address = cursor.place, cursor.span.address
    where = place.path if place is not None else address_text(address)
    if place is not None and _value_of(session) is not None:
        data, _ = stored_bytes(image, find_node(image, place.path), text.strip(), where)
    else:
        try:
            data = bytes.fromhex(text)
        except ValueError:
            raise KhotoolError(f"{where}: expected bytes as hexadecimal digits") from None
    return Edit(where, address, read_span(image, Span(address, len(data))), data)


def effect_of(base: Image, image: Image, before: list[Finding], after: list[Finding]) -> Effect:
    """What differs between the check of an image and that of the edited one."""
    old = Counter((finding.rule, finding.path) for finding in before)
    new = Counter((finding.rule, finding.path) for finding in after)
    more, fewer = Counter[str](), Counter[str]()
    for found, changed in ((more, new - old), (fewer, old - new)):
        for (rule, _), count in changed.items():
            found[rule] += count
    kernel = release_of(base)
    if kernel is None:
        return Effect(more, fewer)
    return Effect(more, fewer, kernel, *(str(judge(i, kernel).outcome) for i in (base, image)))
