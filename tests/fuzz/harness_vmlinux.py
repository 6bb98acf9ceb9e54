"""A kernel's file: its strings, its release, and drafts of its structs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from khotool.abi.definition import Kind
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry
from khotool.authoring.draft import Drafter
from khotool.authoring.vmlinux import VERSIONS, Vmlinux
from khotool.errors import DefinitionError, InputError
from khotool.render.draft import draft_text, split_known, with_uses
from tests.builders import REGISTRY
from tests.unit.authoring.elf_builder import elf

KIND = "binary"
RUNS = 1500

MOST_STRUCTS = 20
FIXTURES = Path(__file__).parents[2] / "fixtures" / "real"


def seeds() -> Iterator[bytes]:
    """BTF of real kernels, alone and in ELF files with a table of strings."""
    table = b"PULV\1\0\0\0" + b"kho-v4".ljust(48, b"\0") + b"luo-v5".ljust(48, b"\0")
    for path in sorted(FIXTURES.glob("*/vmlinux.btf")):
        yield path.read_bytes()
        yield elf({".BTF": path.read_bytes(), VERSIONS: table}, more=b"Linux version 7.4.0 (x)")
    yield elf({VERSIONS: table}, bits=32)


def one_input(data: bytes) -> None:
    """What is read is refused, or drafts of it are definitions."""
    kernel = Vmlinux("fuzz", memoryview(data))
    kernel.release()
    with suppress(InputError):
        kernel.versions()
    btf = kernel.btf()
    for name in islice(btf.structs, MOST_STRUCTS):
        drafter = Drafter(btf)
        try:
            wanted = drafter.draft(name).name
        except InputError:
            continue
        structs, uses = split_known(drafter.done.values(), [wanted], REGISTRY)
        text = with_uses(draft_text(structs, "x", Kind.FILE, None, "fuzz"), uses.values())
        try:
            definition = load_definition(text.encode(), "fuzz")
            registry = Registry([*REGISTRY, definition])
            for struct in definition.structs:
                registry.compile(definition, struct, Geometry(4096))
        except DefinitionError as error:
            raise AssertionError(f"draft of {name!r}: {error}") from error
