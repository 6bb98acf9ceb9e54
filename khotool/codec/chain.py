"""Lists of equal pieces of memory, each of which names the next by its address."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from khotool.codec.problems import ShapeProblem
from khotool.memory.space import MemoryFault
from khotool.records import dataclass, field


@dataclass(slots=True)
class Chain:
    """A walk along such a list, which ends at the first thing that is wrong with its links.

    Args:
        what: what a piece is called in problems, such as ``block``.
        read: physical address to the bytes of the piece there; raises MemoryFault.
        follow: bytes of a piece to the physical address of the next, 0 after the last.
        page_size: alignment of the pieces, in bytes.
        most: pieces visited at most.
        problems: what stopped or disturbed the walk.
    """

    what: str
    read: Callable[[int], memoryview]
    follow: Callable[[memoryview], int]
    page_size: int
    most: int
    problems: list[ShapeProblem] = field(default_factory=list)

    def add(self, code: str, address: int, text: str, **data: int) -> None:
        """Record a problem at a physical address."""
        self.problems.append(ShapeProblem(code, address, text, data))

    def pieces(self, first: int) -> Iterator[tuple[int, memoryview]]:
        """Physical address and bytes of each piece; ``first`` is 0 for an empty list.

        Lower ``most`` between two pieces to stop earlier.
        """
        seen: set[int] = set()
        address = first
        while address:
            if address in seen:
                self.add("cycle", address, f"the list of {self.what}s comes back to here")
                return
            if len(seen) >= self.most:
                self.add("limit", address, f"stopped after {len(seen)} {self.what}s")
                return
            if address % self.page_size:
                self.add("unaligned", address, f"a {self.what} is not page aligned")
            try:
                data = self.read(address)
            except MemoryFault as fault:
                self.add("missing", fault.address, f"{self.what}: {fault}")
                return
            seen.add(address)
            yield address, data
            address = self.follow(data)
