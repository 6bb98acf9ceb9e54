"""Wrapping of styled lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from khotool.render.lines import Line, coloured, plain, width_of, wrap

WORDS = st.lists(
    st.tuples(st.text("ab ", min_size=1, max_size=12), st.sampled_from(["", "name", "key"])),
    max_size=30,
)


@given(WORDS, st.integers(30, 80))
def test_wrap_keeps_the_words(segments: list[tuple[str, str]], width: int) -> None:
    """Wrapping loses no letter, and rows of short words fit."""
    line = Line(list(segments), "> ", "    ")
    rows = ["".join(text for text, _ in row) for row in wrap(line, width)]
    letters = "".join(text for text, _ in segments).replace(" ", "")
    assert "".join(rows).replace(" ", "").replace(">", "") == letters
    longest = max((len(word) for row in rows for word in row.split()), default=0)
    assert all(len(row.rstrip()) <= max(width, longest + 4) for row in rows)


def test_groups_stay_together() -> None:
    """A label stays with its value: rows break before two blanks."""
    line = Line(
        [
            ("name", ""),
            ("  size ", "label"),
            ("123 (4 KiB)", ""),
            ("  flags ", "label"),
            ("ONE|TWO", ""),
        ],
        "",
        "  ",
    )
    assert list(plain([line], 24)) == ["name  size 123 (4 KiB)\n", "  flags ONE|TWO\n"]


def test_colours_add_only_escapes() -> None:
    """Coloured lines are plain lines with styles around."""
    line = Line([("name", "name"), (" value", "number")])
    (text,) = coloured([line], 80)
    assert text == "\x1b[1mname\x1b[0m value\n"


def test_width_of_wide_letters() -> None:
    """East Asian letters take two columns, combining marks none."""
    assert [width_of(text) for text in ("abc", "日本", "e\u0301")] == [3, 4, 1]
