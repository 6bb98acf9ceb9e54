"""Columns of numbers as the records of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from khotool.abi.compile import CompiledStruct
from khotool.errors import EncodeError


def pack_columns(
    compiled: CompiledStruct, columns: Mapping[str, np.ndarray[Any, Any]], count: int, path: str
) -> np.ndarray[Any, Any]:
    """Records from columns of uint64 (count,); a column that is not given is 0.

    Raises:
        EncodeError: a value does not fit its field; names the first row.
    """
    records = np.zeros(count, compiled.dtype)
    for placed in compiled.fields:
        kind = placed.field.type
        assert kind is not None
        if placed.parts:
            word = np.zeros(count, np.uint64)
            for part in placed.parts:
                values = columns.get(part.field.label)
                if values is None:
                    continue
                limit = part.mask >> part.shift
                _in_range(values, limit, part.field.in_place, f"{path}", part.field.label)
                word |= values << np.uint64(part.shift)
            records[placed.field.name] = word
        elif placed.field.label in columns:
            values = columns[placed.field.label]
            _in_range(values, (1 << (kind.size * 8)) - 1, False, path, placed.field.label)
            records[placed.field.name] = values
    return records


def _in_range(
    values: np.ndarray[Any, Any], limit: int, in_place: bool, path: str, label: str
) -> None:
    wrong = values & ~np.uint64(limit) if in_place else values > np.uint64(limit)
    if bool(np.any(wrong)):
        row = int(np.flatnonzero(wrong)[0])
        raise EncodeError(
            f"{path}[{row}]/{label}", f"{int(values[row]):#x} does not fit; at most {limit:#x}"
        )
