"""``formats check``: every mistake of every file, each with its line."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khotool.abi.mend import MOST_ERRORS, load_past_errors
from khotool.abi.registry import Registry, builtin_formats
from khotool.abi.toml_lines import key_lines
from khotool.abi.validate import check_folder
from khotool.cli.main import main
from tests.unit.abi.test_load import TOML, TOP_KEYS, WRONG, toml

MANY = """\
id = "many-v1"                                  # unwanted key: 4
title = "Many mistakes"
kind = "file"
colour = 1                                      #! colour: this key has no meaning
content = "gone"                                #! content 'gone' is no struct of this file
status = "old"                                  #! status: 'old' is none of merged
releases = { first = "7.3", since = "7.2" }     #! releases.since: this key has no meaning
match = { compatible = 7 }                      #! match.compatible: expected list, found
limits = { a = "ten", b = true }                #! limits.a: 'ten' is not; limits.b: expected

[struct.one]
fields = [
  { name = "a", type = "u64", role = "king" },  #! struct.one.fields[0].role: 'king' is none of
  { name = "b", type = "?" },                   #! struct.one.fields[1].type: '?' is not a type
  { type = "u8" },                              #! struct.one.fields[2]: key 'name' is missing
  { name = "s", type = "string" },              #! struct.one.s: type 'string' is for properties
  { bits = "u64", parts = [
    { name = "x", width = 65 },                 #! struct.one.fields[4].parts[0].width: expected
    { name = "y", width = 4, points_to = { shape = "ring" } }, #! struct.one.fields[4].parts[1].po
  ] },
  { name = "a", type = "u8" },                  #! struct.one: 'a' is defined twice
  7,                                            #! struct.one.fields[6]: expected a table
]
size = 0                                        #! struct.one.size: expected a number of bytes
key = "k"                                       #! struct.one.key: 'k' is no field of the struct

[struct.two]                                    #! struct.two: struct two: fields end at 8 bytes
fields = [
  { name = "p", type = "u64", counts = "q" },   #! struct.two.p: counts 'q', which is no field
]
size = 9

[struct.three]                                  #! struct.three: key 'fields' is missing
size = 8

[fdt]
[fdt.node."odd.name"]
properties = [
  { name = "r", type = "u64", layout = "l" },   #! fdt: layout 'l' is not defined
  { name = "x", type = "u64", colour = 1 },     #! fdt.node.odd.name.properties[1].colour: this
]
"""

TREE = """\
id = "tree-v1"
title = "A tree"
kind = "entry"
content = "fdt"
status = "local"

[fdt]
properties = [
  { name = "list", type = "none[]" },            #! fdt.list: struct 'none' is not defined
]

[fdt.node.a]
[fdt.node.a.nodes]
format = "nothing-v1"                            #! fdt.node.a.nodes.format: 'nothing-v1' is not
properties = [ { name = "n", type = "u32", counts = "m" } ] #! fdt.node.a.nodes.n: counts 'm'
"""

SETS = """\
# A comment.
[[set]]
id = "good"
releases = { first = "7.3", last = "" }
root = "kho-v4"

[[set]]                                           #! set[1]: key 'root' is missing
id = "no-root"
[set.releases]
first = "7.3"
last = ""

[[set]]
id = "names"
releases = { first = "7.3", last = "" }
root = "kho-v99"                                  #! set[2].root: names 'kho-v99', which is not
files = [
  "memfd-v2",
  "memfd-v99",                                    #! set[2].files[1]: names 'memfd-v99', which
]
[set.entries]
LUO = "luo-v99"                                   #! set[2].entries.LUO: names 'luo-v99', which
"""

USES = """\
id = "uses-v1"
title = "Uses"
kind = "structure"
content = "none"
status = "local"
uses = [
  "kho_vmalloc",
  "gone-v1",                                      #! uses[1]: uses 'gone-v1', which is not defi
]
"""

FILES = {"many.toml": MANY, "sub/tree.toml": TREE, "sets.toml": SETS, "uses.toml": USES}


def expected(text: str) -> list[tuple[int, str]]:
    """Line and beginning of each fault, as comments of a file name them."""
    return [
        (number, part.strip())
        for number, line in enumerate(text.splitlines(), 1)
        for part in line.partition("#! ")[2].split("; ")
        if part
    ]


def test_folder_of_wrong_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All mistakes of all files, each with file, line and reason; exit code 2."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "broken.toml").write_text('id = "x"\ntitle "y"\n')
    (tmp_path / "good.toml").write_text(USES.replace('"gone-v1",', "").replace("uses-v1", "ok-v1"))
    assert main(["formats", "check", str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    for name, text in FILES.items():
        rows = [
            line.removeprefix(f"{tmp_path}/{name}:")
            for line in lines
            if line.startswith(f"{tmp_path}/{name}:")
        ]
        found = [(int(row.partition(": ")[0]), row.partition(": ")[2]) for row in rows]
        wanted = expected(text)
        assert len(found) == len(wanted), "\n".join(rows)
        left = list(found)
        for line, start in wanted:
            match = next((row for row in left if row[1].startswith(start)), None)
            assert match is not None, (line, start, left)
            left.remove(match)
            # Faults of the file as a whole have no line of their own.
            assert match[0] == line or start.startswith(("content", "struct.one: 'a'", "fdt: lay"))
    assert f"{tmp_path}/broken.toml:2: not TOML: Expected '=' after a key" in "\n".join(lines)
    assert not any("good.toml" in line for line in lines)
    assert lines[-1] == f"5 definitions checked, {len(lines) - 1} faults"
    assert main(["formats", "check", str(tmp_path), "--json"]) == 2
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert len(faults) == len(lines) - 1
    assert {fault["file"] for fault in faults} >= {str(tmp_path / name) for name in FILES}


def test_single_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file may be named instead of a folder."""
    (tmp_path / "tree.toml").write_text(TREE)
    assert main(["formats", "check", str(tmp_path / "tree.toml")]) == 2
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{tmp_path}/tree.toml:9: fdt.list: struct 'none' is not defined")
    assert out[-1] == "1 definition checked, 3 faults"
    assert main(["formats", "check", str(tmp_path / "gone")]) == 2


