"""Large images for measurements: sessions of memfds whose pages lie in one of three layouts.

``python -m tests.benchmarks.layouts OUT LAYOUT FILES PAGES`` writes one image.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from khotool.abi.registry import load_registry
from khotool.encode.segments import write_image
from khotool.handover import allocate
from khotool.manifest.making import Making
from khotool.opening.models import Model, build_model

LAYOUTS = ("runs", "random", "alternate")
"""Contiguous pages; the same pages shuffled among all files; every second page of memory."""


class ScatteredAllocator(allocate.Allocator):
    """Hands out the pages of files in one of the layouts."""

    layout = "runs"
    files = pages = 1
    _shuffled: Any = None

    def take(self, count: int, size: int, path: str, align: int | None = None) -> allocate.U64:
        """As the allocator's, for anything but the contents of files."""
        if count != self.pages or self.layout == "runs":
            return super().take(count, size, path, align)
        if self.layout == "alternate":
            return super().take(2 * count, size, path, align)[::2]
        if self._shuffled is None:
            every = super().take(count * self.files, size, path, align)
            self._shuffled = np.random.default_rng(1).permutation(every)
        taken, self._shuffled = self._shuffled[:count], self._shuffled[count:]
        return np.asarray(taken)


def write_layout(path: Path, layout: str, files: int, pages: int) -> None:
    """Write an ELF core with ``files`` memfds of ``pages`` pages each, without their contents."""
    ScatteredAllocator.layout = layout
    ScatteredAllocator.files, ScatteredAllocator.pages = files, pages
    manifest = {
        "abi": "7.3",
        "session": [
            {"name": f"vm-{n}", "file": [{"token": 1, "size": 4096 * pages}]} for n in range(files)
        ],
    }
    from khotool.encode import fresh

    before = vars(fresh)["Allocator"]
    vars(fresh)["Allocator"] = ScatteredAllocator
    making = Making((), rows=files * pages)
    model = Model.of(Path("model.toml"), manifest)
    try:
        write_image(path, build_model(model, load_registry(), making=making))
    finally:
        vars(fresh)["Allocator"] = before


if __name__ == "__main__":
    write_layout(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
