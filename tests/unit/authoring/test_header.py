"""``khotool formats header``: C headers that a compiler agrees with."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from khotool.abi.load import load_definition
from khotool.abi.registry import Origin, Registry, shipped_registry
from khotool.cli.main import main
from khotool.render.header import header_text

REGISTRY = shipped_registry()
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror")

ODD = r"""
id = "odd"
title = "Odd */ names"
kind = "file"
content = "odd_ser"
status = "local"
match = { compatible = ["a\"b\\", "ü??/"] }
limits = { "long names" = "0x1_0000_0000" }
uses = ["kho_vmalloc"]
doc = "Ends a comment */ and begins /* one."

[struct.odd_ser]
packed = false
size = 80
layout = '''
u8 int_;         /* a word of C, almost * / */
s16 for_;
__be32 be;
__be32 again;
u8 raw[3];
char text[5];
u32 grid[4];
struct odd_inner inner[2];
struct kho_vmalloc area;
u32 a : PAGE_SHIFT;
u32 b : 3;
u32 c : 32 - 3 - PAGE_SHIFT;
u64 all : 64;
u64 nr;
struct odd_inner rows[];
'''

[struct.odd_ser.fields]
for_ = { enum = { LOW = -1, HIGH = 1 } }
be = { flags = { ODD_A = 1, ODD_B = "0x80000000" } }
again = { as = "be_again", flags = { ODD_A = 2 } }
nr = { counts = "rows" }

[struct.odd_inner]
size = 3
layout = '''
u8 x;
u16 y;
'''

[struct.odd_page]
size = "page"
layout = '''
u64 next;
u16 slots[(PAGE_SIZE - 8) / sizeof(u16)];
'''
"""


def compiler() -> str:
    found = shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler")
    return found


def compiled(source: str, *flags: str) -> str:
    """What the compiler says of a source; empty if it takes it."""
    child = subprocess.run(
        [compiler(), *flags, "-fsyntax-only", "-x", "c", "-"],
        input=source.encode(),
        capture_output=True,
        check=False,
    )
    return child.stderr.decode() if child.returncode else ""


def odd() -> Registry:
    return REGISTRY.extended([(load_definition(ODD.encode(), "odd.toml"), Origin("folder"))])


def test_shipped_headers_compile() -> None:
    """Every shipped definition with structs compiles on its own, strictly."""
    wrong = {}
    for definition in REGISTRY:
        if definition.structs:
            wrong[definition.id] = compiled(header_text(REGISTRY, definition, 4096), *STRICT)
    assert {name: errors for name, errors in wrong.items() if errors} == {}


@pytest.mark.parametrize("size", [16384, 65536])
def test_other_page_sizes(size: int) -> None:
    """Structs that follow the page size compile for each, and for one their user defines."""
    for identifier in ("kho-v4", "kho_vmalloc", "kho-test-v1"):
        text = header_text(REGISTRY, REGISTRY.get(identifier), size)
        assert f"#define KHO_PAGE_SHIFT {size.bit_length() - 1}\n" in text
        assert compiled(text, *STRICT) == ""
        assert compiled(f"#define KHO_PAGE_SHIFT 12\n{text}", *STRICT) == ""


def test_all_headers_of_one_kernel_together() -> None:
    """Headers of one ABI set stand in one source."""
    abi = REGISTRY.sets["7.2"]
    names = [abi.root, *abi.entries.values(), *abi.files, "kho_vmalloc", "kho_block"]
    source = "".join(header_text(REGISTRY, REGISTRY.get(name), 4096) for name in names)
    assert compiled(f"#include <fcntl.h>\n#include <linux/types.h>\n{source}", *STRICT) == ""
    assert compiled(source + source, *STRICT) == ""


def test_kernel_types(tmp_path: Path) -> None:
    """In the kernel, its own headers give the types."""
    folder = tmp_path / "linux"
    folder.mkdir()
    (folder / "types.h").write_text(
        "typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;\n"
        "typedef unsigned long long u64; typedef u32 __be32;\n"
    )
    (folder / "stddef.h").write_text("#define offsetof(t, m) __builtin_offsetof(t, m)\n")
    (folder / "build_bug.h").write_text("")
    text = header_text(REGISTRY, REGISTRY.get("luo-v5"), 4096)
    assert compiled(text, *STRICT, "-nostdinc", f"-I{tmp_path}", "-D__KERNEL__") == ""


KERNEL = """\
#ifndef _LINUX_KHO_ABI_KEXEC_HANDOVER_H
#define _LINUX_KHO_ABI_KEXEC_HANDOVER_H
struct kho_vmalloc_chunk;
struct kho_vmalloc {
	union { u64 phys; struct kho_vmalloc_chunk *ptr; } first;
	unsigned int total_pages;
	unsigned short flags;
	unsigned short order;
};
#endif
"""
MEMFD = """\
#ifndef _LINUX_KHO_ABI_MEMFD_H
#define _LINUX_KHO_ABI_MEMFD_H
#include <linux/kho/abi/kexec_handover.h>
struct memfd_luo_folio_ser { u64 pfn:52; u64 flags:12; u64 index; } __attribute__((packed));
struct memfd_luo_ser {
	u64 pos; u64 size; u32 seals; u32 flags; u64 nr_folios; struct kho_vmalloc folios;
} __attribute__((packed));
#endif
"""


def test_beside_the_kernels_own(tmp_path: Path) -> None:
    """The kernel's header gives its structs; a written header only asserts their layout."""
    folder = tmp_path / "linux/kho/abi"
    folder.mkdir(parents=True)
    (folder / "kexec_handover.h").write_text(KERNEL)
    (folder / "memfd.h").write_text(MEMFD)
    text = header_text(REGISTRY, REGISTRY.get("memfd-v2"), 4096)
    types = "#include <stdint.h>\ntypedef uint64_t u64;\ntypedef uint32_t u32;\n"
    own = f"{types}#include <linux/kho/abi/memfd.h>\n"
    flags = (*STRICT, f"-I{tmp_path}")
    assert compiled(own + text, *flags) == ""
    assert compiled(own + text.replace("sizeof(struct kho_vmalloc) == 16", "0"), *flags) != ""
    # Without the other header, the structs are those of this one.
    assert compiled(text, *flags) == ""


