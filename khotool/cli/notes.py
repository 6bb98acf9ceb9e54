"""Hints on stderr beside the output, and the exit code of ``--strict``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from khotool.model.image import Image


def strict_exit(image: Image, args: argparse.Namespace) -> int:
    """0; with ``--strict`` 1 if there is a finding of severity warning or error."""
    if not args.strict:
        return 0
    from khotool.check.catalogue import severity
    from khotool.check.run import check_image
    from khotool.findings import Severity

    loud = [f for f in check_image(image) if severity(f.rule) is not Severity.NOTE]
    return 1 if loud else 0


def geometry_hint(image: Image, args: argparse.Namespace) -> str | None:
    """One line if the map is only valid under a page size other than the one asked for."""
    if args.page_size is None or image.info.container in ("debugfs", "fdt"):
        return None
    from khotool.maps.preserved import PreservedMap

    root = image.root
    if root is None or root.address is None:
        return None
    if isinstance(image.map, PreservedMap) and image.map.blocks.block_of(root.address):
        return None
    best = fitting_page_size(image, root.address, args)
    if best is None or best == image.geometry.page_size:
        return None
    return (
        f"note: the preserved-page map is not valid with pages of {image.geometry.page_size} "
        f"bytes, but is with {best}: leave out --page-size, or give --page-size {best >> 10}K"
    )


def fitting_page_size(image: Image, address: int, args: argparse.Namespace) -> int | None:
    """The page size, in bytes, under which the map preserves the root's page; None for none."""
    from khotool.abi.geometry import PAGE_SIZES, Geometry
    from khotool.cli.options import options_from
    from khotool.codec.scene import Scene, read_tree
    from khotool.discovery.geometry import fit
    from khotool.discovery.scan import Candidate

    blob = read_tree(image.space, address)
    root = image.root
    if blob is None or root is None:
        return None
    candidate, options = Candidate(address, blob, root.compatible), options_from(args)
    best: tuple[int, int] | None = None
    chosen = None
    for size in PAGE_SIZES:
        geometry = Geometry(size, image.geometry.byteorder)
        scene = Scene.of(
            image.space, image.registry, geometry, limits=options.limits, abi=options.abi
        )
        covered, strange = fit(scene, [candidate])
        if covered and (best is None or (covered, -strange) > best):
            best, chosen = (covered, -strange), size
    return chosen
