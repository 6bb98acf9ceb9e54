"""``formats check``: every mistake of every file, each once, at the line of what it is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.registry import Registry, builtin_formats
from khotool.abi.validate import check_folder
from khotool.cli.main import main
from khotool.structured import MAX_MISTAKES, Mistake
from tests.builders import REGISTRY
from tests.unit.abi.test_load import TOML, TOP_KEYS, WRONG, toml
from tests.unit.abi.texts import HEAD, TREE, file, load, struct, tree

TWO = struct("u64 n; u64 m;", size=16, name="two")


def check(folder: Path, text: str, name: str = "x.toml", known: Registry = REGISTRY) -> list[str]:
    """Line, key and message of every mistake of a folder with one file."""
    (folder / name).write_text(text)
    _, mistakes = check_folder(folder, known)
    return [str(one).removeprefix(f"{name}:") for one in mistakes]


def begin(found: list[str], expected: list[str]) -> bool:
    return len(found) == len(expected) and all(map(str.startswith, found, expected))


def pointer(reference: str, layout: str = "u64 p;", size: int = 8) -> str:
    """A file with one pointer, whose meaning is on the line after its members and two more."""
    return file(layout, f"p = {{ points_to = {{ {reference} }} }}", size)


MANY = """\
id = "many-v1"
title = "Many mistakes"
kind = "fiel"                       #! kind: unknown kind 'fiel'; did you mean 'file'?
colour = 1                          #! colour: unknown key 'colour'
content = "gone"                    #! content: content 'gone' is not a struct of this file
status = "old"                      #! status: unknown status 'old'; expected one of merged
releases = { first = "7.3", since = "7.2" }     #! releases.since: unknown key 'since'; expected
match = { compatible = 7 }          #! match.compatible: expected a list, found an integer 7
limits = { a = "ten", b = true }    #! limits.a: 'ten' is not; limits.b: expected an integer
uses = [
  "kho_vmalloc",
  "gone-v1",                        #! uses[1]: uses 'gone-v1', which is not defined
]

[struct.one]
size = 0                            #! struct.one.size: expected a number of bytes
key = "k"
layout = \"\"\"
u64 a;
u63 b;                              // ! struct.one.layout: unknown type 'u63'
u64 x : 65;                         // ! struct.one.layout: x: a bit-field of u64 has at
u64 *c;                             // ! struct.one.layout: c: a pointer
\"\"\"
[struct.one.fields]
a = { role = "king" }               #! struct.one.fields.a.role: unknown role 'king'
b = { points_to = { shape = "rang" } }  #! struct.one.fields.b.points_to.shape: unknown shape

[struct.two]                        #! struct.two: the fields take 8 bytes, but the declared size
size = 9
key = "k"                           #! struct.two.key: 'k' is not a field of the struct
layout = \"\"\"
u32 p;
u32 q;
\"\"\"
[struct.two.fields]
p = { counts = "r" }                #! struct.two.fields.p: counts 'r', which is not a field
q.as = "p"                          #! struct.two.fields.q: 'p' is defined twice

[struct.three]                      #! struct.three: missing key 'layout'
size = 8

[fdt.node."odd.name".properties]
r = { type = "u64", layout = "l" }  #! fdt.node.odd.name.properties.r: layout 'l' is not defined
x = { type = "u64", colour = 1 }    #! fdt.node.odd.name.properties.x.colour: unknown key
"""
TREES = """\
id = "tree-v1"
title = "A tree"
kind = "entry"
content = "fdt"
status = "local"

[fdt.properties]
list = { type = "none[]" }          #! fdt.properties.list: struct 'none' is not defined here or

[fdt.node.a]
[fdt.node.a.nodes]
format = "nothing-v1"               #! fdt.node.a.nodes.format: 'nothing-v1' is not defined
[fdt.node.a.nodes.properties]
n = { type = "u32", counts = "m" }  #! fdt.node.a.nodes.properties.n: counts 'm'
"""
SETS = """\
# A comment.
[[set]]
id = "good"
releases = { first = "7.3", last = "" }
root = "kho-v4"

[[set]]                             #! set[1]: missing key 'root'
id = "no-root"

