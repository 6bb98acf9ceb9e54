"""Images of a few pages, one for each kind of record that khotool knows, damaged in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from zlib import crc32

from khotool.check.kernels.judge import judge
from khotool.diff.changes import DiffOptions
from khotool.diff.compare import compare
from khotool.encode.reopen import image_of
from khotool.opening.models import build_model, read_model
from tests.builders import REGISTRY
from tests.fuzz.damage import EDITS, GUIDED, NAMED, Base, base_of, damaged
from tests.fuzz.harness_encode import comes_back
from tests.fuzz.harness_image import extract
from tests.fuzz.look import show

KIND = "recipe"
RUNS = 2000

GOOD = Path(__file__).parents[2] / "fixtures" / "good"
#: Bytes of memory of an image, and nodes of its model.
LARGEST, MOST_NODES = 400_000, 160
#: One of so many images is also encoded, judged, compared and planned to extract.
SELDOM = 40


@cache
def bases() -> tuple[Base, ...]:
    """Images of recipes, as long as they are small; the first byte of an input numbers 128."""
    found = []
    for file in sorted(GOOD.glob("*/recipe.toml")):
        built = build_model(read_model(file), REGISTRY)
        if sum(len(data) for _, data in built.segments) > LARGEST:
            continue
        image = image_of(built, REGISTRY)
        if sum(1 for _ in image.tree.walk()) <= MOST_NODES:
            found.append(base_of(image))
    return tuple(found[:NAMED])


def base(number: int) -> Base:
    """One of them by number."""
    return bases()[number % len(bases())]


def seeds() -> Iterator[bytes]:
    """An edit of every image, by meaning and not, with the root named and not."""
    for number in range(len(bases())):
        yield bytes([number]) + EDITS.pack(number % 10, 40 * number, number)
        yield bytes([number | NAMED]) + EDITS.pack(GUIDED, 7 * number, number << 16 | number)


def one_input(data: bytes) -> None:
    """It is shown, its pages are counted, and its full dump gives its bytes back."""
    image = damaged(data, base)
    show(image)
    owned = image.ownership()
    if owned is not None:
        assert owned.owned_pages + owned.unowned_pages == owned.preserved_pages
    if crc32(data) % SELDOM == 0:
        comes_back(image)
        judge(image, "7.3").document()
        assert not compare(image, image, DiffOptions(addresses=True, pages=True)).changes
        extract(image)
