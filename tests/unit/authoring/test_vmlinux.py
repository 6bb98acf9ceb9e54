"""Files of kernels at their bounds: how long a section may be, and what errors begin with."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from khotool.authoring import vmlinux as module
from khotool.authoring.vmlinux import (
    MOST_BTF,
    MOST_STRINGS,
    Vmlinux,
    boot_image,
    open_vmlinux,
    read_versions,
)
from khotool.errors import InputError
from tests.unit.authoring.btf_builder import BtfBuilder
from tests.unit.authoring.elf_builder import elf

HEAD = struct.pack("<II", 0x4C565550, 1)


def btf() -> bytes:
    builder = BtfBuilder()
    builder.group("it", 8, [("a", builder.integer(8), 0)])
    return builder.section()


def test_strings_of_full_length() -> None:
    """A string that takes all its 48 bytes ends there; an empty one is none."""
    rows = (b"a" * 48, b"b" * 48, b"c\0d", b"", b"e")
    section = HEAD + b"".join(row.ljust(48, b"\0") for row in rows)
    found = read_versions("x", memoryview(section), big=False)
    assert found == ["a" * 48, "b" * 48, "c", "e"]


def test_as_many_strings_as_may_be() -> None:
    """4096 strings are read, one more is an error."""
    row = b"s".ljust(48, b"\0")
    full = HEAD + row * MOST_STRINGS
    assert read_versions("x", memoryview(full), big=False) == ["s"] * 4096
    with pytest.raises(InputError, match=r"^x: section .* expected 48 for each of at most 4096$"):
        read_versions("x", memoryview(full + row), big=False)


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_longest_section_of_types(monkeypatch: pytest.MonkeyPatch, wrapped: bool) -> None:
    """A section of the length that is allowed is read, a longer one is not looked at."""
    assert MOST_BTF == 256 << 20
    data = btf()
    kernel = Vmlinux("x", memoryview(elf({".BTF": data}) if wrapped else data))
    monkeypatch.setattr(module, "MOST_BTF", len(data))
    assert list(kernel.btf().structs) == ["it"]
    monkeypatch.setattr(module, "MOST_BTF", len(data) - 1)
    with pytest.raises(InputError, match=rf"^x: {len(data)} bytes are too many for a BTF section$"):
        kernel.btf()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello", "x: not a BTF section; extract one"),
        (btf()[:-1], "x: the BTF section is cut short"),
        (elf({".text": b"x"}), "x: no section .BTF; build the kernel with"),
        (b"MZ\0\0zimg" + bytes(64), "x: a boot image, which carries no sections"),
    ],
)
def test_errors_name_the_file(data: bytes, message: str) -> None:
    """Whatever is wrong with the types, the line begins with the file."""
    with pytest.raises(InputError) as error:
        Vmlinux("x", memoryview(data)).btf()
    assert str(error.value).startswith(message)


def test_other_files_are_no_boot_images() -> None:
    """They have nothing to be told."""
    assert boot_image(memoryview(btf())) == ""
    assert boot_image(memoryview(b"")) == ""


def test_a_kernel_that_was_closed(tmp_path: Path) -> None:
    """Behind the block nothing of the file is left; what was read from it is."""
    path = tmp_path / "btf"
    path.write_bytes(btf())
    with open_vmlinux(str(path)) as kernel:
        found = kernel.btf()
        assert kernel.where == str(path)
    assert len(kernel.data) == 0
    assert list(found.structs) == ["it"]
