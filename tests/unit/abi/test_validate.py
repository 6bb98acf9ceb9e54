"""Definition files checked: every mistake beyond the vocabulary names file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.abi.load import load_definition
from khotool.abi.registry import Registry, builtin_formats
from khotool.abi.validate import Fault, check_folder
from tests.builders import REGISTRY

HEAD = 'id = "x-v1"\ntitle = "X"\nkind = "file"\ncontent = "x_ser"\nstatus = "local"\n'
TREE = HEAD.replace("x_ser", "fdt")
TWO = """[struct.two]
size = 16
fields = [ { name = "n", type = "u64" }, { name = "m", type = "u64" } ]
"""


def check(folder: Path, text: str, known: Registry | None = None) -> list[Fault]:
    """Faults of a folder with one file."""
    (folder / "x.toml").write_text(text)
    files, faults = check_folder(folder, known or REGISTRY)
    assert files == 1
    return faults


def struct(*fields: str, size: int | str = 8, name: str = "x_ser") -> str:
    rows = ",\n".join(f"{{ {field} }}" for field in fields)
    return f"[struct.{name}]\nsize = {size}\nfields = [\n{rows}\n]\n"


def pointer(reference: str, *beside: str) -> str:
    """A file with one pointer, on the last line of its fields."""
    field = f'name = "p", type = "u64", points_to = {{ {reference} }}'
    return HEAD + struct(*beside, field, size=8 * (1 + len(beside)))


def tree(*fields: str, more: str = "") -> str:
    rows = ",\n".join(f"{{ {field} }}" for field in fields)
    return f"{TREE}[fdt]\nproperties = [\n{rows}\n]\n{more}"


def test_shipped_definitions_have_no_fault() -> None:
    """All of them, without any other to refer to."""
    files, faults = check_folder(builtin_formats(), Registry([]))
    assert (files, faults) == (len(REGISTRY.definitions), [])


WRONG: dict[str, tuple[str, str, str, str]] = {
    # Line, where, message of the one fault of a file.
    "vocabulary": (HEAD + "colour = 1\n" + struct('name = "a", type = "u64"'),
                   "x.toml:6", "colour", "this key has no meaning"),
    "key in a field": (HEAD + struct('name = "a", type = "u64", king = 1'),
                       "x.toml:9", "struct.x_ser.fields[0].king", "this key has no meaning"),
    "no toml": ("id = ", "x.toml:1", "", "not TOML: Invalid value (at end of document)"),
    "size": (HEAD + struct('name = "a", type = "u32"'),
             "x.toml:6", "struct.x_ser", "struct x_ser: fields end at 4 bytes, declared size is 8"),
    "size of one page size": (
        HEAD + struct('bits = "u16", parts = [ { name = "a", width = "page_shift" },'
                      ' { name = "b", width = 1 } ]', size=2),
        "x.toml:6", "struct.x_ser", "struct x_ser: a:b has 17 bits"),
    "rest of nothing": (
        HEAD + struct('bits = "u8", parts = [ { name = "a", width = 5 }, { name = "b", width = 5 },'
                      ' { name = "c", width = "rest" } ]', size=1),
        "x.toml:6", "struct.x_ser", "struct x_ser: a:b:c has 10 bits"),
    "itself": (HEAD + struct('name = "a", type = "x_ser"'),
               "x.toml:6", "struct.x_ser", "x.toml.struct.x_ser: the struct is a part of itself"),
    "struct of a record": (pointer('shape = "record", of = "gone"'),
                           "x.toml:9", "struct.x_ser.p",
                           "struct 'gone' is not defined here or in uses"),
    "record of nothing": (pointer('shape = "record"'), "x.toml:9", "struct.x_ser.p",
                          "points_to of shape record needs the struct that it leads to, 'of'"),
    "header": (pointer('shape = "array", of = "x_ser", header = "gone", count = "n"'),
               "x.toml:9", "struct.x_ser.p", "struct 'gone' is not defined here or in uses"),
    "count of a header": (
        pointer('shape = "array", of = "x_ser", header = "two", count = "k"') + TWO,
        "x.toml:9", "struct.x_ser.p", "points_to names 'k', no field of two"),
    "count beside": (pointer('shape = "array", of = "x_ser", count = "n"'),
                     "x.toml:9", "struct.x_ser.p",
                     "points_to names 'n', which is no field beside it"),
    "size beside": (pointer('shape = "range", size = "n"'), "x.toml:9", "struct.x_ser.p",
                    "points_to names 'n', which is no field beside it"),
    "tree": (pointer('shape = "tree", format = "gone-v1"'), "x.toml:9", "struct.x_ser.p",
             "points_to names the format 'gone-v1', which is not defined"),
    "counts": (HEAD + struct('name = "a", type = "u64", counts = "list"'),
               "x.toml:9", "struct.x_ser.a", "counts 'list', which is no field beside it"),
    "holds": (HEAD + 'uses = ["kho_vmalloc"]\n'
              + struct('name = "a", type = "kho_vmalloc", holds = { of = "gone", count = "n" }',
                       size=16),
              "x.toml:10", "struct.x_ser.a", "holds.count 'n' is no field beside it"),
    "array of a property": (tree('name = "list", type = "gone[]"'), "x.toml:8", "fdt.list",
                            "struct 'gone' is not defined here or in uses"),
    "any property": (tree(more='[fdt.any_property]\nname = "others"\ntype = "gone"\nas = "all"\n'),
                     "x.toml:11", "fdt.others", "struct 'gone' is not defined here or in uses"),
    "format of a node": (tree(more='[fdt.nodes]\n[fdt.nodes.node.deep]\nformat = "gone-v1"\n'),
                         "x.toml:12", "fdt.nodes.node.deep.format", "'gone-v1' is not defined"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_faults(name: str, tmp_path: Path) -> None:
    """Each mistake is found where it stands; a fault of the same field may follow it."""
    text, place, where, message = WRONG[name]
    faults = check(tmp_path, text)
    found = faults[0]
    assert (f"{found.source}:{found.line}", found.where) == (place, where)
    assert found.message.startswith(message)
    rest = ["struct 'gone' is not defined here or in uses"] if name == "holds" else []
    assert [fault.message for fault in faults[1:]] == rest


def test_right_references_have_no_fault(tmp_path: Path) -> None:
    """Structs of the file and of what it uses, counts of a header and beside, formats known."""
    fields = (
        'name = "n", type = "u64"',
        'name = "p", type = "u64", points_to = { shape = "array", header = "two", count = "m", '
        'of = "two" }',
        'name = "q", type = "u64", points_to = { shape = "array", of = "two", count = "n" }',
        'name = "t", type = "u64", points_to = { shape = "tree", format = "kho-test-v1" }',
        'name = "v", type = "kho_vmalloc", holds = { of = "two", count = "n" }',
    )
    text = HEAD + 'uses = ["kho_vmalloc"]\n' + struct(*fields, size=48) + TWO
    assert check(tmp_path, text) == []


KEYS = ("title", "content", "status")


def test_every_file_of_a_folder(tmp_path: Path) -> None:
    """Folders below are read too, other files are not; sets count for no definition."""
    good = HEAD + struct('name = "a", type = "u64"')
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.toml").write_text(good)
    (tmp_path / "sets.toml").write_text("\n[[set]]\n")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "z.toml").write_text("id = 1\n")
    files, faults = check_folder(tmp_path, REGISTRY)
    assert files == 2
    assert [(f.source, f.line, f.where, f.message) for f in faults] == [
        ("sets.toml", 2, "set[0]", "key 'id' is missing"),
        ("z.toml", 1, "", "key 'kind' is missing"),
        ("z.toml", 1, "id", "expected str, found int"),
        *(("z.toml", 1, "", f"key {key!r} is missing") for key in KEYS),
    ]


def test_two_files_of_one_id(tmp_path: Path) -> None:
    """The later file is at fault, at the line of its id; one that a folder replaces is not."""
    text = HEAD + struct('name = "a", type = "u64"')
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text("# mine\n" + text)
    known = Registry([load_definition(text.encode(), "elsewhere.toml")])
    files, faults = check_folder(tmp_path, known)
    assert files == 2
    assert faults == [Fault("b.toml", 2, "id", "'x-v1' is defined in a.toml too")]


def test_uses_of_what_is_not_there(tmp_path: Path) -> None:
    """A definition that uses an unknown one is judged no further."""
    text = HEAD + 'uses = ["gone"]\n' + struct('name = "a", type = "u32"')
    faults = check(tmp_path, text)
    assert [fault.message for fault in faults] == ["uses 'gone', which is not defined"]
