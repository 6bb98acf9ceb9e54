"""Readers of others as a jury: dtc, fdtget and fdtdump see the trees that khotool sees."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from khotool.decode.open import open_image
from khotool.fdt.blob import FdtError, Node
from khotool.fdt.header import check
from khotool.fdt.parse import parse
from khotool.model.region import FdtRegion
from tests.builders import CAPTURES, REAL, capture
from tests.unit.fdt.made import fdt, words
from tests.unit.fdt.real_blobs import ALL

FIXTURES = REAL.parent
for program in ("dtc", "fdtget", "fdtdump"):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed", allow_module_level=True)

CHECK = re.compile(r"ERROR \((\w+)\)")
EDGES = (0, 1, 4, 7, 0x28, 0x38, 0x100, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFC, 0xFFFF_FFFF)
TOKENS = (0, 1, 2, 3, 4, 9, 0x7FFF_FFFC, 0xFFFF_FFFF)

KNOWN = {
    "bad-offset": "dtc does not mind reservations inside the header, or at an odd place",
    "data-after-end": "dtc stops at FDT_END and does not compare it with size_dt_struct",
    "missing-end": "dtc reads on behind size_dt_struct, up to totalsize",
    "depth": "dtc follows nodes to any depth; khotool stops at one that --limit raises",
    "misaligned": "dtc aligns tokens from wherever the structure block begins",
    "name-empty": "dtc takes a node or property without a name as one with an empty name",
    "named-root": "dtc takes a root of any name, which the format does not have",
    "no-root": "dtc reads on behind size_dt_struct, where the root is",
    "property-after-node": "dtc gathers all properties of a node; readers stop at the first node",
    "strings-overlap-struct": "dtc does not compare the blocks with each other",
    "truncated": "dtc reads a property that passes size_dt_struct, as long as totalsize holds it",
    "version": "dtc takes versions above 17, and below 16, for what they say they are",
}
"""Problems for which khotool complains about a blob that dtc reads, each with the reason."""

DTC_ONLY = {
    "property_name_chars": "the format allows any byte in a name but NUL; dtc checks its source",
    "node_name_chars": "as for properties",
}
"""Checks of dtc for which it refuses a blob that is fine for khotool, each with the reason."""


def blobs_in(path: Path) -> Iterator[bytes]:
    """Every complete tree of an image."""
    for region in open_image(path).regions:
        if isinstance(region, FdtRegion) and region.blob.complete:
            yield region.blob.data


@cache
def valid() -> dict[str, bytes]:
    """Distinct trees of the captures, of copies of debugfs and of images with a verdict."""
    found: dict[str, bytes] = dict(ALL)
    for name in CAPTURES:
        for region in capture(name).regions:
            if isinstance(region, FdtRegion):
                found[f"{name}{region.path}"] = region.blob.data
    for path in sorted(REAL.glob("*/debugfs.tar.xz")):
        with tarfile.open(path) as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                data = source.read() if source is not None else b""
                if data.startswith(b"\xd0\x0d\xfe\xed"):
                    # 6.19 cuts what it shows of its root.
                    found[f"{path.parent.name}/{member.name}"] = data
    for path in sorted(FIXTURES.glob("verdicts/*/image.elf.xz"))[::5]:
        for number, data in enumerate(blobs_in(path)):
            found[f"{path.parent.name}-{number}"] = data
    distinct = {data: name for name, data in found.items() if parse(data).complete}
    return {name: data for data, name in distinct.items()}


def malformed() -> Iterator[tuple[str, bytes]]:
    """A few hundred blobs with one word, or a few bytes, replaced, or their end cut off."""
    for name in ("KHO_TEST_6_17", "LUO_7_1"):
        blob = ALL[name]
        for at in range(0, 40, 4):
            for value in EDGES:
                yield f"{name}: header word {at:#x} {value:#x}", put(blob, at, words(value))
        start, size = struct.unpack_from(">I", blob, 8)[0], struct.unpack_from(">I", blob, 36)[0]
        for at in range(start, start + size, 12):
            for value in TOKENS:
                yield f"{name}: word {at:#x} {value:#x}", put(blob, at, words(value))
        for end in range(0, len(blob), 17):
            yield f"{name}: {end} bytes", blob[:end]
        rng = random.Random(name)
        for number in range(100):
            at = rng.randrange(len(blob))
            yield f"{name}: random {number}", put(blob, at, rng.randbytes(rng.randint(1, 8)))
    nodes = words(1, 0x61000000, 2) * 2
    yield "two nodes of one name", fdt(words(1, 0) + nodes + words(2, 9))
    yield "two properties of one name", fdt(words(1, 0) + words(3, 0, 0) * 2 + words(2, 9))
    yield "a property behind a node", fdt(words(1, 0, 1, 0x61000000, 2, 3, 0, 0, 2, 9))
    yield "two roots", fdt(words(1, 0, 2, 1, 0, 2, 9))
    yield "a root with a name", fdt(words(1, 0x61000000, 2, 9))
    yield "deep", fdt(words(1, 0) * 65 + words(2) * 65 + words(9))
    yield "a slash", fdt(words(1, 0, 1, 0x612F6200, 2, 2, 9))
    yield "a name not in ASCII", fdt(words(1, 0, 1, 0x61FF6200, 2, 2, 9))
    yield "data behind the end", fdt(words(1, 0, 2, 9, 4, 4))
    yield "strings within the structure", fdt(off_dt_strings=56, size_dt_strings=16)
    yield "not aligned", fdt(b"\0" + words(1, 0, 2, 9), off_dt_struct=57)


def put(blob: bytes, at: int, new: bytes) -> bytes:
    return (blob[:at] + new + blob[at + len(new) :])[: len(blob)]


def dtc(data: bytes, output: Path) -> tuple[bool, set[str]]:
    """Whether dtc reads a blob, and writes what it read; the names of its checks that say no."""
    command = ["dtc", "-q", "-I", "dtb", "-O", "dtb", "-o", str(output), "-"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=20, check=False)
    return done.returncode == 0, set(CHECK.findall(done.stderr.decode("latin-1")))


def tree(root: Node | None) -> list[tuple[int, str, list[tuple[str, bytes]]]]:
    """Depth, name and properties of every node in order."""
    assert root is not None
    return [
        (depth, node.name, [(item.name, item.value) for item in node.properties])
        for depth, node in root.walk()
    ]


def test_dtc_refuses_what_khotool_complains_about(tmp_path: Path) -> None:
    """Of hundreds of malformed blobs, those on which they differ have a known reason.

    What both take is the same tree in both readers.
    """
    unexplained, used, both = [], set(), {"refused": 0, "read": 0}
    output = tmp_path / "out.dtb"
    for what, data in malformed():
        try:
            blob = parse(data)
            check(blob)
        except FdtError:
            codes, fine = {"no tree at all"}, False
        else:
            codes, fine = {problem.code for problem in blob.problems}, blob.complete
            fine = fine and not codes
        reads, checks = dtc(data, output)
        if reads == fine:
            both["read" if reads else "refused"] += 1
            if reads and tree(parse(output.read_bytes()).root) != tree(blob.root):
                unexplained.append(f"{what}: another tree")
        elif reads and codes <= set(KNOWN):
            used |= codes
        elif not reads and checks and checks <= set(DTC_ONLY):
            used |= checks
        else:
            unexplained.append(f"{what}: dtc {'reads' if reads else 'refuses'} it, {codes}")
    assert "\n".join(unexplained) == ""
    assert {*KNOWN, *DTC_ONLY} - used == set()
    assert min(both.values()) > 100


@pytest.mark.parametrize("name", sorted(valid()))
def test_every_valid_tree_reads_the_same(name: str, tmp_path: Path) -> None:
    """fdtget finds the same nodes, properties and bytes; dtc and fdtdump take the blob."""
    data = valid()[name]
    file = tmp_path / "blob.dtb"
    file.write_bytes(data)
    assert dtc(data, tmp_path / "out.dtb")[0]
    dumped = run("fdtdump", str(file))
    blob = parse(data)
    assert blob.root is not None
    assert f"// totalsize:\t\t{blob.totalsize:#x} ({blob.totalsize})" in dumped
    pending = [("/", blob.root)]
    while pending:
        path, node = pending.pop()
        children = [(f"{path.rstrip('/')}/{child.name}", child) for child in node.children]
        assert run("fdtget", "-l", str(file), path).split() == [c.name for c in node.children]
        names = [item.name for item in node.properties]
        assert run("fdtget", "-p", str(file), path).split() == names
        for item in node.properties:
            said = run("fdtget", "-t", "bx", str(file), path, item.name)
            assert bytes(int(word, 16) for word in said.split()) == item.value
        pending += children


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, timeout=20, check=True)
    return done.stdout.decode("latin-1")
