"""Images and scans that the tests of a fleet share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from khotool.fleet.engine import LocalEngine
from khotool.fleet.inputs import Label, expand
from khotool.fleet.scan import Progress, scan
from khotool.fleet.settings import Settings
from khotool.fleet.store import Store

pytest.importorskip("pyarrow")
pytest.importorskip("dask")
pytest.importorskip("duckdb")

REAL = Path(__file__).parents[3] / "fixtures/real"
KERNELS = ("6.18.15", "6.19.11", "7.3.4")


def make_images(folder: Path) -> Path:
    """Three captures of real kernels in a folder for each host, and a file that is not one."""
    for number, kernel in enumerate(KERNELS):
        host = folder / f"host-{number}"
        host.mkdir(parents=True)
        shutil.copy(REAL / f"linux-{kernel}" / "image.elf.xz", host / "image.elf.xz")
    (folder / "garbage.bin").write_bytes(bytes(range(256)) * 16)
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of a small fleet."""
    return make_images(tmp_path / "images")


def scan_into(out: Path, source: Path, **settings: object) -> Progress:
    """Scan a folder into another one with one local process."""
    wanted = Settings(("7.3",), **settings)  # type: ignore[arg-type]
    items = expand([str(source)], LABELS)
    store = Store.at(out, create=True)
    return scan(items, store, wanted, lambda found: LocalEngine(found, 1), lambda _: None)


Scan = Callable[..., Progress]


@pytest.fixture
def run_scan(tmp_path: Path) -> Scan:
    """Scan a folder into another one with one local process."""

    def run(source: Path, name: str = "scan", **settings: object) -> Progress:
        return scan_into(tmp_path / name, source, **settings)

    return run


LABELS = [Label.parse("host=(host-[0-9]+)/")]
