"""A model that a user wrote, in TOML or JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from khotool.encode.reopen import image_of
from khotool.encode.segments import page_segments
from khotool.limits import Limits
from khotool.manifest.making import Making
from khotool.opening.models import build_model, read_model
from tests.builders import REGISTRY
from tests.fuzz.damage import MANIFESTS
from tests.fuzz.harness_document import seeds as documents
from tests.fuzz.look import show

KIND = "text"
RUNS = 2500

FIXTURES = Path(__file__).parents[2] / "fixtures"
#: Large images take their time without being another input.
LARGE = ("7.2-many-sessions", "7.2-huge-memfd")


def seeds() -> Iterator[bytes]:
    """Manifests, recipes of fixtures, and full dumps."""
    for manifest in MANIFESTS:
        yield json.dumps(manifest).encode()
    for file in sorted(FIXTURES.glob("good/*/recipe.toml")):
        if file.parent.name not in LARGE:
            yield file.read_bytes()
    for file in sorted(FIXTURES.glob("bad/*/recipe.toml"))[::4]:
        yield file.read_bytes()
    yield from documents()


def one_input(data: bytes) -> None:
    """A model is refused with its place, or built, and what is built decodes."""
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        path = Path(folder) / "model"
        path.write_bytes(data)
        built = build_model(read_model(path), REGISTRY, making=Making.of_reader(Limits()))
        page_segments(built.segments, built.geometry.page_size)
        show(image_of(built, REGISTRY))
