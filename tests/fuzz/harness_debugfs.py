"""A copy of /sys/kernel/debug/kho: a tar, and the folder that a careless tool makes of it."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from khotool.decode.blobs import open_debugfs
from khotool.errors import KhotoolError
from khotool.limits import OpenOptions
from khotool.memory.debugfs import DebugfsCopy, open_directory, open_tar
from khotool.memory.space import SourceInfo
from tests.builders import REGISTRY
from tests.fuzz.containers import tars
from tests.fuzz.damage import LIMITS
from tests.fuzz.look import show

KIND = "binary"
RUNS = 1500

SECRET = b"what stands outside of the copy"
MOST_MEMBERS = 60


def seeds() -> Iterator[bytes]:
    """Copies of real kernels, and archives of links and of names that lead out."""
    yield from tars()
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for name in ("in/fdt", "in/../../fdt", "/out/fdt", "in/sub_fdts/" + "n" * 80):
                member = tarfile.TarInfo(name)
                member.size = len(name)
                archive.addfile(member, io.BytesIO(name.encode()))
            for name in ("in/sub_fdts/up", "out/scratch_phys", "in/self"):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = tarfile.SYMTYPE, "../secret"
                archive.addfile(member)
        yield buffer.getvalue()


def one_input(data: bytes) -> None:
    """Nothing from outside of a copy gets in, whatever its names and links say."""
    with suppress(KhotoolError):
        copy = open_tar(SourceInfo("fuzz", "debugfs"), memoryview(data))
        stays_inside(copy)
        show(open_debugfs(copy, REGISTRY, OpenOptions(limits=LIMITS)))
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        (Path(folder) / "secret").write_bytes(SECRET)
        top = Path(folder) / "copy"
        top.mkdir()
        unpack(data, top)
        stays_inside(open_directory(str(top)))


def unpack(data: bytes, top: Path) -> None:
    """Files and links of an archive, the files inside of ``top`` at least."""
    with suppress(tarfile.TarError, OSError, ValueError, ArithmeticError, LookupError):
        archive = tarfile.open(fileobj=io.BytesIO(data), mode="r:")  # noqa: SIM115
        for number, member in enumerate(islice(archive, MOST_MEMBERS)):
            parts = [part for part in member.name.split("/") if part not in ("", ".", "..")]
            with suppress(OSError, ValueError, UnicodeError):
                place = top.joinpath(*parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                if member.isreg() and member.size <= len(data):
                    source = archive.extractfile(member)
                    place.write_bytes(source.read() if source is not None else b"")
                elif member.issym() or member.islnk():
                    aims = (top.parent / "secret", top, place, Path(member.linkname))
                    place.symlink_to(aims[number % len(aims)])


def stays_inside(copy: DebugfsCopy) -> None:
    """No tree is named upwards, and none holds what a link leads to."""
    for tree in copy.trees:
        assert ".." not in tree.name.split("/")
        assert not tree.name.startswith("/")
        for blob in (tree.fdt or b"", *tree.subtrees.values()):
            assert SECRET not in blob
