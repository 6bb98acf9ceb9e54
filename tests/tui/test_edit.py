"""Staged changes: decoded and checked at once, undone, written to a new file."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.decode.open import open_image
from khotool.errors import KhotoolError
from khotool.model.image import Node, NodeKind
from khotool.model.lookup import find_node
from khotool.tui import edits
from khotool.tui.place import Place, resolve
from khotool.tui.session import Session
from tests.tui.conftest import CAPTURE, opened
from tests.tui.driver import Driver, drive

DATA = "/LUO/sessions[vm-alpha]/files[0x1]/data"


def at(session: Session, path: str) -> Session:
    place = resolve(session.image.tree, path)
    assert place is not None
    session.select(place)
    return session


@pytest.mark.parametrize(
    ("path", "text", "new"),
    [
        (f"{DATA}/size", "4096", (4096).to_bytes(8, "little")),
        (f"{DATA}/seals", "F_SEAL_GROW", (4).to_bytes(4, "little")),
        ("/LUO/sessions[vm-alpha]/name", "vm-1", b"vm-1".ljust(64, b"\0")),
        (f"{DATA}/folios[0]/index", "0x11", (0x11).to_bytes(8, "little")),
        ("/kexec-metadata/previous_release", "7.3.5", b"7.3.5".ljust(65, b"\0")),
    ],
)
def test_values_are_bytes_in_their_place(
    session: Session, path: str, text: str, new: bytes
) -> None:
    """A value is typed as it is shown; its field says how it is stored."""
    edit = edits.edit_of(at(session, path), text)
    assert edit.new == new
    assert edit.old == bytes(session.image.space.read(edit.address, len(new)))


def test_bytes_are_typed_as_digits(session: Session) -> None:
    """A selection of bytes, and a byte that no field holds."""
    session.select_address(0xC66000, 3)
    assert edits.shown(session)[1] == "bytes as hex digits"
    assert edits.edit_of(session, "01 0203").new == b"\1\2\3"
    for text in ("xyz", "1"):
        with pytest.raises(KhotoolError, match="hexadecimal"):
            edits.edit_of(session, text)


@pytest.mark.parametrize(("path", "text"), [(f"{DATA}/seals", "1 << 40"), (f"{DATA}/size", "-1")])
def test_what_does_not_fit_is_refused(session: Session, path: str, text: str) -> None:
    """The reason names the place."""
    with pytest.raises(KhotoolError, match="data/"):
        edits.edit_of(at(session, path), text)


def test_change_undo_and_write(tmp_path: Path) -> None:
    """Findings and verdict follow each change; undo takes it back; the input stays as it is."""
    out = tmp_path / "changed.elf"
    before = CAPTURE.read_bytes()

    async def story(d: Driver) -> None:
        original = d.app.session
        await d.goto(DATA)
        await d.press("s")
        assert f"Stage a change to {DATA}" in d.text()
        await d.fill("nonsense")
        await d.press("enter")
        assert "expected a value such as" in " ".join(d.text("#note").split())
        await d.fill("0x123456789000")
        await d.press("enter")
        assert d.path() == DATA
        assert d.app.session is not original
        assert "1 change staged: +" in d.text("#banner")
        assert "7.3.4 accept → " in d.text("#banner")
        assert "✗" in d.text("#tree")
        assert d.app.session is not None
        assert d.app.session.digest == original.digest  # type: ignore[union-attr]
        await d.press("4")
        assert DATA in d.text("#changes")
        await d.press("C")
        assert "0060c60000000000 → 0090785634120000" in d.text("#list")
        await d.press("enter")
        assert d.app.current_mode == "explore"
        await d.press("q", "n")
        assert d.app.return_code is None
        await d.press("W")
        await d.fill(str(CAPTURE))
        await d.press("enter")
        assert "the image that was read" in d.text("#note")
        await d.fill(str(out))
        await d.press("enter")
        await d.press("U")
        assert d.app.session is original
        assert "staged" not in d.text()
        await d.press("4")
        assert "no image to compare with" in d.text()

    drive(story)
    assert CAPTURE.read_bytes() == before
    old, new = opened(CAPTURE), open_image(out)
    assert find_node(new, DATA).value == 0x123456789000
    extents = new.space.extents().tolist()
    assert extents == old.space.extents().tolist()
    changed = [
        start + n
        for start, end in extents
        for n, (a, b) in enumerate(
            zip(old.space.read(start, end - start), new.space.read(start, end - start), strict=True)
        )
        if a != b
    ]
    assert changed == [0xC64041, 0xC64042, 0xC64043, 0xC64044, 0xC64045]


def test_what_cannot_be_edited() -> None:
    """A copy of debugfs has no memory to change; a place needs bytes."""
    session = Session(opened(CAPTURE.parent / "debugfs.tar.xz"))
    with pytest.raises(KhotoolError, match="without their memory"):
        edits.shown(session)
    bare = Session(opened(CAPTURE))
    bare.select(Place(Node("", NodeKind.VALUE)))
    with pytest.raises(KhotoolError, match="no bytes"):
        edits.shown(bare)


def test_a_root_that_no_kernel_takes() -> None:
    """Even a change that a scan does not survive is decoded, and judged."""

    async def story(d: Driver) -> None:
        await d.goto("/compatible")
        await d.press("s")
        await d.fill("xho-v4")
        await d.press("enter")
        assert "ABI901" in d.text("#banner")
        await d.press("U", "U")
        assert "No change is staged" in d.text()

    drive(story)