[[set]]
id = "names"
root = "kho-v99"                    #! set[2].root: names 'kho-v99', which is not defined
layouts = { gone-v1 = "l" }         #! set[2].layouts.gone-v1: names 'gone-v1'
files = [
  "memfd-v2",
  "memfd-v99",                      #! set[2].files[1]: names 'memfd-v99', which is not
]
[set.entries]
LUO = "luo-v99"                     #! set[2].entries.LUO: names 'luo-v99', which is not
"""
NAMES = """\
[flags.MY]
A = 1
B = "two"                           #! flags.MY.B: 'two' is not a number
[colour]                            #! colour: unknown key 'colour'
"""
FILES = {"many.toml": MANY, "sub/tree.toml": TREES, "sets.toml": SETS, "names.toml": NAMES}


def expected(text: str) -> list[tuple[int, str]]:
    """Line and beginning of each mistake, as comments of a file name them."""
    return sorted(
        (number, part.strip())
        for number, line in enumerate(text.replace("// !", "#!").splitlines(), 1)
        for part in line.partition("#! ")[2].split("; limits")
        if part
    )


def test_folder_of_wrong_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All mistakes of all files, each with file, line and reason; exit code 2."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "broken.toml").write_text('id = "x"\ntitle "y"\n')
    (tmp_path / "good.toml").write_text(file("u64 a;"))
    assert main(["formats", "check", str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    for name, text in FILES.items():
        rows = [
            line.removeprefix(f"{tmp_path}/{name}:")
            for line in lines
            if line.startswith(f"{tmp_path}/{name}:")
        ]
        found = [(int(row.partition(": ")[0]), row.partition(": ")[2]) for row in rows]
        left = list(found)
        for line, start in expected(text):
            match = next((one for one in left if one[0] == line and start[:24] in one[1]), None)
            assert match is not None, (line, start, left)
            left.remove(match)
        assert left == []
    assert (
        f"{tmp_path}/broken.toml:2: not TOML: Expected '=' after a key in a key/value" in lines[0]
    )
    assert not any("good.toml" in line for line in lines)
    assert lines[-1] == f"4 definitions checked, {len(lines) - 1} mistakes"
    assert main(["formats", "check", str(tmp_path), "--json"]) == 2
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert len(faults) == len(lines) - 1
    assert {fault["file"] for fault in faults} >= {str(tmp_path / name) for name in FILES}
    assert all(fault["line"] and fault["column"] for fault in faults)


def test_single_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file may be named instead of a folder."""
    (tmp_path / "tree.toml").write_text(TREES)
    assert main(["formats", "check", str(tmp_path / "tree.toml")]) == 2
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{tmp_path}/tree.toml:8: fdt.properties.list: struct 'none' is not")
    assert out[-1] == "1 definition checked, 3 mistakes"
    assert main(["formats", "check", str(tmp_path / "gone")]) == 2