@pytest.mark.parametrize("case", [case for case in WRONG if case != "no toml"])
def test_one_mistake_is_one_fault(case: str, tmp_path: Path) -> None:
    """A mistake is told once, and what follows from it is not."""
    text, message = WRONG[case]
    (tmp_path / "f.toml").write_text(text)
    faults = check_folder(tmp_path, Registry([]))[1]
    shown = [f"f.toml{'.' if f.where else ''}{f.where}: {f.message}" for f in faults]
    told = [line for line in shown if message in line]
    assert len(told) == 1, shown
    # Some of these files leave out more than the key they are about.
    rest = [line for line in shown if line not in told and "is missing" not in line]
    assert rest == []


def test_mistakes_without_end(tmp_path: Path) -> None:
    """A file of thousands of mistakes gets the first ones."""
    rows = ",\n".join('{ name = "a", type = "?" }' for _ in range(3 * MOST_ERRORS))
    (tmp_path / "f.toml").write_text(
        'id = "x"\ntitle = "X"\nkind = "file"\ncontent = "s"\nstatus = "local"\n'
        f"[struct.s]\nsize = 8\nfields = [\n{rows}\n]\n"
    )
    assert len(check_folder(tmp_path, Registry([]))[1]) == MOST_ERRORS


LINES = '''\
a = 1
b.c = "x"      # b.d = 2
"q.r" = """
z = 1
"""
t = [ 1, [2,
  3], { k = [4], "l m".n = 1.5 } ]
d = 2026-11-21T07:32:00.5
[s]
x = 'it''s'
[s.'u']
y = { }
[[m]]
z = 1
[[m]]
[m.n]
o = []
[[m.p]]
q = 1
[[m.p]]
q = 2
"\\u0041\\t" = 1
'''


def test_line_of_every_key() -> None:
    """Comments, strings of several lines, arrays, inline tables, arrays of tables."""
    found = key_lines(LINES.replace("'it''s'", "'its'"))
    wanted = {
        "a": 1,
        "b": 2,
        "b.c": 2,
        "q.r": 3,
        "t": 6,
        "t[0]": 6,
        "t[1]": 6,
        "t[1][0]": 6,
        "t[1][1]": 7,
        "t[2]": 7,
        "t[2].k": 7,
        "t[2].k[0]": 7,
        "t[2].l m": 7,
        "t[2].l m.n": 7,
        "d": 8,
        "s": 9,
        "s.x": 10,
        "s.u": 11,
        "s.u.y": 12,
        "m": 13,
        "m[0]": 13,
        "m[0].z": 14,
        "m[1]": 15,
        "m[1].n": 16,
        "m[1].n.o": 17,
        "m[1].p": 18,
        "m[1].p[0]": 18,
        "m[1].p[0].q": 19,
        "m[1].p[1]": 20,
        "m[1].p[1].q": 21,
        "m[1].p[1].A\t": 22,
    }
    assert found == wanted


def test_lines_of_shipped_definitions() -> None:
    """Every key of every shipped definition has the line on which it stands."""
    from khotool.abi.registry import toml_files

    for name, raw in toml_files(builtin_formats(), ""):
        text = raw.decode()
        rows = text.splitlines()
        found = key_lines(text)
        stack: list[tuple[str, object]] = [("", tomllib.loads(text))]
        while stack:
            place, value = stack.pop()
            if isinstance(value, dict):
                stack += [(f"{place}.{k}" if place else k, below) for k, below in value.items()]
            elif isinstance(value, list):
                stack += [(f"{place}[{n}]", below) for n, below in enumerate(value)]
            if not place or (isinstance(value, list | dict) and place not in found):
                # An array of tables has elements only; a table may have tables only.
                continue
            assert place in found, (name, place)
            last = re.sub(r"(\[\d+\])+$", "", place).rpartition(".")[2]
            assert place.endswith("]") or last in rows[found[place] - 1], (name, place)


@given(st.text(max_size=200))
def test_any_text_has_lines(text: str) -> None:
    """No text, TOML or not, is too much; lines are those of the text."""
    assert all(1 <= line <= text.count("\n") + 1 for line in key_lines(text).values())


@given(st.dictionaries(st.sampled_from(TOP_KEYS), TOML, max_size=6))
def test_any_document_is_mended(document: dict[str, object]) -> None:
    """Whatever a document says, mistakes are told without end or exception."""
    text = "".join(f"{key} = {toml(value)}\n" for key, value in document.items())
    mended = load_past_errors(tomllib.loads(text), "f.toml")
    assert mended.errors or mended.definition is not None
    if mended.errors and str(mended.errors[0]).startswith("f.toml: key 'kind' is missing"):
        assert "kind" not in document
