"""Images for tests: from manifests, and from captures with bytes written over them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from khotool.abi.registry import load_registry
from khotool.check.catalogue import severity
from khotool.decode.open import open_image, open_memory
from khotool.encode.fresh import Built
from khotool.encode.reopen import image_of
from khotool.findings import Severity
from khotool.limits import OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image
from khotool.opening.models import Model, build_model

REGISTRY = load_registry()
ALL_SETS = tuple(REGISTRY.sets)
SETS = tuple(name for name, abi in REGISTRY.sets.items() if abi.status == "merged")
"""Sets of released kernels; the others are of postings and development trees."""
LUO_SETS = tuple(name for name in SETS if "LUO" in REGISTRY.sets[name].entries)
REAL = Path(__file__).parents[1] / "fixtures" / "real"
CAPTURES = tuple(sorted(path.parent.name for path in REAL.glob("*/image.elf.xz")))
NAME = "model.toml"


@cache
def capture(name: str) -> Image:
    """A real capture, opened once; tests do not change it."""
    return open_image(REAL / name / "image.elf.xz")


def build(manifest: dict[str, Any], folder: Path | None = None) -> Built:
    """The image of a manifest."""
    return build_model(Model.of((folder or Path()) / NAME, manifest), REGISTRY)


def decode(manifest: dict[str, Any]) -> Image:
    """A manifest built and decoded, without a file between."""
    return image_of(build(manifest), REGISTRY)


def overlaid(
    image: Image, writes: Iterable[tuple[int, bytes]], options: OpenOptions | None = None
) -> Image:
    """A capture decoded once more with bytes written over its memory."""
    return open_memory(OverlaySpace(image.space, writes), REGISTRY, options or OpenOptions())


def worst(image: Image) -> list[str]:
    """What decoding found that is more than a note."""
    return [
        f"{finding.rule} {finding.path}: {finding.message}"
        for finding in image.findings
        if severity(finding.rule) is not Severity.NOTE
    ]
