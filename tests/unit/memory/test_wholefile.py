"""Files taken whole: the same bytes whether read, mapped or expanded, and errors that say why."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from khotool.errors import InputError
from khotool.memory import wholefile
from khotool.memory.wholefile import whole_file

CONTENT = b"".join(number.to_bytes(4, "little") for number in range(300_000))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
@pytest.mark.parametrize("small", [16, 64 << 20])
def test_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes], small: int
) -> None:
    """All bytes, also of a file that is mapped; those that are out stay readable."""
    monkeypatch.setattr(wholefile, "SMALL", small)
    path = tmp_path / "file"
    path.write_bytes(pack(CONTENT))
    if pack is bytes and small == 16:
        with whole_file(str(path)) as data:
            kept = data[:4]
            assert bytes(data) == CONTENT
        assert bytes(kept) == CONTENT[:4]
        return
    with whole_file(str(path)) as data:
        assert bytes(data) == CONTENT


def test_limit(tmp_path: Path) -> None:
    """What expands to more than is allowed is refused."""
    path = tmp_path / "file.xz"
    path.write_bytes(lzma.compress(bytes(10_000)))
    with (
        pytest.raises(InputError, match="expands to more than 9999 bytes"),
        whole_file(str(path), 9_999),
    ):
        pass


def test_damaged_stream(tmp_path: Path) -> None:
    """A stream that is cut off is no file, however much of it could be read."""
    path = tmp_path / "file.xz"
    path.write_bytes(lzma.compress(CONTENT)[:-2000])
    with (
        pytest.raises(InputError, match=r"file\.xz: the xz stream is damaged or cut off after"),
        whole_file(str(path)),
    ):
        pass


def test_nothing(tmp_path: Path) -> None:
    """A file that is not there, is a directory or has no bytes is an error of one line."""
    (tmp_path / "empty").write_bytes(b"")
    for name, message in (
        ("gone", "gone: No such file or directory"),
        ("", "Is a directory"),
        ("empty", "empty: the file is empty"),
    ):
        with pytest.raises(InputError, match=message), whole_file(str(tmp_path / name)):
            pass