def test_odd_names_compile() -> None:
    """Words of C, comments in comments, quotes, trigraphs, clashes of names, every type."""
    registry = odd()
    text = header_text(registry, registry.get("odd"), 4096)
    assert compiled(text, *STRICT) == ""
    assert "u8 int_;" in text
    assert "struct odd_inner rows[];" in text
    assert "__be32 be;" in text
    assert "#define ODD_A_2 2U" in text
    assert "#define LOW (-1)" in text
    assert r'#define KHO_ODD_COMPATIBLE_0 "a\042b\134"' in text
    assert "#define KHO_ODD_MOST_LONG_NAMES 0x100000000ULL" in text
    assert compiled(text, *STRICT, "-trigraphs") == ""


def test_assertions_assert() -> None:
    """A layout that is not the definition's does not compile."""
    text = header_text(REGISTRY, REGISTRY.get("memfd-v2"), 4096)
    assert "struct memfd_luo_ser" in compiled(text.replace("\tu64 pos;", "\tu32 pos;"))
    swapped = text.replace("u64 pos; ", "u64 other; ").replace("u64 size; ", "u64 pos; ")
    assert "size" in compiled(swapped.replace("u64 other; ", "u64 size; "))


def test_masks_cut_words(tmp_path: Path) -> None:
    """Masks and shifts give the parts of a word as khotool cuts it."""
    registry = odd()
    text = header_text(registry, registry.get("odd"), 4096)
    text += header_text(registry, registry.get("memfd-v2"), 4096)
    text += header_text(registry, registry.get("kho-test-v1"), 4096)
    text += """
    #define PART(word, name) (((word) & name##_MASK) >> name##_SHIFT)
    _Static_assert(PART(0xabc0000000001234ULL, MEMFD_LUO_FOLIO_SER_PFN) == 0x1234, "");
    _Static_assert(PART(0xabc0000000001234ULL, MEMFD_LUO_FOLIO_SER_FLAGS) == 0xabc, "");
    _Static_assert(PART(0x560005ULL, KHO_TEST_FOLIO_ORDER) == 5, "");
    _Static_assert(PART(0x560005ULL, KHO_TEST_FOLIO_ADDRESS) == 0x560000, "");
    _Static_assert(PART(0xfffffabcU, ODD_SER_A) == 0xabc, "");
    _Static_assert(PART(0x00015000U, ODD_SER_B) == 5, "");
    _Static_assert(PART(0xffff8000U, ODD_SER_C) == 0x1ffff, "");
    _Static_assert(PART(~0ULL, ODD_SER_ALL) == ~0ULL, "");
    """
    assert compiled(text, *STRICT) == ""


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes to stdout or a file, for a page size."""
    assert main(["formats", "header", "kho-v4", "--page-size", "16K"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("/*\n * kho-v4: KHO root")
    assert re.search(r"^#define KHO_PAGE_SHIFT 14$", out, re.M)
    assert '#define KHO_V4_COMPATIBLE "kho-v4"\n' in out
    assert main(["formats", "header", "luo-v5", "-o", str(tmp_path / "luo.h")]) == 0
    assert (tmp_path / "luo.h").read_text().endswith("#endif /* KHO_LUO_V5_H */\n")
    assert main(["formats", "header", "luo-v55"]) == 2
    assert "did you mean luo-v5?" in capsys.readouterr().err
