"""One record: bytes to values and back, every value checked against its range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.abi.unpack import Plan, plan_of
from khotool.errors import EncodeError

if TYPE_CHECKING:
    import numpy as np

Value = Any
"""An int, a str (fixed char array), bytes, a dict of an embedded struct, or a list of ints or
of dicts."""


def decode_text(raw: bytes) -> str:
    """A C string: up to the first NUL, UTF-8; a byte that is not UTF-8 is a lone surrogate."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def encode_text(text: str, path: str = "text") -> bytes:
    """The bytes of ``decode_text``'s result.

    Raises:
        EncodeError: a surrogate that encodes no byte; names ``path``.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise EncodeError(
            path, f"{text!r:.60} holds a character that UTF-8 cannot encode"
        ) from None


def decode_record(compiled: CompiledStruct, data: bytes | memoryview) -> dict[str, Value]:
    """Values of one record by label.

    Args:
        compiled: the struct.
        data: at least ``compiled.size`` bytes.

    Raises:
        ValueError: ``data`` is shorter than the record.
    """
    if len(data) < compiled.size:
        raise ValueError(f"{compiled.struct.name} needs {compiled.size} bytes, has {len(data)}")
    if compiled.has_fill:
        return decode_records(compiled, data, 1)[0]
    plan = plan_of(compiled)
    if plan is not None:
        return plan.values(plan.layout.unpack_from(data), _chars)
    return decode_by_construct(compiled, data)


def decode_filled(compiled: CompiledStruct, data: bytes | memoryview) -> dict[str, Value]:
    """As :func:`decode_record`, arrays of numbers without the zeros at their end."""
    if not compiled.has_fill:
        values = decode_record(compiled, data)
        for listed in values.values():
            while isinstance(listed, list) and listed and listed[-1] == 0:
                listed.pop()
        return values
    import numpy as np

    row = np.frombuffer(data, compiled.dtype, 1)
    values = {}
    for label, field, _, _, _, many, _ in compiled.cells:
        column = row[field.name]
        if many:
            used = column[0].nonzero()[0]
            column = column[:, : int(used[-1]) + 1 if used.size else 0]
        values[label] = column[0].tolist()
    return values


def decode_by_construct(compiled: CompiledStruct, data: bytes | memoryview) -> dict[str, Value]:
    """As :func:`decode_record`, always through construct."""
    return _values(compiled, compiled.construct.parse(bytes(data[: compiled.size])))


def _values(compiled: CompiledStruct, container: Any) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for placed in compiled.fields:
        raw = container[placed.field.name]
        if placed.parts:
            for part in placed.parts:
                values[part.field.label] = (raw & part.mask) >> part.shift
        elif placed.nested and placed.many:
            values[placed.field.label] = [_values(placed.nested, item) for item in raw]
        elif placed.nested:
            values[placed.field.label] = _values(placed.nested, raw)
        elif isinstance(raw, bytes):
            values[placed.field.label] = _chars(placed, raw)
        elif placed.many:
            values[placed.field.label] = list(raw)
        else:
            values[placed.field.label] = raw
    return values


def _chars(placed: PlacedField, raw: bytes) -> str | bytes:
    kind = placed.field.type
    return raw if kind is not None and kind.kind == "bytes" else decode_text(raw)


def decode_records(
    compiled: CompiledStruct, data: bytes | memoryview, count: int
) -> list[dict[str, Value]]:
    """Values of ``count`` consecutive records.

    Args:
        data: at least ``count * compiled.size`` bytes.
    """
    if not count:
        return []
    plan = None if compiled.has_fill else plan_of(compiled)
    if plan is not None:
        rows = plan.layout.iter_unpack(data[: count * compiled.size])
        return [plan.values(row, _chars) for row in rows]
    import numpy as np

    records = np.frombuffer(data, dtype=compiled.dtype, count=count)
    return [_row_values(compiled, row) for row in records.tolist()]


def _row_values(compiled: CompiledStruct, row: tuple[Any, ...]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for placed, raw in zip(compiled.fields, row, strict=True):
        if placed.parts:
            for part in placed.parts:
                values[part.field.label] = (raw & part.mask) >> part.shift
        elif placed.nested and placed.many:
            rows = raw.tolist() if hasattr(raw, "tolist") else raw
            values[placed.field.label] = [_row_values(placed.nested, item) for item in rows]
        elif placed.nested:
            values[placed.field.label] = _row_values(placed.nested, raw)
        elif isinstance(raw, bytes):
            values[placed.field.label] = _chars(placed, raw)
        elif placed.many:
            values[placed.field.label] = raw.tolist() if hasattr(raw, "tolist") else list(raw)
        else:
            values[placed.field.label] = raw
    return values


def encode_record(compiled: CompiledStruct, values: Mapping[str, Value], path: str) -> bytes:
    """Bytes of one record; a label that is not given is 0 or the empty string.

    Args:
        values: by label; labels that are not fields are an error.
        path: of the record in the model, for errors.

    Raises:
        EncodeError: a value of the wrong type or out of range, or an unknown label.
    """
    plan = plan_of(compiled)
    data = _plain(plan, values) if plan is not None else None
    if data is not None:
        return data
    container = _container(compiled, values, path)
    if plan is not None:
        return plan.data(container)
    if compiled.has_fill:
        return _packed(compiled, container)
    return bytes(compiled.construct.build(container))


def _plain(plan: Plan, values: Mapping[str, Value]) -> bytes | None:
    """Bytes of a record that needs no defaults and has no fault; else None."""
    try:
        return plan.packed(values, _raw)
    except EncodeError:
        return None


def _raw(placed: PlacedField, value: object) -> bytes:
    kind = placed.field.type
    assert kind is not None
    make = encode_chars if kind.kind == "char" else encode_bytes
    return make(value, kind.size, "")


def _packed(compiled: CompiledStruct, container: Mapping[str, Any]) -> bytes:
    """A record that ends in a page of numbers, through numpy: construct builds one at a time."""
    import numpy as np

    record = np.zeros(1, compiled.dtype)
    for placed in compiled.fields:
        record[placed.field.name] = container[placed.field.name]
    return record.tobytes()


def _container(compiled: CompiledStruct, values: Mapping[str, Value], path: str) -> dict[str, Any]:
    container: dict[str, Any] = {}
    end = 0
    for placed in compiled.fields:
        if placed.offset > end:
            container[f"gap_{end}"] = bytes(placed.offset - end)
        container[placed.field.name] = _stored(placed, values, path)
        end = placed.offset + placed.size
    if compiled.size > end:
        container[f"gap_{end}"] = bytes(compiled.size - end)
    known = {field.label for field in compiled.leaves}
    for label in values:
        if label not in known:
            raise EncodeError(f"{path}/{label}", f"{compiled.struct.name} has no such field")
    return container


def _stored(placed: PlacedField, values: Mapping[str, Value], path: str) -> Any:
    field = placed.field
    kind = field.type
    assert kind is not None
    if placed.parts:
        return _word(placed, values, path)
    here = f"{path}/{field.label}"
    if placed.nested and placed.many:
        given = _list(placed, values, here)
        given = given + [{}] * (placed.count - len(given))
        return [
            _nested(placed.nested, value, f"{here}[{index}]") for index, value in enumerate(given)
        ]
    if placed.nested:
        return _nested(placed.nested, values.get(field.label, {}), here)
    if kind.kind == "char":
        return encode_chars(values.get(field.label, ""), kind.size, here)
    if kind.kind == "bytes":
        return encode_bytes(values.get(field.label, b""), kind.size, here)
    if placed.many:
        items = _list(placed, values, here)
        low, high = int_range(kind.size, kind.signed)
        for index, item in enumerate(items):
            if type(item) is not int or not low <= item <= high:
                fit_int(item, kind.size, kind.signed, f"{here}[{index}]")
        return items + [0] * (placed.count - len(items))
    return fit_int(values.get(field.label, 0), kind.size, kind.signed, here)


def _word(placed: PlacedField, values: Mapping[str, Value], path: str) -> int:
    """A word from the values of its bit-fields."""
    word = 0
    for part in placed.parts:
        here = f"{path}/{part.field.label}"
        value = check_int(values.get(part.field.label, 0), here)
        if value << part.shift & ~part.mask:
            bits = (part.mask >> part.shift).bit_length()
            what = f"a multiple of {part.mask & -part.mask:#x}" if part.field.in_place else ""
            text = f"{value:#x} does not fit; expected {what or f'at most {bits} bits'}"
            raise EncodeError(here, text)
        word |= value << part.shift
    return word


def _list(placed: PlacedField, values: Mapping[str, Value], path: str) -> list[Any]:
    value = values.get(placed.field.label, [])
    if not isinstance(value, list):
        what = "records" if placed.nested else "numbers"
        raise EncodeError(path, f"expected a list of {what}, found {value!r:.60}")
    if len(value) > placed.count:
        room = "the page" if placed.field.fill else "the array"
        raise EncodeError(path, f"{len(value)} elements; {room} takes {placed.count}")
    return value


def _nested(compiled: CompiledStruct, value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise EncodeError(path, f"expected the fields of {compiled.struct.name}")
    return _container(compiled, value, path)


def encode_bytes(value: object, size: int, path: str) -> bytes:
    """Fixed bytes, zero padded: bytes, or a string of hexadecimal digits.

    Raises:
        EncodeError: neither, or longer than ``size`` bytes.
    """
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value)
        except ValueError:
            raise EncodeError(path, "expected hexadecimal bytes") from None
    if not isinstance(value, bytes):
        raise EncodeError(path, f"expected bytes, found {value!r:.60}")
    if len(value) > size:
        raise EncodeError(path, f"{len(value)} bytes; at most {size} fit")
    return value.ljust(size, b"\0")


def check_int(value: object, path: str) -> int:
    """``value`` if it is an integer of at least 0.

    Raises:
        EncodeError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise EncodeError(path, f"expected a number, found {value!r:.60}")
    if value < 0:
        raise EncodeError(path, f"expected a number of at least 0, found {value}")
    return value


