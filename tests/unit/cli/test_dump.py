"""``khotool dump``: DTS that dtc compiles to the same tree, files, hostile text, strictness."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from khotool.abi.registry import load_registry
from khotool.check.catalogue import count_by_severity
from khotool.cli.main import main
from khotool.decode.open import open_image, open_memory
from khotool.document.dump import dump_document
from khotool.fdt.blob import Node
from khotool.fdt.parse import parse
from khotool.limits import OpenOptions
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import Image
from khotool.render.dts import dts_text, trees
from khotool.render.json import json_chunks
from khotool.render.lines import plain
from khotool.render.tree import TreeOptions, tree_lines

REAL = Path(__file__).parents[3] / "fixtures" / "real"
IMAGE = REAL / "linux-7.3.4" / "image.elf.xz"
HOSTILE = b"\x1b[31m\xff[/b]\xe2\x80\xae\x7f/]"


def shape(node: Node) -> object:
    """Names, values and children of a device tree, without places."""
    return (
        node.name,
        [(prop.name, prop.value) for prop in node.properties],
        [shape(child) for child in node.children],
    )


@pytest.mark.skipif(shutil.which("dtc") is None, reason="dtc is not installed")
@pytest.mark.parametrize("folder", sorted(REAL.iterdir()), ids=lambda path: path.name)
def test_dts_compiles_to_the_same_tree(folder: Path, tmp_path: Path) -> None:
    """Each tree of each capture compiles with dtc to the same nodes, properties and bytes."""
    image = open_image(folder / "image.elf.xz")
    assert "/" in trees(image)
    for path, region in trees(image).items():
        from khotool.model.lookup import find_node

        source = tmp_path / "tree.dts"
        source.write_text(dts_text(image, find_node(image, path)), encoding="utf-8")
        made = subprocess.run(
            ["dtc", "-q", "-I", "dts", "-O", "dtb", str(source)], capture_output=True, check=True
        )
        root = parse(made.stdout).root
        assert root is not None
        assert region.blob.root is not None
        assert shape(root) == shape(region.blob.root)


def hostile() -> Image:
    """The capture with a session name that attacks terminals, markup and encodings."""
    base = open_image(IMAGE)
    session = base.tree.walk()
    name = next(node for node in session if node.value == "vm-alpha" and node.name == "name")
    assert name.span is not None
    data = HOSTILE.ljust(name.span.size, b"\0")
    space = OverlaySpace(base.space, [(name.span.address, data)])
    return open_memory(space, load_registry(), OpenOptions())


def test_hostile_names_are_inert() -> None:
    """A name with escapes, markup, bad UTF-8 and direction marks is shown escaped everywhere."""
    image = hostile()
    text = "".join(plain(tree_lines(image, image.tree, TreeOptions()), 100))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert {c for c in text if not c.isprintable()} == {"\n"}
    made = "".join(json_chunks(dump_document(image, count_by_severity(image.findings))))
    assert all(c.isprintable() or c == "\n" for c in made)
    made.encode("utf-8")
    name = json.loads(made)["luo"]["sessions"][0]["name"]
    assert name.encode("utf-8", "surrogateescape") == HOSTILE


def test_path_of_hostile_name_is_found() -> None:
    """The path that is printed for such a name leads back to it."""
    from khotool.model.lookup import find_node

    image = hostile()
    for node in image.tree.walk():
        assert find_node(image, node.path) is node


def test_output_file(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """``-o`` writes what stdout would get, and nothing goes to stdout."""
    assert main(["dump", "--json", str(IMAGE)]) == 0
    expected = capsysbinary.readouterr().out
    target = tmp_path / "out.json"
    assert main(["dump", "--json", str(IMAGE), "-o", str(target)]) == 0
    assert target.read_bytes() == expected
    assert capsysbinary.readouterr().out == b""


def test_output_onto_input_is_refused(tmp_path: Path) -> None:
    """Neither the file itself nor a link to it is overwritten."""
    copy = tmp_path / "image.elf.xz"
    copy.write_bytes(IMAGE.read_bytes())
    link = tmp_path / "link"
    link.symlink_to(copy)
    assert main(["dump", str(copy), "-o", str(link)]) == 2
    assert copy.read_bytes() == IMAGE.read_bytes()


def test_colour(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colours change nothing but colours; NO_COLOR and --color=never turn them off."""
    import re

    monkeypatch.delenv("FORCE_COLOR", raising=False)
    main(["dump", str(IMAGE)])
    bare = capsysbinary.readouterr().out
    assert b"\x1b" not in bare
    main(["dump", "--color=always", str(IMAGE)])
    coloured = capsysbinary.readouterr().out
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", coloured) == bare
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["dump", "--summary", str(IMAGE)])
    assert b"\x1b" in capsysbinary.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["dump", "--summary", str(IMAGE)])
    assert b"\x1b" not in capsysbinary.readouterr().out


