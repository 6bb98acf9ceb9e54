"""``formats import`` from a C header: layouts as they are, sizes computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.abi.registry import Registry, load_registry
from khotool.abi.validate import check_folder
from khotool.cli.main import main
from tests.builders import REGISTRY

HEADER = """\
#include <linux/types.h>
#define NAME_LEN 0x10 /* of a name */
#define CHUNK_SIZE \\
	((PAGE_SIZE - sizeof(struct demo_hdr)) / sizeof(u64))

/* struct demo_ser { is not this one */
struct demo_hdr {
	DECLARE_KHOSER_PTR(next, struct demo_chunk *);
};
struct demo_chunk {
	struct demo_hdr hdr;
	u64 phys[CHUNK_SIZE];
};
/**
 * struct demo_ser - A demonstration
 * @name: not shown, as the member has a comment of its own
 */
struct demo_ser {
	char name[NAME_LEN];	/* its name */
	unsigned int nr_folios;
	u64 pfn:52;
	u64 flags:12;
	struct kho_vmalloc folios;
	struct demo_hdr hdr;
} __packed;
struct natural { u8 a; u64 b; };
struct endless { struct endless inner; };
struct unknown { struct elsewhere inner; };
struct wrong {
	u64 a;
	foo_t b;
};
"""


@pytest.fixture
def header(tmp_path: Path) -> Path:
    path = tmp_path / "demo.h"
    path.write_text(HEADER)
    return path


def test_a_header_becomes_a_definition(
    header: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Structs with those they embed; constants and macros; packed or natural."""
    out = tmp_path / "formats" / "demo-v1.toml"
    out.parent.mkdir()
    command = ["formats", "import", str(header), "demo_ser", "demo_chunk", "natural"]
    assert main([*command, "--kind", "file", "--id", "demo-v1", "-o", str(out)]) == 0
    assert "struct kho_vmalloc is defined by kho_vmalloc" in capsys.readouterr().err
    assert check_folder(out.parent, REGISTRY) == (1, [])
    text = out.read_text()
    assert "char name[NAME_LEN];    /* its name */\nunsigned int nr_folios;\nu64 pfn:52;\n" in text
    assert "[constants]\nNAME_LEN = 16\n" in text
    assert 'pfn       = { role = "pfn" }  # a guess from the name\n' in text
    definition = load_registry([out.parent]).get("demo-v1")
    structs = definition.structs
    assert definition.content == "demo_ser"
    assert definition.uses == ("kho_vmalloc",)
    assert [(s.name, s.size, s.packed) for s in structs.values()] == [
        ("demo_ser", 52, True),
        ("demo_chunk", "page", False),
        ("natural", 16, False),
        ("demo_hdr", 8, False),
    ]
    assert structs["demo_ser"].doc == "A demonstration"
    assert [field.name for field in structs["demo_ser"].fields] == [
        *("name", "nr_folios", "pfn:flags", "folios", "hdr"),
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "demo.h: no struct gone in this header or in a definition"),
        ("unknown", "demo.h: no struct elsewhere in this header or in a definition"),
        ("endless", "demo.h: struct endless embeds itself"),
        ("wrong", "demo.h:31: struct wrong: unknown type 'foo_t'"),
    ],
)
def test_what_cannot_be_drafted(
    name: str, message: str, header: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the reason, and the header's line where there is one."""
    assert main(["formats", "import", str(header), name]) == 3
    assert message in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path is named."""
    assert main(["formats", "import", str(tmp_path / "gone.h"), "x"]) == 3
    assert "gone.h: No such file" in capsys.readouterr().err


def test_a_written_header_is_read_back(tmp_path: Path) -> None:
    """What ``formats header`` writes, ``formats import`` takes, to the same layout."""
    header = tmp_path / "luo.h"
    assert main(["formats", "header", "luo-v5", "-o", str(header)]) == 0
    out = tmp_path / "formats" / "again.toml"
    out.parent.mkdir()
    names = ["luo_ser", "luo_session_ser", "luo_file_ser"]
    assert main(["formats", "import", str(header), *names, "--id", "again", "-o", str(out)]) == 0
    assert check_folder(out.parent, Registry([])) == (1, [])
    again, shipped = load_registry([out.parent]).get("again"), REGISTRY.get("luo-v5")
    for name in names:
        found, wanted = again.structs[name], shipped.structs[name]
        assert (found.size, found.packed) == (wanted.size, wanted.packed)
        assert [(f.name, f.type) for f in found.fields] == [(f.name, f.type) for f in wanted.fields]
