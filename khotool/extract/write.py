"""Copy a payload out of captured memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from khotool.errors import InputError
from khotool.extract.plan import Plan, sum_of
from khotool.extract.sparse import Buffer, Sink
from khotool.memory.space import AddressSpace, MemoryFault
from khotool.pages.runs import normalise
from khotool.records import dataclass, field

CHUNK = 8 << 20
"""Bytes handed on at once; bounds what is not yet written, and how often progress is reported."""
PENDING = 512
"""Buffers handed on at once."""
PATTERN = b"KHOTOOL-MISSING\n"
FEW = 16
"""Pieces that are looked up one by one: a small file costs no arrays."""
SHOWN = 8
"""Ranges that an error lists."""
MOST_PATTERN = 64 << 30
"""Bytes of pattern written at most; an image can claim far more than any disk holds."""
KEPT = 1 << 20
"""Unreadable ranges that are remembered one by one."""

Tell = Callable[[int], None]


class MissingError(InputError):
    """Memory that holds a part of the payload is not in the capture.

    Args:
        path: of the node.
        ranges: (n, 2) uint64, byte offsets in the file, half-open.
    """

    def __init__(self, path: str, ranges: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> None:
        self.ranges = ranges
        size = sum_of(ranges[:, 1] - ranges[:, 0])
        super().__init__(
            f"{path}: {size} bytes are not captured: {ranges_text(ranges.tolist())} of the file; "
            "--fill zero or --fill pattern writes it all the same"
        )


def ranges_text(ranges: Sequence[Sequence[int]]) -> str:
    """Half-open byte ranges, the first few of them."""
    shown = ", ".join(f"{low:#x}-{high:#x}" for low, high in islice(ranges, SHOWN))
    return shown + (f" and {len(ranges) - SHOWN} more" if len(ranges) > SHOWN else "")


@dataclass(slots=True)
class Written:
    """What a file was made of.

    Args:
        size: bytes of the file.
        data: bytes copied from memory.
        holes: bytes of holes, or of memory known to be zero.
        missing: bytes that are not captured and were filled.
        ranges: where those are, byte offsets in the file, half-open.
    """

    size: int
    data: int = 0
    holes: int = 0
    missing: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def add(self, other: Written) -> None:
        """Add a file; its ranges are its own."""
        self.size += other.size
        self.data += other.data
        self.holes += other.holes
        self.missing += other.missing


def write_plan(
    plan: Plan, space: AddressSpace, sink: Sink, fill: str | None = None, tell: Tell | None = None
) -> Written:
    """Write a payload.

    Args:
        fill: for missing bytes: ``zero``, ``pattern``, or None to refuse.
        tell: called with the bytes of the file that are done.

    Raises:
        InputError: records that say where bytes are, are missing, and ``fill`` is None.
        MissingError: bytes are missing and ``fill`` is None. What the capture does not have is
            known before anything is written; a compressed page that does not decode, afterwards.
        KhotoolError: the output cannot be written.
    """
    _check_missing(plan, space, fill)
    done = Written(plan.size)
    writer = _Batch(sink)
    for at, size, data, state in _pieces(plan, space):
        if data is not None:
            done.data += size
            writer.data(data)
        elif state in ("gap", "zero"):
            done.holes += size
            writer.hole(size)
        else:
            done.missing += size
            _note_range(done.ranges, at, at + size)
            if fill == "pattern":
                writer.pattern(at, size)
            else:
                writer.hole(size)
        if tell is not None and writer.fresh:
            tell(at)
    writer.flush()
    if fill is None and done.missing:
        raise MissingError(plan.path, normalise(np.array(done.ranges, np.uint64)))
    sink.finish()
    if tell is not None:
        tell(plan.size)
    return done


def _check_missing(plan: Plan, space: AddressSpace, fill: str | None) -> None:
    """Refuse what the capture does not have, before anything is written."""
    if fill is None:
        if plan.lost:
            raise InputError(
                f"{plan.path}: {plan.lost} of its records are not captured, so parts of the file "
                "are unknown; --fill zero leaves holes there"
            )
        if not _is_small_and_whole(plan, space) and len(gaps := plan.missing(space.extents())):
            raise MissingError(plan.path, gaps)
    elif fill == "pattern":
        gaps = plan.missing(space.extents())
        if sum_of(gaps[:, 1] - gaps[:, 0]) > MOST_PATTERN:
            raise InputError(f"{plan.path}: too much is missing for a pattern; give --fill zero")


def _is_small_and_whole(plan: Plan, space: AddressSpace) -> bool:
    """True if a payload of few pieces has no gap, which takes no arrays to see."""
    if len(plan.offset) > FEW:
        return False
    pieces = zip(plan.address.tolist(), plan.length.tolist(), strict=True)
    return all(space.contains(start, size) for start, size in pieces)


def _note_range(ranges: list[tuple[int, int]], low: int, high: int) -> None:
    if ranges and (ranges[-1][1] == low or len(ranges) >= KEPT):
        ranges[-1] = (ranges[-1][0], high)
    else:
        ranges.append((low, high))


def _pieces(plan: Plan, space: AddressSpace) -> Iterator[tuple[int, int, memoryview | None, str]]:
    """Offset, bytes, contents, and what it is, of all parts of a file in order."""
    at = 0
    for low in range(0, len(plan.offset), 65536):
        part = slice(low, low + 65536)
        rows = zip(
            plan.offset[part].tolist(),
            plan.address[part].tolist(),
            plan.length[part].tolist(),
            strict=True,
        )
        for offset, address, length in rows:
            if offset > at:
                yield at, offset - at, None, "gap"
            for start, size, data, state in _known(space, address, length):
                yield offset + start - address, size, data, state
            at = offset + length
    if at < plan.size:
        yield at, plan.size - at, None, "gap"


def _known(
    space: AddressSpace, address: int, length: int
) -> Iterator[tuple[int, int, memoryview | None, str]]:
    """Memory in parts of at most ``CHUNK`` bytes."""
    if length <= CHUNK:
        try:
            yield address, length, space.read(address, length), "data"
            return
        except MemoryFault:
            pass
    stop = address + length
    while address < stop:
        size = min(CHUNK, stop - address)
        if not space.contains(address):
            # A gap may be larger than any file: it is one step, whatever its size.
            size = min(stop, _next_extent(space, address)) - address
            yield address, size, None, "hole"
            address += size
            continue
        pieces = space.known(address, size)
        for index, (start, data, state) in enumerate(pieces):
            end = pieces[index + 1][0] if index + 1 < len(pieces) else address + size
            yield start, end - start, data, state
        address += size


def _next_extent(space: AddressSpace, address: int) -> int:
    starts = space.extents()[:, 0]
    row = int(np.searchsorted(starts, np.uint64(address), side="right"))
    return int(starts[row]) if row < len(starts) else 1 << 64


class _Batch:
    """Collects small pieces into large writes."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.buffers: list[Buffer] = []
        self.bytes = 0
        self.fresh = False

    def data(self, view: Buffer) -> None:
        self.buffers.append(view)
        self.bytes += len(view)
        self.fresh = self.bytes >= CHUNK or len(self.buffers) >= PENDING
        if self.fresh:
            self.flush()

    def hole(self, size: int) -> None:
        self.flush()
        self.sink.hole(size)

    def pattern(self, at: int, size: int) -> None:
        """Bytes that show their own offset: the pattern starts at multiples of its length."""
        whole = PATTERN * ((1 << 20) // len(PATTERN) + 1)
        while size > 0:
            skip = at % len(PATTERN)
            step = min(size, 1 << 20)
            self.data(memoryview(whole)[skip : skip + step])
            at, size = at + step, size - step

    def flush(self) -> None:
        if self.buffers:
            self.sink.data(self.buffers)
        self.buffers, self.bytes = [], 0
