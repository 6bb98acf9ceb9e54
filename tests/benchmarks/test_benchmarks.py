"""How fast, as ratios.  Run with ``pytest -m benchmark tests/benchmarks``."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.measure import ROOT, Results, best, child_cpu

pytestmark = pytest.mark.benchmark
CAPTURE = str(ROOT / "fixtures/real/linux-7.3.4/image.elf.xz")

EDGE_WALK = """\
#include <stddef.h>
#include <stdint.h>
size_t runs(const uint64_t *words, size_t n, int64_t *out)
{
    size_t found = 0;
    uint64_t before = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t edges = words[i] ^ ((words[i] << 1) | before);
        before = words[i] >> 63;
        while (edges) {
            out[found++] = (int64_t)(i * 64 + __builtin_ctzll(edges));
            edges &= edges - 1;
        }
    }
    if (before)
        out[found++] = (int64_t)(n * 64);
    return found;
}
"""


def test_help(results: Results) -> None:
    """``khotool --help`` costs little more than the interpreter itself."""
    bare = child_cpu("-c", "pass", rounds=15)
    help_ = child_cpu("-m", "khotool", "--help", rounds=15)
    results.add("khotool --help, CPU", help_, "bare interpreter, CPU", bare, 10)


def test_summary(results: Results) -> None:
    """A summary of a small capture costs little more than importing what it needs."""
    libraries = child_cpu("-c", "import argparse, numpy, construct, lzma")
    summary = child_cpu("-m", "khotool", "dump", "--summary", CAPTURE)
    results.add("dump --summary, CPU", summary, "import numpy and construct, CPU", libraries, 4)


@pytest.mark.parametrize("density", [0.001, 0.5, 0.999])
def test_bitmap_runs(density: float, results: Results, tmp_path: Path) -> None:
    """Runs of a bitmap of 8 MiB come close to a walk over edges in C."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = tmp_path / "edges.c"
    source.write_text(EDGE_WALK)
    library = tmp_path / "edges.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    from khotool.pages.bitmaps import runs_of_bits

    random = np.random.default_rng(7)
    if density == 0.5:
        words = random.integers(0, 1 << 64, 1 << 20, np.uint64)
    else:
        set_ = random.random(1 << 20) < min(density, 1 - density) * 8
        sparse = np.where(set_, np.uint64(0x0000FF0000000000), np.uint64(0))
        words = sparse if density < 0.5 else ~sparse
    out = np.empty(64 * len(words) + 2, np.int64)
    out[:] = 0
    walk = ctypes.CDLL(str(library)).runs
    walk.restype = ctypes.c_size_t
    arguments = (
        words.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(len(words)),
        out.ctypes.data_as(ctypes.c_void_p),
    )
    found = walk(*arguments)
    mine = runs_of_bits(words)
    assert np.array_equal(mine.reshape(-1), out[:found])
    results.add(
        f"runs of 8 MiB bitmap, {density:g} set",
        best(lambda: runs_of_bits(words)),
        "edge walk in C",
        best(lambda: walk(*arguments)),
        12,
    )


def test_fdt_parse(results: Results) -> None:
    """The bounds-checked parser is not much slower than pyfdt, which checks nothing."""
    from io import BytesIO

    from pyfdt.pyfdt import FdtBlobParse

    from khotool.fdt.blob import Node, Property
    from khotool.fdt.parse import parse
    from khotool.fdt.write import build_sequential

    top = Node("")
    for number in range(2000):
        child = Node(f"node-{number}")
        child.items += [Property(f"p{i}", number.to_bytes(8, "little")) for i in range(3)]
        top.items.append(child)
    data = build_sequential(top)
    results.add(
        "parse a tree of 2000 nodes",
        best(lambda: parse(data)),
        "pyfdt",
        best(lambda: FdtBlobParse(BytesIO(data)).to_fdt()),
        2,
    )


def test_scan(results: Results, tmp_path: Path) -> None:
    """Looking for roots in 1 GiB of raw memory costs about one word a page."""
    import mmap

    from khotool.abi.registry import load_registry
    from khotool.discovery.scan import scan
    from khotool.fdt.blob import Node, Property
    from khotool.fdt.write import build_sequential
    from khotool.limits import Limits
    from khotool.memory.source import open_source
    from khotool.memory.space import AddressSpace

    root = Node("")
    root.items.append(Property("compatible", b"kho-v4\0"))
    path = tmp_path / "raw"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek((1 << 30) - 4096)
        file.write(build_sequential(root))

    def words() -> int:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            pages = np.frombuffer(data, np.uint64).reshape(-1, 512)
            count = int(np.count_nonzero(pages[:, 0]))
            del pages
            return count

    registry = load_registry()

    def look() -> None:
        space = open_source(path, base=0)
        assert isinstance(space, AddressSpace)
        with space:
            found = scan(space, registry, "little", Limits())
            assert (found.pages, len(found.roots)) == (1 << 18, 1)

    results.add("scan of 1 GiB", best(look, 5), "one word a page with numpy", best(words, 5), 6)


def test_encode_million_folios(results: Results, tmp_path: Path) -> None:
    """A handover of a million folios is laid out and written in less than 3 s."""
    from khotool.abi.registry import load_registry
    from khotool.encode.segments import write_image
    from khotool.opening.models import Model, build_model

    registry = load_registry()
    manifest = {
        "abi": "7.3",
        "session": [{"name": "vm", "file": [{"token": 1, "size": 4096 * 1_000_000}]}],
    }
    model = Model.of(Path("model.toml"), manifest)

    def encode() -> None:
        write_image(tmp_path / "image.elf", build_model(model, registry))

    rows = np.random.default_rng(1).integers(0, 1 << 40, 16_000_000, np.uint64)
    results.add(
        "encode a million folios",
        best(encode, 3),
        "sort 16 million words with numpy",
        best(lambda: np.sort(rows), 3),
        3,
    )
