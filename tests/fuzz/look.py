"""What is done with whatever opens: every kind of access to memory, everything that is shown."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice

from khotool.check.catalogue import count_by_severity
from khotool.check.run import check_image
from khotool.document.dump import dump_document
from khotool.memory.space import ADDRESS_LIMIT, AddressSpace, MemoryFault
from khotool.model.image import Image
from khotool.render.json import json_chunks
from khotool.render.tree import TreeOptions, tree_lines

#: Expanding a compressed file, and the walk over it, end at this many bytes.
MOST_BYTES = 32 << 20


def nothing() -> None:
    """Frees a buffer that needs no freeing."""


def look_around(space: AddressSpace) -> None:
    """Every kind of access to memory, at its ends and across its holes."""
    extents = space.extents()
    rows = extents[:: max(1, len(extents) // 8)].tolist()
    for start, end in rows:
        assert start < end
        size = min(end - start, 4096)
        for address in (start, end - size, end - 1, max(start - 8, 0)):
            with suppress(MemoryFault):
                assert len(space.read(address, size)) == size
        assert space.known(start, size)[0][0] == start
        list(
            islice(space.find(b"\xd0\x0d\xfe\xed", start, min(end, start + (1 << 20)), 1 << 20), 9)
        )
    space.gather(extents[:100, 0], 8)
    for _ in islice(space.first_words(4096), 100):
        pass
    with suppress(MemoryFault):
        space.read(ADDRESS_LIMIT - 16, 15)
    space.close()


def show(image: Image) -> None:
    """Everything that ``dump`` can print."""
    made = dump_document(image, count_by_severity(check_image(image)))
    for _ in json_chunks(made):
        pass
    for _ in tree_lines(image, image.tree, TreeOptions(None, 4, True)):
        pass