def test_a_wrong_folder_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that is given the folder says where its first mistake is."""
    (tmp_path / "x.toml").write_text(file("u64 a; u63 b;", "a = { role = 'king' }"))
    assert main(["formats", "list", "--formats", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path}/x.toml:10: struct.x_ser.layout: unknown type 'u63'" in told
    assert "(and 1 more mistake)" in told


def test_a_wrong_size_names_its_file(tmp_path: Path) -> None:
    """Sizes are known wrong when a struct is compiled; the error names file and struct."""
    registry = Registry([load(file("u64 a;", size=9), "mine/x.toml")])
    from khotool.abi.geometry import Geometry
    from khotool.errors import DefinitionError

    with pytest.raises(DefinitionError) as error:
        registry.compile(registry.get("x-v1"), "x_ser", Geometry())
    assert str(error.value) == (
        "mine/x.toml: struct.x_ser: the fields take 8 bytes, but the declared size is 9"
    )
    assert check(tmp_path, file("u64 a;", size=9)) == [
        "6: struct.x_ser: the fields take 8 bytes, but the declared size is 9"
    ]


def test_shipped_definitions_have_no_mistake() -> None:
    """All of them, without any other to refer to."""
    assert check_folder(builtin_formats(), Registry([])) == (len(REGISTRY.definitions), [])


@pytest.mark.parametrize("case", [case for case in WRONG if case != "missing"])
def test_one_mistake_is_reported_once(case: str, tmp_path: Path) -> None:
    """What follows from a mistake is not reported."""
    text, message = WRONG[case]
    found = check(tmp_path, text, "f.toml")
    assert len([line for line in found if message.removeprefix("f.toml:") in line]) == 1, found
    # Some of these files leave out more than what they are about.
    rest = [line for line in found if message.removeprefix("f.toml:") not in line]
    assert all("is not defined here or in uses" in line for line in rest), rest


def test_mistakes_without_end(tmp_path: Path) -> None:
    """A file of thousands of mistakes gets the first ones."""
    rows = "\n".join(f"a{n} = 1" for n in range(3 * MAX_MISTAKES))
    assert len(check(tmp_path, rows + "\n" + file("u64 a;"))) == MAX_MISTAKES


MEANING: dict[str, tuple[str, list[str]]] = {
    "size for one page size": (
        file("u16 a : PAGE_SHIFT; u16 b : 1;", size=2),
        ["6: struct.x_ser: the fields take 4 bytes, but the declared size is 2"],
    ),
    "a struct in itself": (
        file("struct x_ser a;"),
        ["6: struct.x_ser: the struct embeds itself"],
    ),
    "a record of an unknown struct": (
        pointer('shape = "record", of = "gone"'),
        ["12: struct.x_ser.fields.p: struct 'gone' is not defined here or in uses"],
    ),
    "a record of nothing": (
        pointer('shape = "record"'),
        ["12: struct.x_ser.fields.p: points_to of shape record needs 'of', the struct"],
    ),
    "an unknown header": (
        pointer('shape = "array", of = "x_ser", header = "gone", count = "n"'),
        ["12: struct.x_ser.fields.p: struct 'gone' is not defined here or in uses"],
    ),
    "a count of a header": (
        pointer('shape = "array", of = "x_ser", header = "two", count = "k"') + TWO,
        ["12: struct.x_ser.fields.p: points_to names 'k', which is not a field of two"],
    ),
    "a count in a bit-field": (
        pointer('shape = "array", of = "two", header = "h", count = "count"')
        + TWO
        + struct("u64 count:32; u64 more:32;", name="h"),
        [],
    ),
    "a count beside": (
        pointer('shape = "array", of = "x_ser", count = "n"'),
        ["12: struct.x_ser.fields.p: points_to names 'n', which is not a sibling field"],
    ),
    "a size beside": (
        pointer('shape = "range", size = "n"'),
        ["12: struct.x_ser.fields.p: points_to names 'n', which is not a sibling field"],
    ),
    "a tree of an unknown format": (
        pointer('shape = "tree", format = "gone-v1"'),
        ["12: struct.x_ser.fields.p: points_to names the format 'gone-v1', which is not defined"],
    ),
    "a record of no list": (
        pointer('shape = "element", of = "gone"'),
        ["12: struct.x_ser.fields.p: points_to names 'gone', which is not a struct of any"],
    ),
    "a record of a list elsewhere": (pointer('shape = "element", of = "luo_file_ser"'), []),
    "entries of page tables": (
        pointer('shape = "page-table"'),
        ["12: struct.x_ser.fields.p: points_to of shape page-table needs"],
    ),
    "inline": (
        pointer('shape = "array", of = "x_ser", count = "n", inline = true', "u64 n; u64 p;", 16),
        ["13: struct.x_ser.fields.p: inline is for pointers to a tree or to a record"],
    ),
    "the header of blocks": (
        pointer('shape = "blocks", of = "two", header = "two"') + TWO,
        [
            "12: struct.x_ser.fields.p: header two has no field labelled 'next'",
            "12: struct.x_ser.fields.p: header two has no field labelled 'count'",
        ],
    ),
    "counts": (
        file("u64 a;", 'a = { counts = "list" }'),
        ["12: struct.x_ser.fields.a: counts 'list', which is not a sibling field"],
    ),
    "a bit-field that counts a bit-field": (
        file("u64 n; u64 a:32; u64 b:32;", 'n = { counts = "b" }', 16),
        [],
    ),
    "holds": (
        file(
            "struct kho_vmalloc a;",
            'a = { holds = { of = "gone", count = "n" } }',
            16,
            'uses = ["kho_vmalloc"]\n',
        ),
        [
            "13: struct.x_ser.fields.a: struct 'gone' is not defined here or in uses",
            "13: struct.x_ser.fields.a: holds.count 'n' is not a sibling field",
        ],
    ),
    "a member of an unknown struct": (
        file("u64 a;\nstruct gone b;"),
        ["10: struct.x_ser.layout: b: struct 'gone' is not defined here or in uses"],
    ),
    "structs that embed a wrong one": (
        HEAD
        + struct("struct one b;", name="two", size=99)
        + struct("u64 a;", name="one", size=9)
        + struct("struct two c;", size=77),
        ["11: struct.one: the fields take 8 bytes, but the declared size is 9"],
    ),
    "structs that embed one that cannot be read": (
        HEAD
        + struct("struct two c;", name="three", size=77)
        + struct("struct one b;", name="two", size=99)
        + struct("u63 a;", name="one")
        + struct("u64 d;", size=7),
        [
            "19: struct.one.layout: unknown type 'u63'",
            "21: struct.x_ser: the fields take 8 bytes, but the declared size is 7",
        ],
    ),
    "a struct that embeds one whose alignment is not known": (
        HEAD
        + struct("u64 a;", name="one", more='packed = "yes"\n')
        + struct("u8 c; struct one d;", size=9, more="packed = false\n"),
        ["7: struct.one.packed: expected true or false, found a string 'yes'"],
    ),
    "a mistake in a tree beside one in a struct": (
        tree('a = { type = "u64", layout = "l" }', 'b = { type = "gone[]" }') + struct("u32 a;"),
        [
            "8: fdt.properties.a: layout 'l' is not defined",
            "9: fdt.properties.b: struct 'gone' is not defined",
            "10: struct.x_ser: the fields take 4 bytes, but the declared size is 8",
        ],
    ),
    "the name of a node": (
        tree(more='[fdt.nodes]\nname = { name = "key", type = "gone" }\n'),
        ["9: fdt.nodes.name: struct 'gone' is not defined"],
    ),
    "any property": (
        tree(more='[fdt.any_property]\nname = "others"\ntype = "gone"\nas = "all"\n'),
        ["8: fdt.any_property: struct 'gone' is not defined here or in uses"],
    ),
    "the format of a node": (
        tree(more='[fdt.nodes]\n[fdt.nodes.node.deep]\nformat = "gone-v1"\n'),
        ["10: fdt.nodes.node.deep.format: 'gone-v1' is not defined"],
    ),
    "uses in lines of their own, and a wrong size": (
        file("u32 a;", more='uses = ["gone", "kho_vmalloc",\n "gone2"]\n'),
        [
            "6: uses[0]: uses 'gone', which is not defined",
            "7: uses[2]: uses 'gone2', which is not defined",
            "8: struct.x_ser: the fields take 4 bytes, but the declared size is 8",
        ],
    ),
    "a struct of what is used and not there": (
        file("struct of_gone a;", more='uses = ["gone"]\n'),
        ["6: uses[0]: uses 'gone', which is not defined"],
    ),
    "an id that is no text": (
        file("u32 a;").replace('"x-v1"', "7"),
        ["1: id: expected a string, found an integer 7"],
    ),
}


@pytest.mark.parametrize("case", MEANING)
def test_meaning(case: str, tmp_path: Path) -> None:
    """What a definition refers to exists, and its structs compile."""
    text, wanted = MEANING[case]
    found = check(tmp_path, text)
    assert begin(found, wanted), found


def test_right_references_have_no_mistake(tmp_path: Path) -> None:
    """Structs of the file and of what it uses, counts of a header and beside, formats known."""
    fields = (
        'p = { points_to = { shape = "array", header = "two", count = "m", of = "two" } }\n'
        'q = { points_to = { shape = "array", of = "two", count = "n" } }\n'
        't = { points_to = { shape = "tree", format = "kho-test-v1" } }\n'
        'v = { holds = { of = "two", count = "n" } }'
    )
    layout = "u64 n; u64 p; u64 q; u64 t; struct kho_vmalloc v;"
    assert check(tmp_path, file(layout, fields, 48, 'uses = ["kho_vmalloc"]\n') + TWO) == []


def test_every_file_of_a_folder(tmp_path: Path) -> None:
    """Folders below are read too, other files are not; sets and names are not definitions."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.toml").write_text(file("u64 a;"))
    (tmp_path / "sets.toml").write_text("\n[[set]]\n")
    (tmp_path / "names.toml").write_text("")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "z.toml").write_text("id = 1\n")
    files, mistakes = check_folder(tmp_path, REGISTRY)
    assert files == 2
    assert [str(one) for one in mistakes] == [
        "sets.toml:2: set[0]: missing key 'id'",
        "sets.toml:2: set[0]: missing key 'root'",
        "z.toml:1: id: expected a string, found an integer 1",
        *(f"z.toml:1: missing key {key!r}" for key in ("title", "kind", "content", "status")),
    ]


