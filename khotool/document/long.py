"""Long arrays of numbers as JSON text, made some rows at a time and never held as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Columns = tuple[NDArray[Any], ...]

SHORT = 4096
"""Rows up to which an array is an ordinary list."""
_ROWS = 1 << 14
"""Rows whose text is made together: few enough to stay in a cache."""
_GROUP = 4
"""Digits that are looked up together."""
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


class Long:
    """An array of numbers, or of rows of numbers.

    Args:
        count: number of elements.
        pieces: called for each pass: columns of some elements at a time, in order, integers.
        hexadecimal: per column, whether a number is a string such as ``"0x1000"``; a single
            decimal column makes an array of numbers, anything else an array of arrays.
    """

    def __init__(
        self, count: int, pieces: Callable[[], Iterator[Columns]], hexadecimal: tuple[bool, ...]
    ) -> None:
        self.count = count
        self.hexadecimal = hexadecimal
        self._pieces = pieces

    def plain(self) -> list[Any]:
        """The same as a list."""
        return [row for columns in self._pieces() for row in self._rows(columns)]

    def short(self) -> Long | list[Any]:
        """A list where there are few elements."""
        return self.plain() if self.count <= SHORT else self

    def _rows(self, columns: Columns) -> Iterator[Any]:
        if self.hexadecimal == (False,):
            yield from columns[0].tolist()
            return
        for row in zip(*(column.tolist() for column in columns), strict=True):
            yield [hex(n) if h else n for n, h in zip(row, self.hexadecimal, strict=True)]

    def text(self, between: str, inside: str) -> Iterator[str]:
        """The elements as JSON, in pieces.

        Args:
            between: what separates elements, comma included.
            inside: what separates the numbers of a row, comma included.
        """
        row = self.hexadecimal != (False,)
        begin, end = ("[", "]") if row else ("", "")
        marks = [('"0x', '"') if each else ("", "") for each in self.hexadecimal]
        fixed = [begin + marks[0][0]]
        fixed += [left[1] + inside + right[0] for left, right in pairwise(marks)]
        fixed.append(marks[-1][1] + end + between)
        bases = [16 if each else 10 for each in self.hexadecimal]
        form = _Form([part.encode() for part in fixed], bases)
        held = ""
        for columns in self._pieces():
            for low in range(0, columns[0].size, _ROWS):
                if held:
                    yield held
                held = form.text(tuple(column[low : low + _ROWS] for column in columns))
        # No separator follows the last element.
        yield held[: len(held) - len(between)]


class _Form:
    """Rows of one form as text: fixed parts around numbers.

    Args:
        fixed: ASCII; one more than there are numbers.
        bases: 10 or 16, by number.
    """

    def __init__(self, fixed: list[bytes], bases: list[int]) -> None:
        self.fixed, self.bases = fixed, bases
        self._widths: list[int] = []
        self._places: list[int] = []
        self._matrix = np.zeros((0, 0), np.uint8)

    def text(self, columns: Columns) -> str:
        """One row after the other."""
        if any(column.dtype.kind == "i" and int(column.min()) < 0 for column in columns):
            return self._signed(columns)
        rows = columns[0].size
        least = [_width(int(c.min()), base) for c, base in zip(columns, self.bases, strict=True)]
        widths = [_width(int(c.max()), base) for c, base in zip(columns, self.bases, strict=True)]
        if widths != self._widths or rows != len(self._matrix):
            self._lay_out(rows, widths)
        for number, column in enumerate(columns):
            place, base = self._places[number], self.bases[number]
            _write_numbers(self._matrix, place, column, widths[number], least[number], base)
        data = self._matrix.tobytes()
        # NUL is what stands before a number shorter than the longest.
        return (data if least == widths else data.translate(None, b"\0")).decode("ascii")

    def _lay_out(self, rows: int, widths: list[int]) -> None:
        """A matrix with the fixed parts, and room for numbers of these widths."""
        line = bytearray(self.fixed[0])
        self._places = []
        for width, after in zip(widths, self.fixed[1:], strict=True):
            self._places.append(len(line))
            line += bytes(width) + after
        self._matrix = np.empty((rows, len(line)), np.uint8)
        self._matrix[:] = np.frombuffer(line, np.uint8)
        self._widths = widths

    def _signed(self, columns: Columns) -> str:
        """The same for columns with negative numbers, which are rare."""
        form = self.fixed[0].decode()
        for base, after in zip(self.bases, self.fixed[1:], strict=True):
            form += ("%d" if base == 10 else "%x") + after.decode()
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return "".join([form % row for row in rows])


def _width(number: int, base: int) -> int:
    """Digits of a number, which is at least 0."""
    return len(str(number) if base == 10 else f"{number:x}")


def _write_numbers(
    matrix: Bytes, place: int, values: NDArray[Any], width: int, least: int, base: int
) -> None:
    """Write a number of each row, right-aligned after NULs.

    Args:
        place: first byte of the number in its row.
        width: its bytes, enough for the longest number.
        least: digits of the shortest number.
    """
    rows, stride = matrix.shape
    # Narrow integers divide faster.
    rest: NDArray[Any] = values.astype(np.uint32 if base**width <= 1 << 32 else np.uint64)
    right = 0
    while right < width:
        size = min(_GROUP, width - right)
        size -= size == 3
        many = base**size
        above = rest // many if base == 10 else rest >> np.array(4 * size, rest.dtype)
        index = rest - above * many if base == 10 else rest & np.array(many - 1, rest.dtype)
        if right + size > least:
            # A second table has numbers without their leading zeros.
            index = index + (above == 0) * np.array(many, rest.dtype)
        digits = _table(base, size, right == 0)
        target = np.ndarray(
            (rows,), digits.dtype, matrix.data, place + width - right - size, (stride,)
        )
        target[...] = digits[index]
        rest, right = above, right + size


@cache
def _table(base: int, size: int, last: bool) -> NDArray[Any]:
    """Text of the numbers of ``size`` digits as integers of as many bytes, in their order.

    The second half has NULs instead of leading zeros; ``last`` leaves the last digit of 0.
    """
    count = base**size
    index = np.arange(count)
    text = np.empty((2, count, size), np.uint8)
    for at in range(size):
        above = index // base ** (size - 1 - at)
        text[:, :, at] = _DIGITS[above % base]
        if not (last and at == size - 1):
            text[1, above == 0, at] = 0
    return text.reshape(2 * count, size).view(f"u{size}")[:, 0]
