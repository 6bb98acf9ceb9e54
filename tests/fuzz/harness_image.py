"""The walk over a whole image, and every feature that reads what it found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from khotool.check.kernels.judge import judge
from khotool.check.run import check_image
from khotool.diff.changes import DiffOptions
from khotool.diff.compare import compare
from khotool.errors import KhotoolError
from khotool.extract.plan import Plan
from khotool.extract.select import payload_plan, raw_plan
from khotool.model.image import Image
from tests.fuzz.damage import BASES, EDITS, NAMED, damaged
from tests.fuzz.look import show

KIND = "recipe"
RUNS = 500

KERNELS = ("6.17", "6.19", "7.1", "7.3")
SHOWN = 2000


def seeds() -> Iterator[bytes]:
    """Recipes of damage for every capture, the root named and not."""
    for number in range(BASES):
        yield bytes([number]) + EDITS.pack(2, 40 * number, number)
        yield bytes([number | NAMED]) + EDITS.pack(4, 8, 1) + EDITS.pack(5, 9000, 17)


def one_input(data: bytes) -> None:
    """A damaged capture is shown, checked, judged, compared with itself, and planned to extract."""
    image = damaged(data)
    show(image)
    image.ownership()
    check_image(image)
    for release in KERNELS:
        json.dumps(judge(image, release).document())
    options = DiffOptions(addresses=True, pages=True, contents=True)
    assert not compare(image, image, options).changes
    extract(image)


def extract(image: Image) -> None:
    """No plan is longer than its pieces."""
    extents = image.space.extents()
    for node in islice(image.tree.walk(), SHOWN):
        for make in (payload_plan, raw_plan):
            with suppress(KhotoolError):
                probe(make(image, node), extents)


def probe(plan: Plan, extents: NDArray[np.uint64]) -> None:
    """The sums of a plan agree with each other."""
    assert plan.holes >= 0
    missing = plan.missing(extents)
    assert int((missing[:, 1] - missing[:, 0]).sum()) <= plan.mapped