def test_two_files_of_one_id(tmp_path: Path) -> None:
    """The mistake is in the later file, at its id; a definition that a folder replaces is none."""
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text("# mine\n" + file("u64 a;"))
    known = Registry([load(file("u64 a;"), "elsewhere.toml")])
    files, mistakes = check_folder(tmp_path, known)
    assert files == 2
    assert mistakes == [Mistake("b.toml", 2, 1, "id", "'x-v1' is defined in a.toml too")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("[[set]]\nid = 's'\nroot = 'kho-v4'\n[other]\na = 1\n", ["4: other: unknown key 'other'"]),
        ("\nset = 7\n", ["2: set: expected a list, found an integer 7"]),
        ('[set]\nid = "a"\n', ["1: set: expected a list, found a table"]),
    ],
)
def test_sets(text: str, wanted: list[str], tmp_path: Path) -> None:
    """A list of sets has nothing else."""
    found = check(tmp_path, text, "sets.toml")
    assert begin(found, wanted), found


@given(st.dictionaries(st.sampled_from(TOP_KEYS), TOML, max_size=6))
def test_any_document(document: dict[str, object]) -> None:
    """Whatever a document says, mistakes are reported without end or exception."""
    import tempfile

    text = "".join(f"{key} = {toml(value)}\n" for key, value in document.items())
    with tempfile.TemporaryDirectory() as folder:
        assert check(Path(folder), text)
        check(Path(folder), TREE.replace("local", "merged") + text)