def int_range(size: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest value of an integer of ``size`` bytes."""
    if signed:
        return -(1 << (size * 8 - 1)), (1 << (size * 8 - 1)) - 1
    return 0, (1 << (size * 8)) - 1


def fit_int(value: object, size: int, signed: bool, path: str) -> int:
    """``value`` if it fits ``size`` bytes.

    Raises:
        EncodeError: it is not an integer, or too large or too small.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise EncodeError(path, f"expected a number, found {value!r:.60}")
    low, high = int_range(size, signed)
    if not low <= value <= high:
        raise EncodeError(path, f"{value:#x} does not fit {size * 8} bits")
    return value


def encode_chars(text: object, size: int, path: str) -> bytes:
    """A fixed char array, NUL padded; a string of exactly ``size`` bytes has no NUL.

    Raises:
        EncodeError: no string, longer than ``size`` bytes, or a NUL inside.
    """
    if not isinstance(text, str):
        raise EncodeError(path, f"expected a string, found {text!r:.60}")
    raw = encode_text(text, path)
    if b"\0" in raw:
        raise EncodeError(path, "a string cannot contain NUL")
    if len(raw) > size:
        raise EncodeError(path, f"{len(raw)} bytes; at most {size} fit")
    return raw.ljust(size, b"\0")


def column(compiled: CompiledStruct, records: np.ndarray[Any, Any], label: str) -> Any:
    """One column of an array of records in host byte order.

    Args:
        records: structured array of ``compiled.dtype``.
        label: of an integer field or of a part of a bit-field word.

    Returns:
        ndarray (n,) of uint64, or int64 for signed fields.

    Raises:
        KeyError: no such field.
    """
    import numpy as np

    placed = compiled.by_label(label)
    raw = records[placed.field.name]
    signed = placed.field.type is not None and placed.field.type.signed
    values = raw.astype(np.int64 if signed else np.uint64)
    for part in placed.parts:
        if part.field.label == label:
            return (values & np.uint64(part.mask)) >> np.uint64(part.shift)
    return values
