from __future__ import annotations

from pathlib import Path

from khotool.decode.open import open_image
from khotool.diff.changes import Change, ChangeKind, Comparison, NotCompared, Side, Why
from khotool.render.diff import diff_lines, diff_markdown, grouped, part_of, summary
from khotool.render.lines import plain

IMAGE = Path(__file__).parents[3] / "fixtures" / "real" / "linux-7.3.4" / "image.elf.xz"
EVIL = "/LUO/sessions[\x1b[2J\u202e|<b>\n]/name"


def test_hostile_text_never_reaches_the_terminal_raw() -> None:
    """Controls and markup in paths, values and notes come out escaped."""
    image = open_image(IMAGE)
    result = Comparison(
        [Change(ChangeKind.CHANGED, EVIL, "a", "b", ("\x1b]0;x\x07", "\u202e"))],
        not_compared=[NotCompared("/\x1b[31m", Why.LIMIT, Side.BOTH)],
    )
    text = "".join(plain(diff_lines(image, image, result, 4096), 100))
    assert all(char.isprintable() or char == "\n" for char in text)
    table = diff_markdown(image, image, result)
    assert all(char.isprintable() or char == "\n" for char in table)
    assert "<b>" not in table
    row = next(line for line in table.splitlines() if "changed |" in line)
    assert row.replace(r"\|", "").count("|") == 5


def test_equal_changes_are_put_together() -> None:
    """Three or more of the same change are one line; others stay as they are."""
    same = [Change(ChangeKind.CHANGED, f"/a[{n}]/handler", "x", "y", ("x", "y")) for n in range(3)]
    other = Change(ChangeKind.CHANGED, "/a[0]/pos", 1, 2, ("1", "2"))
    assert [len(group) for group in grouped([same[0], other, *same[1:]])] == [3, 1]


def test_many_changes_stay_a_screen_or_few() -> None:
    """Text is bounded, whatever an image holds."""
    image = open_image(IMAGE)
    many = [Change(ChangeKind.CHANGED, f"/a/{n}", n, n, (str(n), "x")) for n in range(5000)]
    assert len(list(diff_lines(image, image, Comparison(many), 4096))) < 210
    assert summary(Comparison(many)) == "5000 changed"


def test_parts() -> None:
    """--stat counts per session, region, FLB or entry."""
    assert part_of('/LUO/sessions["a]/b"]/files[0x1]/handler') == '/LUO/sessions["a]/b"]'
    assert part_of("/kexec-metadata/version") == "/kexec-metadata"
