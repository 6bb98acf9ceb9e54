"""Valid inputs of every target; mutations start from them."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from khotool.encode.document import full_document
from khotool.encode.segments import write_image
from khotool.memory.compression import zstd_module
from tests.builders import CAPTURES, REAL, build, capture
from tests.fuzz.damage import BASES, EDITS, MANIFESTS, base

ROOT = Path(__file__).parents[2]
#: Captures of 64 KiB to 4 MiB: only the small ones are mutated as files.
SMALL = CAPTURES[:2]


def recipes() -> Iterator[bytes]:
    for number in range(BASES):
        yield bytes([number]) + EDITS.pack(2, 40 * number, number)
        yield bytes([number + BASES * 15]) + EDITS.pack(4, 8, 1) + EDITS.pack(5, 9000, 17)


def blobs() -> Iterator[bytes]:
    for number in range(BASES):
        image = base(number).image
        for node in (image.tree, *image.entries):
            span = node.target or node.span
            if span is not None and image.space.contains(span.address, 4096):
                data = bytes(image.space.read(span.address, 4096))
                if data.startswith(b"\xd0\x0d\xfe\xed"):
                    yield data


@cache
def cores() -> list[bytes]:
    """ELF cores of a few pages each."""
    made = [lzma.decompress((REAL / name / "image.elf.xz").read_bytes()) for name in SMALL]
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        for manifest in MANIFESTS:
            file = Path(folder) / "image.elf"
            write_image(file, build(dict(manifest)))
            made.append(file.read_bytes())
    return [core for core in made if len(core) < 1 << 20]


def kdumps() -> Iterator[bytes]:
    from tests.unit.memory.kdump_builder import build_kdump, flatten

    pages = {pfn: bytes([pfn]) * 2048 + bytes(2048) for pfn in (1, 2, 3, 9)}
    plain = build_kdump(pages, vmcoreinfo=b"OSRELEASE=7.3.4\nPAGESIZE=4096\n")
    yield plain
    yield build_kdump(pages, order=">", version=3)
    yield build_kdump(pages, split=(1, 3))
    yield flatten(plain)


def limes() -> Iterator[bytes]:
    ranges = ((0x1000, bytes(4096)), (0x8000, b"\xd0\x0d\xfe\xed" * 1024))
    yield b"".join(
        b"EMiL" + struct.pack("<IQQ8x", 1, start, start + len(data) - 1) + data
        for start, data in ranges
    )


def tars() -> Iterator[bytes]:
    for file in sorted(REAL.glob("*/debugfs.tar.xz")):
        yield lzma.decompress(file.read_bytes())


def files() -> Iterator[bytes]:
    """Every container, bare and compressed."""
    yield from cores()
    yield from islice_blobs()
    yield from tars()
    yield from kdumps()
    yield from limes()
    zstd = zstd_module()
    for data in (cores()[0], next(tars())):
        yield gzip.compress(data, mtime=0)
        yield lzma.compress(data)
        if zstd is not None:
            yield bytes(zstd.compress(data))  # type: ignore[attr-defined]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("in/fdt", "in/../../x", "/in/sub_fdts/a"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    yield buffer.getvalue()


def islice_blobs() -> Iterator[bytes]:
    found = list(blobs())
    yield from found[::4]


def definitions() -> Iterator[bytes]:
    for file in sorted((ROOT / "formats").rglob("*.toml")):
        yield file.read_bytes()


def manifests() -> Iterator[bytes]:
    for manifest in MANIFESTS:
        yield json.dumps(manifest).encode()
    for file in sorted((ROOT / "fixtures").glob("good/*/recipe.toml")):
        # Large images take their time without being another input.
        if file.parent.name not in ("7.2-many-sessions", "7.2-huge-memfd"):
            yield file.read_bytes()
    for file in sorted((ROOT / "fixtures").glob("bad/*/recipe.toml"))[::4]:
        yield file.read_bytes()
    yield from documents()


def documents() -> Iterator[bytes]:
    for name in SMALL:
        yield json.dumps(full_document(capture(name))).encode()
    yield json.dumps(full_document(base(len(CAPTURES)).image)).encode()


def paths() -> Iterator[bytes]:
    yield b"/LUO/sessions[vm-alpha]/files[0x1]/data/folios[3]/pfn"
    yield b'/"a b"/sessions["a\\"]\\x00\\u1234"]'
    yield "/LUO/sessions[\u00e4\U0001f600]".encode()
    yield b"/"


def sections() -> Iterator[bytes]:
    """BTF of two structs, one of which holds an array and a union of the other."""
    strings = b"\0int\0inner\0kho_vmalloc\0a\0b\0kho_scratch\0addr\0size\0"

    def name(text: bytes) -> int:
        return strings.index(b"\0" + text + b"\0") + 1 if text else 0

    for order in "<>":

        def kind(label: bytes, info: int, size: int, *rest: int, order: str = order) -> bytes:
            words = (name(label), info, size, *rest)
            return struct.pack(f"{order}{len(words)}I", *words)

        types = b"".join(
            (
                kind(b"int", 1 << 24, 8, 64),
                kind(b"inner", 4 << 24 | 2, 16, name(b"a"), 1, 0, name(b"b"), 1, 64),
                kind(b"", 3 << 24, 0, 2, 1, 4),
                kind(b"", 5 << 24 | 1, 16, name(b"a"), 2, 0),
                kind(b"kho_vmalloc", 4 << 24 | 2, 80, name(b"a"), 3, 0, 0, 4, 512),
                kind(b"kho_scratch", 4 << 24 | 2, 16, name(b"addr"), 1, 0, name(b"size"), 1, 64),
            )
        )
        head = struct.pack(
            f"{order}HBB5I", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)
        )
        yield head + types + strings


_SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "fdt": blobs,
    "elf": lambda: iter(cores()),
    "kdump": kdumps,
    "lime": limes,
    "opened": files,
    "definition": definitions,
    "definitions-folder": definitions,
    "manifest": manifests,
    "document": documents,
    "path": paths,
    "btf": sections,
}


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """Valid inputs of a target, in a fixed order."""
    return tuple(_SEEDS.get(target, recipes)())
