"""``khotool formats versions``: what a kernel says that it takes, or what khotool knows of it."""

from __future__ import annotations

import gzip
import json
import lzma
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.definition import AbiSet
from khotool.abi.load import load_definition
from khotool.abi.registry import Registry, shipped_registry
from khotool.authoring.versions import strings_of, versions_of
from khotool.authoring.vmlinux import MOST_STRINGS, VERSIONS, Vmlinux, read_versions
from khotool.cli.main import main
from khotool.errors import InputError
from khotool.memory.compression import zstd_module
from khotool.memory.sections import find_section
from tests.unit.authoring.elf_builder import elf

BANNER = b"\0Linux version %s\0Linux version 7.3.4-dirty (me@here) (gcc 14) #1 SMP\n\0"


def table(*strings: bytes, order: str = "<", magic: int = 0x4C565550, version: int = 1) -> bytes:
    return struct.pack(f"{order}II", magic, version) + b"".join(s.ljust(48, b"\0") for s in strings)


def kernel(*strings: bytes, more: bytes = BANNER, bits: int = 64) -> bytes:
    sections = {".text": b"x", VERSIONS: table(*strings)}
    return elf(sections, more=more, bits=bits)


@pytest.fixture
def vmlinux(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinux"
    path.write_bytes(kernel(b"kho-v4", b"luo-v5", b"memfd-v9", b"\x1b[31mred", b"x" * 48, b""))
    return path


def test_strings_of_the_section(vmlinux: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each string with the definition that khotool has for it; what is odd in it is escaped."""
    assert main(["formats", "versions", str(vmlinux)]) == 0
    out, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith("kho-v4 kho-v4")
    assert lines[1].startswith("luo-v5 luo-v5")
    assert lines[2] == "memfd-v9 no definition"
    assert "\x1b" not in out
    assert lines[4] == "x" * 48 + " no definition"
    assert len(lines) == 5
    assert err == ""


def test_json(vmlinux: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as a document."""
    assert main(["formats", "versions", str(vmlinux), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "khotool.formats-versions/1"
    assert (document["source"], document["set"]) == ("section", None)
    assert document["release"] == "7.3.4-dirty"
    assert document["strings"][0]["string"] == "kho-v4"
    assert "kho-v4" in document["strings"][0]["formats"]
    assert document["strings"][2] == {"string": "memfd-v9", "formats": []}


@pytest.mark.parametrize("bits", [32, 64])
def test_words_of_both_sizes(bits: int) -> None:
    """ELF files of 32 and of 64 bits."""
    assert Vmlinux("x", memoryview(kernel(b"a", bits=bits))).versions() == ["a"]


@pytest.mark.parametrize("bits", [32, 64])
def test_big_endian(bits: int) -> None:
    """Numbers have the byte order of the file."""
    data = elf({VERSIONS: table(b"a", b"b", order=">")}, bits=bits, order=">")
    assert Vmlinux("x", memoryview(data)).versions() == ["a", "b"]


@pytest.mark.parametrize("kind", ["xz", "gz", "zst"])
def test_compressed(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A compressed file is expanded."""
    module = zstd_module()
    if kind == "zst" and (module is None or not hasattr(module, "compress")):
        pytest.skip("no zstd")
    data = kernel(b"kho-v4")
    packed = {"xz": lzma.compress, "gz": gzip.compress, "zst": getattr(module, "compress", None)}
    path = tmp_path / f"vmlinux.{kind}"
    path.write_bytes(packed[kind](data))  # type: ignore[misc]
    assert main(["formats", "versions", str(path)]) == 0
    assert capsys.readouterr().out.startswith("kho-v4  kho-v4")
    path.write_bytes(path.read_bytes()[:-20])
    assert main(["formats", "versions", str(path)]) == 3


def test_kernel_without_section(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The release in the banner selects khotool's own list, which is marked as such."""
    path = tmp_path / "vmlinux"
    path.write_bytes(elf({".text": b"x"}, more=BANNER))
    assert main(["formats", "versions", str(path)]) == 0
    out, err = capsys.readouterr()
    assert {line.split()[0] for line in out.splitlines()} == {
        "kho-v4",
        "memblock-v1",
        "reserve-mem-v1",
        "luo-v5",
        "kho-test-v1",
        "memfd-v2",
    }
    assert err == (
        "khotool: the kernel has no section .liveupdate_versions: these are the strings of set "
        "7.2, as khotool knows release 7.3.4-dirty\n"
    )
    assert main(["formats", "versions", str(path), "--kernel", "6.17", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["source"], document["set"]) == ("khotool", "6.16")
    assert [row["string"] for row in document["strings"]] == [
        "kho-v1",
        "kho-test-v1",
        "memblock-v1",
        "reserve-mem-v1",
    ]


def test_release_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file, --kernel asks what khotool knows."""
    assert main(["formats", "versions", "--kernel", "7.1"]) == 0
    out, err = capsys.readouterr()
    assert "luo-session-v2  luo-session-v2" in out
    assert err == "khotool: these are the strings of set 7.1, as khotool knows release 7.1\n"
    assert main(["formats", "versions", "--kernel", "5.4"]) == 2
    assert "unknown kernel release '5.4'; the nearest" in capsys.readouterr().err
    assert main(["formats", "versions"]) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            b"MZ" + bytes(0x200) + b"HdrS" + bytes(64),
            "a bzImage, which carries no sections; run",
        ),
        (bytes(0x38) + b"ARM\x64" + bytes(64), "a boot image, which carries no sections; give the"),
        (b"MZ\0\0zimg" + bytes(64), "a boot image, which carries no sections"),
        (b"hello", "not an ELF file; give the vmlinux of the kernel's build"),
        (b"", "the file is empty"),
        (b"\x7fELF", "not an ELF file"),
        (b"\x7fELF" + b"\x09" * 80, "ELF file of unknown class 9 or byte order 9"),
        (elf({".text": b"x"}), "no section .liveupdate_versions, and no release in it; say which"),
        (elf({".text": b"x"}, more=b"Linux version 3.2.1 (x)"), "unknown kernel release '3.2.1'"),
        (elf({VERSIONS: b"1234567"}), "section .liveupdate_versions has 7 bytes"),
        (elf({VERSIONS: table(magic=1)}), "begins with 0x1, expected 0x4c565550"),
        (elf({VERSIONS: table(version=2)}), "is of version 2, known is 1"),
        (elf({VERSIONS: table(b"a") + b"b"}), "has 49 bytes of strings"),
        (elf({VERSIONS: table()}, flags=0x800), "section .liveupdate_versions is compressed"),
        (kernel(b"a")[:-8], "cut off: section header 3 is beyond its end"),
    ],
)
def test_other_files(
    data: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is wrong with a file and what to give instead."""
    path = tmp_path / "file"
    path.write_bytes(data)
    assert main(["formats", "versions", str(path)]) == 3
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert reason in err


def test_too_many_strings() -> None:
    """A section of absurd length is refused before it is read."""
    with pytest.raises(InputError, match="for each of at most"):
        read_versions("x", memoryview(table() + bytes(48 * (MOST_STRINGS + 1))), big=False)


def test_empty_section(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A kernel that takes nothing says so."""
    path = tmp_path / "vmlinux"
    path.write_bytes(kernel())
    assert main(["formats", "versions", str(path)]) == 0
    assert capsys.readouterr().out == "no strings\n"


def test_every_set_has_strings() -> None:
    """Each string of an ABI set selects a definition of khotool's."""
    registry = shipped_registry()
    for abi in registry.sets.values():
        found = strings_of(abi, registry)
        assert found
        assert all(registry.variants(text) for text in found)


def test_a_release_that_is_given_wins() -> None:
    """The release of the command line goes before that of the banner, section or not."""
    registry = shipped_registry()
    with_section = Vmlinux("x", memoryview(kernel(b"kho-v4")))
    found = versions_of(with_section, "6.17", registry)
    assert (found.release, found.abi, [text for text, _ in found.strings]) == (
        "6.17",
        "",
        ["kho-v4"],
    )
    assert versions_of(with_section, None, registry).release == "7.3.4-dirty"
    without = Vmlinux("x", memoryview(elf({".text": b"x"}, more=BANNER)))
    found = versions_of(without, "6.17", registry)
    assert (found.release, found.abi) == ("6.17", "6.16")


@pytest.mark.parametrize(("where", "begins"), [("", "no section "), ("file", "file: no section ")])
def test_neither_a_section_nor_a_release(where: str, begins: str) -> None:
    """The error names the file, if there is one."""
    one = Vmlinux(where, memoryview(elf({".text": b"x"}))) if where else None
    with pytest.raises(InputError) as error:
        versions_of(one, None, shipped_registry())
    assert str(error.value).startswith(f"{begins}.liveupdate_versions, and no release in it")


def test_strings_below_nodes() -> None:
    """A string of a node that is always there counts; one below an optional node does not."""
    head = 'title = "X"\nkind = "{}"\ncontent = "{}"\nstatus = "local"\n'
    leaf = 'id = "{0}"\nmatch = {{ compatible = "{0}" }}\n' + head.format("node", "none")
    root = (
        'id = "root"\nmatch = { compatible = "root" }\n'
        + head.format("root", "fdt")
        + '[fdt.node.a]\nformat = "always"\n[fdt.node.b]\noptional = true\nformat = "maybe"\n'
        '[fdt.node.b.node.c]\nformat = "below"\n[fdt.nodes]\nformat = "each"\n'
        '[fdt.node.d.node.e]\nformat = "deep"\n'
    )
    texts = [root, *(leaf.format(name) for name in ("always", "maybe", "below", "each", "deep"))]
    registry = Registry([load_definition(text.encode(), "x.toml") for text in texts])
    abi = AbiSet("s", "1.0", "", "root")
    assert sorted(strings_of(abi, registry)) == ["always", "deep", "each", "root"]
    assert strings_of(abi, registry)[0] == "root"


@given(st.data())
def test_damaged_files(data: st.DataObject) -> None:
    """Any bytes give strings or an error in one line."""
    raw = bytearray(kernel(b"kho-v4", bits=data.draw(st.sampled_from([32, 64]))))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InputError):
        versions_of(Vmlinux("x", memoryview(bytes(raw))), None, shipped_registry())
    with suppress(InputError):
        find_section("x", memoryview(bytes(raw)), ".BTF")
