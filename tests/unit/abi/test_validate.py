"""Definition files checked: every mistake beyond the vocabulary names file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.abi.load import load_definition
from khotool.abi.registry import Registry, builtin_formats
from khotool.abi.validate import Fault, File, check_folder
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
    "vocabulary": (
        HEAD + "colour = 1\n" + struct('name = "a", type = "u64"'),
        "x.toml:6",
        "colour",
        "this key has no meaning",
    ),
    "key in a field": (
        HEAD + struct('name = "a", type = "u64", king = 1'),
        "x.toml:9",
        "struct.x_ser.fields[0].king",
        "this key has no meaning",
    ),
    "no toml": ("id = ", "x.toml:1", "", "not TOML: Invalid value (at end of document)"),
    "size": (
        HEAD + struct('name = "a", type = "u32"'),
        "x.toml:6",
        "struct.x_ser",
        "struct x_ser: fields end at 4 bytes, declared size is 8",
    ),
    "size of one page size": (
        HEAD
        + struct(
            'bits = "u16", parts = [ { name = "a", width = "page_shift" },'
            ' { name = "b", width = 1 } ]',
            size=2,
        ),
        "x.toml:6",
        "struct.x_ser",
        "struct x_ser: a:b has 17 bits",
    ),
    "rest of nothing": (
        HEAD
        + struct(
            'bits = "u8", parts = [ { name = "a", width = 5 }, { name = "b", width = 5 },'
            ' { name = "c", width = "rest" } ]',
            size=1,
        ),
        "x.toml:6",
        "struct.x_ser",
        "struct x_ser: a:b:c has 10 bits",
    ),
    "itself": (
        HEAD + struct('name = "a", type = "x_ser"'),
        "x.toml:6",
        "struct.x_ser",
        "x.toml.struct.x_ser: the struct is a part of itself",
    ),
    "struct of a record": (
        pointer('shape = "record", of = "gone"'),
        "x.toml:9",
        "struct.x_ser.p",
        "struct 'gone' is not defined here or in uses",
    ),
    "record of nothing": (
        pointer('shape = "record"'),
        "x.toml:9",
        "struct.x_ser.p",
        "points_to of shape record needs the struct that it leads to, 'of'",
    ),
    "header": (
        pointer('shape = "array", of = "x_ser", header = "gone", count = "n"'),
        "x.toml:9",
        "struct.x_ser.p",
        "struct 'gone' is not defined here or in uses",
    ),
    "count of a header": (
        pointer('shape = "array", of = "x_ser", header = "two", count = "k"') + TWO,
        "x.toml:9",
        "struct.x_ser.p",
        "points_to names 'k', no field of two",
    ),
    "count beside": (
        pointer('shape = "array", of = "x_ser", count = "n"'),
        "x.toml:9",
        "struct.x_ser.p",
        "points_to names 'n', which is no field beside it",
    ),
    "size beside": (
        pointer('shape = "range", size = "n"'),
        "x.toml:9",
        "struct.x_ser.p",
        "points_to names 'n', which is no field beside it",
    ),
    "tree": (
        pointer('shape = "tree", format = "gone-v1"'),
        "x.toml:9",
        "struct.x_ser.p",
        "points_to names the format 'gone-v1', which is not defined",
    ),
    "counts": (
        HEAD + struct('name = "a", type = "u64", counts = "list"'),
        "x.toml:9",
        "struct.x_ser.a",
        "counts 'list', which is no field beside it",
    ),
    "holds": (
        HEAD
        + 'uses = ["kho_vmalloc"]\n'
        + struct('name = "a", type = "kho_vmalloc", holds = { of = "gone", count = "n" }', size=16),
        "x.toml:10",
        "struct.x_ser.a",
        "holds.count 'n' is no field beside it",
    ),
    "array of a property": (
        tree('name = "list", type = "gone[]"'),
        "x.toml:8",
        "fdt.list",
        "struct 'gone' is not defined here or in uses",
    ),
    "any property": (
        tree(more='[fdt.any_property]\nname = "others"\ntype = "gone"\nas = "all"\n'),
        "x.toml:11",
        "fdt.others",
        "struct 'gone' is not defined here or in uses",
    ),
    "format of a node": (
        tree(more='[fdt.nodes]\n[fdt.nodes.node.deep]\nformat = "gone-v1"\n'),
        "x.toml:12",
        "fdt.nodes.node.deep.format",
        "'gone-v1' is not defined",
    ),
}


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


def told(folder: Path, text: str, name: str = "x.toml") -> list[str]:
    """Line, place and beginning of the message of every fault."""
    (folder / name).write_text(text)
    _, faults = check_folder(folder, REGISTRY)
    return [f"{f.line} {f.where}: {f.message}" for f in faults]


SET = '[[set]]\nid = "s"\nroot = "kho-v4"\n'
PARTS = '{ bits = "u64", parts = [\n'
PLACES: dict[str, tuple[str, list[str]]] = {
    "the end of a document": ("a = 1\nb = [\n1,\n", ["4 : not TOML: Invalid value"]),
    "a key twice": ("a = 1\nb = 2\na = 3\n", ["3 : not TOML: Cannot overwrite a value"]),
    "a key that is missing": (
        HEAD + '[struct.x_ser]\nfields = [ { name = "a", type = "u64" } ]\n',
        ["6 struct.x_ser.size: expected a number of bytes"],
    ),
    "a record of no list": (
        pointer('shape = "element", of = "gone"'),
        ["9 struct.x_ser.p: points_to names 'gone', no struct of any"],
    ),
    "a record of a list elsewhere": (pointer('shape = "element", of = "luo_file_ser"'), []),
    "entries of page tables": (
        pointer('shape = "page-table"'),
        ["9 struct.x_ser.p: points_to of shape page-table needs"],
    ),
    "inline": (
        pointer(
            'shape = "array", of = "x_ser", count = "n", inline = true', 'name = "n", type = "u64"'
        ),
        ["10 struct.x_ser.p: inline is for pointers to a tree or to a record"],
    ),
    "the header of blocks": (
        pointer('shape = "blocks", of = "two", header = "two"') + TWO,
        [
            "9 struct.x_ser.p: header two has no field labelled 'next'",
            "9 struct.x_ser.p: header two has no field labelled 'count'",
        ],
    ),
    "a count in a part": (
        pointer('shape = "array", of = "two", header = "h", count = "count"')
        + TWO
        + struct(
            'bits = "u64", parts = [ { name = "count", width = 32 },'
            ' { name = "more", width = 32 } ]',
            name="h",
        ),
        [],
    ),
    "a part that counts a part": (
        HEAD
        + struct(
            'name = "n", type = "u64", counts = "b"',
            'bits = "u64", parts = [ { name = "a", width = 32 }, { name = "b", width = 32 } ]',
            size=16,
        ),
        [],
    ),
    "a part in a line of its own": (
        HEAD + f'[struct.x_ser]\nsize = 8\nfields = [\n{PARTS}{{ name = "a", width = 32 }},\n'
        '{ name = "b", width = 32, counts = "q" } ] } ]\n',
        ["11 struct.x_ser.b: counts 'q', which is no field"],
    ),
    "structs that hold a wrong one": (
        HEAD
        + struct('name = "b", type = "one"', name="two", size=99)
        + struct('name = "a", type = "u64"', name="one", size=9)
        + struct('name = "c", type = "two"', name="x_ser", size=77),
        ["11 struct.one: struct one: fields end at 8 bytes, declared size is 9"],
    ),
    "structs that hold a mended one": (
        HEAD
        + struct('name = "c", type = "two"', name="three", size=77)
        + struct('name = "b", type = "one"', name="two", size=99)
        + struct('name = "a", type = "?"', name="one")
        + struct('name = "d", type = "u64"', size=7),
        [
            "19 struct.one.fields[0].type: '?' is not a type",
            "21 struct.x_ser: struct x_ser: fields end at 8 bytes, declared size is 7",
        ],
    ),
    "structs that hold one whose layout is not known": (
        HEAD
        + struct('name = "a", type = "u64"', name="one")
        + 'packed = "yes"\n'
        + struct('name = "b", type = "one"', name="two")
        + "packed = false\n"
        + struct('name = "c", type = "u8"', 'name = "d", type = "two"', size=9)
        + "packed = false\n",
        ["11 struct.one.packed: expected bool, found str"],
    ),
    "a struct that holds it beside another": (
        HEAD
        + struct('name = "a", type = "u64"', name="one")
        + 'packed = "yes"\n'
        + struct('name = "c", type = "u8"', 'name = "d", type = "one"', size=9)
        + "packed = false\n",
        ["11 struct.one.packed: expected bool, found str"],
    ),
    "a tree that is mended": (
        tree('name = "a", type = "u64", layout = "l"', 'name = "b", type = "gone[]"')
        + struct('name = "a", type = "u32"'),
        ["6 fdt: layout 'l' is not defined", "11 struct.x_ser: struct x_ser: fields end at 4"],
    ),
    "a part without a width": (
        HEAD + struct('bits = "u64", parts = [ { name = "a" } ]'),
        ["9 struct.x_ser.fields[0].parts[0].width: expected bits"],
    ),
    "a huge number": ("a = 1\nb = " + "9" * 99, ["1 : not TOML: a number of 329 bits"]),
    "an id that is no text": (
        HEAD.replace('"x-v1"', "7") + struct('name = "a", type = "u32"'),
        ["1 id: expected str, found int"],
    ),
    "the name of a node": (
        tree(more='[fdt.nodes]\nname = { name = "key", type = "gone" }\n'),
        ["11 fdt.nodes.key: struct 'gone' is not defined"],
    ),
    "the name of a node as a table": (
        tree(more='[fdt.nodes]\n[fdt.nodes.name]\nname = "key"\ntype = "gone"\n'),
        ["12 fdt.nodes.key: struct 'gone' is not defined"],
    ),
    "properties of nodes in nodes": (
        tree(
            more='[fdt.node.one]\nproperties = [ { name = "a", type = "u64" },\n'
            '{ name = "b", type = "gone" } ]\n[fdt.node.one.node.two]\nproperties = [\n'
            '{ name = "c", type = "gone" } ]\n'
        ),
        ["12 fdt.node.one.b: struct 'gone' is not", "15 fdt.node.one.node.two.c: struct 'gone'"],
    ),
    "uses in lines of their own": (
        HEAD + 'uses = ["gone", "kho_vmalloc",\n "gone2"]\n' + struct('name = "a", type = "u32"'),
        ["6 uses[0]: uses 'gone', which", "7 uses[2]: uses 'gone2', which"],
    ),
}
SETS: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", []),
    "another table": (SET + "[other]\na = 1\n", ["4 other: this key has no meaning"]),
    "a number": ("\nset = 7\n", ["2 set: expected list, found int"]),
    "one table": ('[set]\nid = "a"\n', ["1 set: expected list, found dict"]),
    "names": (
        SET + '\n[[set]]\nid = 7\nroot = "kho-v4"\n\n[[set]]\nid = "t"\nroot = "gone"\n'
        'layouts = { gone-v1 = "l" }\nentries = { LUO = "no-v1" }\nnodes = ["kho-v4",\n'
        '"no-v2"]\nfiles = ["no-v3"]\nflbs = ["no-v4"]\n',
        [
            "6 set[1].id: expected str, found int",
            "11 set[2].root: names 'gone', which is not",
            "12 set[2].layouts.gone-v1: names 'gone-v1'",
            "13 set[2].entries.LUO: names 'no-v1'",
            "15 set[2].nodes[1]: names 'no-v2'",
            "16 set[2].files[0]: names 'no-v3'",
            "17 set[2].flbs[0]: names 'no-v4'",
        ],
    ),
}


def begin(found: list[str], expected: list[str]) -> bool:
    return len(found) == len(expected) and all(map(str.startswith, found, expected))


@pytest.mark.parametrize("case", PLACES)
def test_lines_and_places(case: str, tmp_path: Path) -> None:
    """All faults of a file, each once, at the line of what it is about."""
    text, expected = PLACES[case]
    found = told(tmp_path, text)
    assert begin(found, expected), found


@pytest.mark.parametrize("case", SETS)
def test_sets(case: str, tmp_path: Path) -> None:
    """Sets are judged one by one, and what they name has to be defined."""
    text, expected = SETS[case]
    found = told(tmp_path, text, "sets.toml")
    assert begin(found, expected), found


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("a", 1),
        ("a.b", 1),
        ("c", 2),
        ("c[1]", 4),
        ("c[1].d.e", 4),
        ("c[7]", 2),
        ("c[0].d[3].e", 3),
        ("nowhere", 1),
        ("nowhere.a[1]", 1),
        ("", 1),
    ],
)
def test_lines_of_what_is_around(where: str, line: int) -> None:
    """A place that is not in the file has the line of the nearest one around it, else the first."""
    file = File("x.toml", b"a = 1\nc = [\n  { d = 2 },\n  { f = 3 },\n]\n")
    file.add(where, "wrong")
    assert file.faults == [Fault("x.toml", line, where, "wrong")]
