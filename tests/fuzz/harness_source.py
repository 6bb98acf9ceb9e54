"""A file of any container as a user gives it, compressed or not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from khotool.check.run import check_image
from khotool.decode.open import open_image
from khotool.limits import OpenOptions
from khotool.memory.source import open_source
from khotool.memory.space import AddressSpace
from tests.fuzz.containers import compressed, cores, kdumps, limes, tars
from tests.fuzz.damage import LIMITS
from tests.fuzz.harness_fdt import seeds as blobs
from tests.fuzz.look import MOST_BYTES, look_around, show

KIND = "binary"
RUNS = 1200


def seeds() -> Iterator[bytes]:
    """Every container, bare and compressed."""
    yield from cores()
    yield from list(blobs())[::4]
    yield from tars()
    yield from kdumps()
    yield from limes()
    for data in (cores()[0], next(tars())):
        yield from compressed(data)


def one_input(data: bytes) -> None:
    """What a file holds shows in its bytes; then it is decoded, shown and checked."""
    with tempfile.NamedTemporaryFile(prefix="khotool-fuzz-") as file:
        file.write(data)
        file.flush()
        source = open_source(file.name, limit=MOST_BYTES)
        if isinstance(source, AddressSpace):
            look_around(source)
        image = open_image(file.name, OpenOptions(limits=LIMITS))
    show(image)
    check_image(image)
