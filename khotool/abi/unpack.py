"""Single records through ``struct``: a plan made once for each struct, then one call a record.

construct stays the form of a definition that can be run; a property test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct, error
from typing import Any

from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.records import dataclass

CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True, slots=True)
class Step:
    """One field of a plan: the values it takes, and what becomes of them."""

    placed: PlacedField
    start: int
    count: int
    nested: Plan | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How the bytes of one record become values, and values bytes.

    Args:
        layout: of all values of the record.
        steps: the fields, in order.
        labels: of the values, where each step makes one of one; else empty.
        special: positions and steps of values that are no numbers, where there are ``labels``.
    """

    layout: Struct
    steps: tuple[Step, ...]
    labels: tuple[str, ...] = ()
    special: tuple[tuple[int, Step], ...] = ()

    def values(self, flat: tuple[Any, ...], text: Any) -> dict[str, Any]:
        """Values by label; ``text`` makes the value of a fixed array of bytes."""
        if self.labels:
            made = dict(zip(self.labels, flat, strict=True))
            for at, step in self.special:
                nested, raw = step.nested, flat[at]
                made[self.labels[at]] = (
                    text(step.placed, raw)
                    if nested is None
                    else nested.values(nested.layout.unpack(raw), text)
                )
            return made
        made = {}
        for step in self.steps:
            placed = step.placed
            raw = flat[step.start]
            if placed.parts:
                for part in placed.parts:
                    made[part.field.label] = (raw & part.mask) >> part.shift
            elif step.nested is not None:
                rows = [
                    step.nested.values(step.nested.layout.unpack(part), text)
                    for part in flat[step.start : step.start + step.count]
                ]
                made[placed.field.label] = rows if placed.many else rows[0]
            elif placed.many:
                made[placed.field.label] = list(flat[step.start : step.start + step.count])
            elif isinstance(raw, bytes):
                made[placed.field.label] = text(placed, raw)
            else:
                made[placed.field.label] = raw
        return made

    def packed(self, values: Mapping[str, Any], raw: Any) -> bytes | None:
        """Bytes of values by label; None unless they are what ``values`` makes, all and in range.

        ``raw`` makes the bytes of a fixed array of bytes.
        """
        if not self.labels or len(values) != len(self.labels):
            return None
        flat = [values.get(label) for label in self.labels]
        for at, step in self.special:
            value = flat[at]
            if step.nested is None:
                flat[at] = raw(step.placed, value)
            elif isinstance(value, Mapping):
                flat[at] = step.nested.packed(value, raw)
        if not {int, bytes}.issuperset(map(type, flat)):
            return None
        try:
            return self.layout.pack(*flat)
        except error:
            return None

    def data(self, stored: Mapping[str, Any]) -> bytes:
        """Bytes of what a record stores: integers, bytes, lists and nested records by name."""
        flat: list[Any] = []
        for step in self.steps:
            value = stored[step.placed.field.name]
            if step.nested is not None:
                flat += map(step.nested.data, value if step.placed.many else [value])
            elif step.placed.many:
                flat += value
            else:
                flat.append(value)
        return self.layout.pack(*flat)


@lru_cache(maxsize=4096)
def plan_of(compiled: CompiledStruct) -> Plan | None:
    """The plan of a struct; None where ``struct`` has no code for a field."""
    prefix = compiled.geometry.prefix
    codes: list[str] = [prefix]
    steps: list[Step] = []
    end = taken = 0
    for placed in compiled.fields:
        nested = plan_of(placed.nested) if placed.nested is not None else None
        code = _code(placed, prefix)
        if not code or (placed.nested is not None and nested is None):
            return None
        codes += [f"{placed.offset - end}x", code]
        count = placed.count if placed.many else 1
        steps.append(Step(placed, taken, count, nested))
        taken += count
        end = placed.offset + placed.size
    codes.append(f"{compiled.size - end}x")
    layout = Struct("".join(codes))
    if any(step.placed.many or step.placed.parts for step in steps):
        return Plan(layout, tuple(steps))
    labels = tuple(step.placed.field.label for step in steps)
    special = (
        (at, step)
        for at, step in enumerate(steps)
        if step.nested is not None or _is_text(step.placed)
    )
    return Plan(layout, tuple(steps), labels, tuple(special))


def _is_text(placed: PlacedField) -> bool:
    """True for a fixed array of bytes."""
    return placed.field.type is not None and placed.field.type.kind != "int"


def _code(placed: PlacedField, prefix: str) -> str:
    """A field in the notation of ``struct``; empty where that has no code for it."""
    kind = placed.field.type
    count = placed.count if placed.many else 1
    if kind is None or not count:
        return ""
    if placed.nested is not None:
        return f"{placed.nested.size}s" * count
    if kind.kind != "int":
        return "" if placed.many else f"{kind.size}s"
    code = CODES.get(kind.size, "")
    # One record has one byte order; only single bytes have none.
    if not code or (kind.big and prefix != ">" and kind.size > 1):
        return ""
    return f"{count}{code.lower() if kind.signed else code}"
