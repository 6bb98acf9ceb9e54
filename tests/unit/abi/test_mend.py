"""Definitions are loaded past their mistakes: each is told once, and what is left is usable."""

from __future__ import annotations

import tomllib

import pytest

from khotool.abi.mend import MOST_ERRORS, load_past_errors, message_of, place_of

HEAD = 'id = "x-v1"\ntitle = "X"\nkind = "file"\ncontent = "none"\nstatus = "local"\n'
GOOD = '[struct.x]\nsize = 8\nfields = [ { name = "a", type = "u64" } ]\n'


def struct(fields: str, more: str = "") -> str:
    return f"{HEAD}[struct.x]\nsize = 8\n{more}fields = [ {fields} ]\n"


CASES: dict[str, tuple[str, list[str], str, str]] = {
    # Text; beginnings of what is told; places that changed; fields of the structs that are left.
    "nothing": (
        "",
        [
            ": key 'kind' is missing",
            ": key 'id' is missing",
            ": key 'title' is",
            ": key 'content' is missing",
            ": key 'status' is missing",
        ],
        "content id kind status title",
        "",
    ),
    "nothing wrong": (HEAD + GOOD, [], "", "x:a"),
    "a struct that is a number": (
        HEAD + "[struct]\nx = 7\n",
        ["struct.x: expected a table, found int"],
        "struct.x",
        "x:",
    ),
    "structs that are a number": (
        HEAD + "struct = 7\n",
        ["struct: expected a table, found int"],
        "struct.",
        "",
    ),
    "fields that are a number": (
        HEAD + "[struct.x]\nsize = 8\nfields = 7\n",
        ["struct.x.fields: expected list, found int"],
        "struct.x",
        "x:",
    ),
    "a struct without a size": (
        HEAD + GOOD.replace("size = 8\n", "").replace("u64", "?"),
        ["struct.x.fields[0].type: '?' is not", "struct.x.size: expected a number of bytes"],
        "struct.x",
        "x:a",
    ),
    "names with dots": (
        HEAD
        + GOOD
        + GOOD.replace(".x]", '."x.y"]').replace("u64", "?")
        + GOOD.replace(".x]", '."x.y.z"]').replace('"u64"', '"u64", role = "king"'),
        [
            "struct.x.y.fields[0].type: '?' is not a type",
            "struct.x.y.z.fields[0].role: 'king' is none of",
        ],
        "struct.x",
        "x:a x.y:a x.y.z:a",
    ),
    "a name twice, in parts": (
        struct(
            '{ name = "a", type = "u32" }, { bits = "u32", parts = [ { name = "b", width = 16 },'
            ' { name = "a", width = 16 } ] }'
        ),
        ["struct.x: 'a' is defined twice"],
        "struct.x",
        "x:a,unnamed_0",
    ),
    "a name twice, as an alias": (
        struct('{ name = "a", type = "u32" }, { name = "b", as = "a", type = "u32" }'),
        ["struct.x: 'a' is defined twice"],
        "struct.x",
        "x:a,unnamed_0",
    ),
    "a name three times": (
        struct(", ".join(['{ name = "a", type = "u32" }'] * 3)),
        ["struct.x: 'a' is defined twice"] * 2,
        "struct.x",
        "x:a,unnamed_1,unnamed_0",
    ),
    "keys that are no fields": (
        struct('{ name = "a", type = "u64" }', 'key = "k"\nunique = ["q", "a"]\n'),
        ["struct.x.key: 'k' is no field", "struct.x.unique: 'q' is no field"],
        "struct.x",
        "x:a",
    ),
    "layouts that are not there": (
        HEAD.replace('"none"', '"fdt"') + "[fdt]\nproperties = [\n"
        '{ name = "a", type = "u64", layout = "l" }, { name = "b", type = "u64", layout = "m" }\n'
        ']\n[fdt.node.c]\nproperties = [ { name = "d", type = "u64", layout = "l" } ]\n',
        ["fdt: layout 'l' is not defined", "fdt: layout 'm' is not defined"],
        "fdt",
        "",
    ),
    "content that is not there": (
        HEAD.replace('"none"', '"fdt"'),
        [": content is 'fdt' but there is no [fdt]"],
        "",
        "",
    ),
    "content that is a number": (
        HEAD.replace('"none"', "7"),
        ["content: expected str, found int"],
        "content",
        "",
    ),
    "a kind that is none": (
        HEAD.replace('"file"', '"thing"'),
        ["kind: 'thing' is none of root"],
        "kind",
        "",
    ),
    "values of other types": (
        HEAD + 'match = 7\nuses = "a"\nlimits = { b = true }\nliterals = 9\nprobe = 3\n' + GOOD,
        [
            "match: expected a table, found int",
            "uses: expected list, found str",
            "limits.b: expected a number, found bool",
            "literals: expected a table, found int",
            "probe: expected list, found int",
        ],
        "limits literals match probe uses",
        "x:a",
    ),
    "signs of fields that are not there": (
        HEAD.replace('"none"', '"x"') + 'probe = [ { rows = "q", field = "a", equals = 1 },'
        ' { field = "q", at_least = 1 }, { field = "a", inside = "a" },'
        ' { field = "a", ends = true }, { field = "a", at_least = 1 } ]\n' + GOOD,
        [
            "probe[0]: 'q' is no field of x",
            "probe[1]: 'q' is no field of x",
            "probe[2]: 'a' leads to no records",
            "probe[3]: 'a' leads to no array",
        ],
        "probe[0] probe[1] probe[2] probe[3]",
        "x:a",
    ),
    "an array of open length in front": (
        struct('{ name = "t", type = "x[]" }, { name = "a", type = "u64" }'),
        ["struct.x.t: an array of open length comes last"],
        "struct.x",
        "x:unnamed_0,a",
    ),
    "fields and parts that are numbers": (
        struct(
            '7, { name = "a", type = "u64" }, { bits = "u8", parts = 7 }, '
            '{ bits = "u8", parts = [ 7 ] }'
        ),
        [
            "struct.x.fields[0]: expected a table",
            "struct.x.fields[2].parts: expected list",
            "struct.x.fields[3].parts[0]: expected a table",
        ],
        "struct.x",
        "x:unnamed_0,a,,unnamed_2",
    ),
    "signs of other keys, and a mistake behind them": (
        struct('{ name = "a", type = "u64", king = 1 }').replace(
            "[struct",
            "probe = [ { length = 8, colour = 1 }, { length = 'a' }, { colour = 1 }, 7 ]\n[struct",
        ),
        [
            "probe[0].colour: this key has no meaning",
            "probe[1].length: 'a' is not a number",
            "probe[2].colour: this key has no meaning",
            "probe[3]: expected a table, found int",
            "struct.x.fields[0].king: this key has no meaning",
        ],
        "probe[0] probe[1] probe[2] probe[3] struct.x",
        "x:a",
    ),
    "names that are numbers, or missing": (
        struct('{ name = 7, type = "u64" }, { name = "a", type = 7 }, { type = "u8" }'),
        [
            "struct.x.fields[0].name: expected str",
            "struct.x.fields[1].type: expected str",
            "struct.x.fields[2]: key 'name' is missing",
        ],
        "struct.x",
        "x:unnamed_0,a,unnamed_2",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes(case: str) -> None:
    """What is told, in this order; what was changed; what is left."""
    text, told, touched, left = CASES[case]
    mended = load_past_errors(tomllib.loads(text), "x.toml")
    found = [f"{place_of(error, 'x.toml')}: {message_of(error)}" for error in mended.errors]
    assert len(found) == len(told), found
    for line, beginning in zip(found, told, strict=True):
        assert line.startswith(beginning)
    assert mended.touched - {""} == set(touched.split())
    assert mended.definition is not None
    structs = mended.definition.structs.values()
    names = (",".join(f.name for f in struct.fields) for struct in structs)
    assert " ".join(f"{s.name}:{n}" for s, n in zip(structs, names, strict=True)) == left


def test_a_hundred_mistakes_are_enough() -> None:
    """Those that are told are the first ones; the definition is given up."""
    rows = ", ".join(f'{{ name = "f{n}", type = "?" }}' for n in range(MOST_ERRORS + 1))
    mended = load_past_errors(tomllib.loads(struct(rows)), "x.toml")
    assert (len(mended.errors), mended.definition) == (100, None)
    rows = ", ".join(f'{{ name = "f{n}", type = "?" }}' for n in range(MOST_ERRORS - 1))
    mended = load_past_errors(tomllib.loads(struct(rows)), "x.toml")
    assert len(mended.errors) == 99
    assert mended.definition is not None


@pytest.mark.parametrize("extra", ["", 'probe = [ { length = "?" } ]\n'])
def test_names_that_look_like_places(extra: str) -> None:
    """A place that means two things may be mended in the wrong one; that ends, and is told."""
    text = HEAD + extra + '[struct.y]\nsize = 8\nfields = [ { type = "u64" } ]\n'
    text += '[struct."y.fields[0]"]\nsize = 8\nfields = [ { name = "a", type = "u64" } ]\n'
    mended = load_past_errors(tomllib.loads(text), "x.toml")
    places = [place_of(error, "x.toml") for error in mended.errors]
    assert places == ["probe[0].length"] * bool(extra) + ["struct.y.fields[0]"]
    assert mended.definition is None
