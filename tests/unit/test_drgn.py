"""The handover of a program that drgn debugs; skipped where drgn is not installed."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import pytest

import khotool
import khotool.drgn
from khotool.errors import InputError, UsageError

drgn = pytest.importorskip("drgn")

REAL = Path(__file__).parents[2] / "fixtures" / "real"
X86 = ["linux-6.18.15", "linux-7.3.4"]


def program_of(name: str, folder: Path) -> tuple[Any, Path]:
    """A program of a capture, as drgn opens the core."""
    path = folder / "image.elf"
    path.write_bytes(lzma.decompress((REAL / name / "image.elf.xz").read_bytes()))
    program = drgn.Program()
    program.set_core_dump(str(path))
    return program, path


def sessions(image: khotool.OpenImage) -> list[Any]:
    return [
        (one.name, [(file.token, file.handler, file.size) for file in one.files])
        for one in image.luo.sessions
    ]


@pytest.mark.parametrize("name", X86)
def test_the_same_as_from_the_file(name: str, tmp_path: Path) -> None:
    """Root, map, sessions and findings of a real core, every byte read by drgn."""
    program, path = program_of(name, tmp_path)

    with khotool.drgn.open(program) as image, khotool.open(path) as expected:
        assert image.model.tree.span == expected.model.tree.span
        assert sessions(image) == sessions(expected)
        assert [f.rule for f in image.findings] == [f.rule for f in expected.findings]
        assert image.model.info.osrelease == expected.model.info.osrelease
        assert image.model.info.container == "drgn"


def test_a_root_by_its_address(tmp_path: Path) -> None:
    """The user's root is taken as it is; one that is not there is refused."""
    program, path = program_of("linux-7.3.4", tmp_path)
    with khotool.open(path) as expected:
        span = expected.model.tree.span
    assert span is not None

    with khotool.drgn.open(program, root=span.address) as image:
        assert len(sessions(image)) == 4
    with pytest.raises(InputError, match="no device tree at"):
        khotool.drgn.open(program, root=span.address + 4096)
    with pytest.raises(UsageError, match="no roots that symbols name"):
        khotool.drgn.open(program, root="out")


def symbolic(path: Path, address: int) -> Any:
    """A program with the memory of a core, and with ``kho_in`` as debugging symbols have it."""
    with khotool.open(path) as image:
        extents = image.model.space.extents().tolist()
        pieces = {
            start: bytes(image.model.space.read(start, end - start)) for start, end in extents
        }
    program = drgn.Program(drgn.host_platform)
    for start, data in pieces.items():

        def read(at: int, count: int, offset: int, physical: bool, data: bytes = data) -> bytes:
            return data[offset : offset + count]

        program.add_memory_segment(start, len(data), read, physical=True)
    number = program.int_type("u64", 8, False)
    kind = program.struct_type(
        "kho_in", 8, (drgn.TypeMember(number, name="fdt_phys", bit_offset=0),)
    )

    def find(given: Any, name: str, flags: Any, filename: str | None) -> Any:
        return drgn.Object(given, kind, {"fdt_phys": address}) if name == "kho_in" else None

    program.register_object_finder("symbols", find, enable_index=0)
    return program


def test_a_root_by_its_symbol(tmp_path: Path) -> None:
    """``kho_in`` names the root, so that no memory is searched; memory is as the user says."""
    _, path = program_of("linux-7.3.4", tmp_path)
    with khotool.open(path) as expected:
        span, extents = expected.model.tree.span, expected.model.space.extents().tolist()
    assert span is not None
    program = symbolic(path, span.address)
    memory = [(start, end - start) for start, end in extents]

    assert khotool.drgn.roots(program) == {"in": span.address}
    with khotool.drgn.open(program, root="in", memory=memory) as image:
        assert image.model.tree.span == span
        assert len(sessions(image)) == 4
    with pytest.raises(UsageError, match="where memory is"):
        khotool.drgn.open(program)


def test_the_debugger_is_not_this_module() -> None:
    """``import drgn`` inside the package is the debugger's."""
    assert drgn.__name__ == "drgn"
    assert hasattr(drgn, "Program")
    assert not hasattr(khotool.drgn, "Program")