def test_strict(capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    """``--strict`` makes an ambiguity exit code 1; the answer is the same."""
    recipe = REAL.parent / "bad" / "ABI903-one-bitmap" / "recipe.toml"
    image = str(tmp_path / "one-bitmap.elf")
    assert main(["encode", str(recipe), "-o", image]) == 0
    capsysbinary.readouterr()
    assert main(["dump", image]) == 0
    loose = capsysbinary.readouterr().out
    assert main(["dump", "--strict", image]) == 1
    assert capsysbinary.readouterr().out == loose
    assert main(["dump", "--strict", image, "--abi", "kho-v1=bitmap-page"]) == 0


def test_depth_and_rows(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """``--depth`` cuts the tree, ``--rows`` lists rows; both say what is left out."""
    main(["dump", str(IMAGE), "/LUO", "--depth", "1"])
    text = capsysbinary.readouterr().out.decode()
    assert "... 4 below; --depth 2 shows them" in text
    assert "vm-alpha" not in text
    path = "/LUO/sessions[vm-beta]/files[0x1]/data/folios"
    main(["dump", str(IMAGE), path, "--rows", "3"])
    text = capsysbinary.readouterr().out.decode()
    assert "[2]" in text
    assert "... 253 more" in text


@pytest.mark.parametrize("cut", [0, 1, 40, 200, 1000, 2000, 20000])
def test_truncated_files(cut: int, tmp_path: Path) -> None:
    """A capture cut anywhere is an image with absent values or one line and exit code 3."""
    part = tmp_path / "part"
    part.write_bytes(IMAGE.read_bytes()[:cut])
    for words in (["dump"], ["dump", "--json"], ["pages"], ["pages", "--json"]):
        assert main([*words, str(part)]) in (0, 3)


def test_unrelated_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Empty, text and noise files and empty directories each have their own message."""
    import random

    cases = {"empty": b"", "text": b"hello\n" * 100, "noise": random.Random(1).randbytes(70000)}
    messages = set()
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    for name in (*cases, "folder", "missing"):
        assert main(["dump", str(tmp_path / name)]) == 3
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        messages.add(err.replace(name, "").split(";")[0])
    assert len(messages) == 4


def test_wrong_page_size_names_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A page size that contradicts the map is answered with the one that fits."""
    main(["dump", "--summary", "--page-size", "64K", str(IMAGE)])
    assert "--page-size 4K" in capsys.readouterr().err
    main(["dump", "--summary", "--page-size", "4K", str(IMAGE)])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["dump"], ["pages"], ["hex"]])
def test_compact_is_json(words: list[str], capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """``--compact`` is never ignored: it asks for JSON by itself."""
    where = ["/kexec-metadata"] if words == ["hex"] else []
    image = "fixtures/real/linux-7.3.4/image.elf.xz"
    assert main([*words, "--compact", str(Path(__file__).parents[3] / image), *where]) == 0
    output = capsysbinary.readouterr().out
    assert json.loads(output)["schema"] == f"khotool.{words[0]}/1"
    assert output.count(b"\n") == 1
