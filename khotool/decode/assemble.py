"""The image of a finished walk."""

from __future__ import annotations

from khotool.absent import Absent
from khotool.decode.walk import Walker
from khotool.model.image import Image, Phase, Root, Scratch


def build_image(walker: Walker, roots: list[Root], scratch: Scratch | Absent) -> Image:
    """What a walk found, as an image whose phase is still to be settled."""
    return Image(
        info=walker.space.info,
        space=walker.space,
        registry=walker.registry,
        geometry=walker.geometry,
        tree=walker.tree,
        roots=roots,
        map=walker.map,
        scratch=scratch,
        phase=Phase.UNKNOWN,
        claims=walker.claims,
        regions=walker.regions,
        used=list(walker.used.values()),
        choices=list(walker.choices.values()),
        findings=walker.complaints(),
    )
