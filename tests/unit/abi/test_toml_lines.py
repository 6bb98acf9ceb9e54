"""The line of every key of a document that has all that TOML allows."""

from __future__ import annotations

import tomllib

from khotool.abi.toml_lines import key_lines

DOCUMENT = r'''top = 1
"quoted key" = 2
'single "x"' = 3
"esc\u0041\t\"\\\U0001F600" = 4
dotted.inner."x.y" = [1, [2, 3], { a = 1, b = [
  4, # one
  5,
  ] }]
float = 1.5
date = 1979-05-27T07:32:00.25Z
text = """
[not.a.table]
key = 1
"""
after = true
empty = []
none = {}
[ one . two ]  # [three]
a = 1
[[many]]
b = 1
[[many]]
c = { d = { e = 1 }, f = 2 }
[[many.sub]]
g = 1
[[many.sub]]
g = [
  { h = 1 },
  [
    { j = 1 } ] ]
["odd.name".'x y']
k = 'literal [x]'
l = "="
'''

LINES = {
    1: "top",
    2: "quoted key",
    3: 'single "x"',
    4: 'escA\t"\\\U0001f600',
    5: "dotted dotted.inner dotted.inner.x.y dotted.inner.x.y[0] dotted.inner.x.y[1] "
    "dotted.inner.x.y[1][0] dotted.inner.x.y[1][1] dotted.inner.x.y[2] "
    "dotted.inner.x.y[2].a dotted.inner.x.y[2].b",
    6: "dotted.inner.x.y[2].b[0]",
    7: "dotted.inner.x.y[2].b[1]",
    9: "float",
    10: "date",
    11: "text",
    15: "after",
    16: "empty",
    17: "none",
    18: "one.two",
    19: "one.two.a",
    20: "many[0] many",
    21: "many[0].b",
    22: "many[1]",
    23: "many[1].c many[1].c.d many[1].c.d.e many[1].c.f",
    24: "many[1].sub[0] many[1].sub",
    25: "many[1].sub[0].g",
    26: "many[1].sub[1]",
    27: "many[1].sub[1].g",
    28: "many[1].sub[1].g[0] many[1].sub[1].g[0].h",
    29: "many[1].sub[1].g[1]",
    30: "many[1].sub[1].g[1][0] many[1].sub[1].g[1][0].j",
    31: "odd.name.x y",
    32: "odd.name.x y.k",
    33: "odd.name.x y.l",
}
SPACED = ("quoted key", 'single "x"', "odd.name.x y", "odd.name.x y.k", "odd.name.x y.l")


def test_every_line() -> None:
    """Tables, keys and elements stand where they do, in this order."""
    assert tomllib.loads(DOCUMENT)
    found: dict[int, list[str]] = {}
    for place, line in key_lines(DOCUMENT).items():
        found.setdefault(line, []).append(place)
    assert found == {
        line: [places] if places in SPACED or line == 4 else places.split(" ")
        for line, places in LINES.items()
    }


def test_half_a_document() -> None:
    """What is no TOML has some lines, and no more than it has."""
    assert key_lines("a = [\n1,\n[") == {"a": 1, "a[0]": 2, "a[1]": 3}
    assert key_lines("[") == {"": 1}
    assert key_lines('"\\UFFFFFFFF" = 1\n"\\U0010FFFF" = 1\n"\\U00110000" = 1') == {
        "?": 1,
        "\U0010ffff": 2,
    }


def test_quotes_in_keys() -> None:
    """A key between single quotes has no escapes; a quote of the other kind belongs to the key."""
    text = "'a\\tb' = 1\n\"'c'\" = 2\n'\"d\"' = 3\n\"e'\" = 4\n'f\\' = [\n5]\n"
    expected = {name: line for line, name in enumerate(tomllib.loads(text), 1)}
    assert key_lines(text) == expected | {"f\\[0]": 6}
