from __future__ import annotations

import io
import lzma
import os
import tarfile
import time
from pathlib import Path

import pytest

from khotool.errors import InputError
from khotool.memory import debugfs
from khotool.memory.debugfs import DebugfsCopy
from khotool.memory.source import open_source

FILES = {
    "out/fdt": b"\xd0\x0d\xfe\xed outgoing",
    "out/scratch_phys": b"0xdc00000\n0xcc00000\n",
    "out/scratch_len": b"0x1000000\n0x2000000\n",
    "out/finalize": b"1\n",
    "out/sub_fdts/LUO": b"luo",
    "in/fdt": b"\xd0\x0d\xfe\xed incoming",
    "in/sub_fdts/LUO": b"old luo",
    "in/sub_fdts/memblock": b"",
    "unrelated/fdt": b"no",
    "unrelated/sub_fdts/LUO": b"no",
}


def tar_of(files: dict[str, bytes], prefix: str = "", kind: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def write_tree(top: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def copy_at(path: Path) -> DebugfsCopy:
    copy = open_source(path)
    assert isinstance(copy, DebugfsCopy)
    return copy


def check(copy: DebugfsCopy, prefix: str = "") -> None:
    incoming, outgoing = copy.trees
    assert (incoming.name, incoming.direction) == (prefix + "in", "in")
    assert incoming.fdt == FILES["in/fdt"]
    assert incoming.subtrees == {"LUO": b"old luo", "memblock": b""}
    assert incoming.scratch is None
    assert incoming.finalized is None
    assert (outgoing.name, outgoing.direction) == (prefix + "out", "out")
    assert outgoing.fdt == FILES["out/fdt"]
    assert outgoing.subtrees == {"LUO": b"luo"}
    assert outgoing.scratch == [(0xDC00000, 0x1000000), (0xCC00000, 0x2000000)]
    assert outgoing.finalized is True
    assert copy.info.container == "debugfs"
    assert copy.info.notes == []


@pytest.mark.parametrize("prefix", ["", "kho/", "a/b/kho/"])
def test_directory(tmp_path: Path, prefix: str) -> None:
    """Trees are found at any depth, named by their relative path."""
    write_tree(tmp_path / prefix, FILES)
    check(copy_at(tmp_path), prefix)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("prefix", ["", "./", "a/b/kho/"])
def test_tar(tmp_path: Path, prefix: str, kind: int) -> None:
    """A tar, compressed or not, is the same as the directory."""
    path = tmp_path / "copy"
    for data in (tar_of(FILES, prefix, kind), lzma.compress(tar_of(FILES, prefix, kind))):
        path.write_bytes(data)
        check(copy_at(path), prefix.removeprefix("./"))


def test_one_tree_opened_itself(tmp_path: Path) -> None:
    """The user may point at ``in`` or ``out``, or at a copy of it under another name."""
    write_tree(tmp_path, FILES)
    (tree,) = copy_at(tmp_path / "out").trees
    assert (tree.name, tree.direction) == ("out", "out")
    assert tree.subtrees == {"LUO": b"luo"}
    (tmp_path / "out").rename(tmp_path / "saved")
    (tree,) = copy_at(tmp_path / "saved").trees
    assert tree.direction == "out"
    (tmp_path / "in").rename(tmp_path / "other")
    (tree,) = copy_at(tmp_path / "other").trees
    assert tree.direction == "in"


def test_tree_with_nothing_but_an_empty_directory(tmp_path: Path) -> None:
    """``in/sub_fdts`` without files is still a tree."""
    (tmp_path / "in" / "sub_fdts").mkdir(parents=True)
    (tree,) = copy_at(tmp_path).trees
    assert tree.fdt is None
    assert tree.subtrees == {}


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    """Links to files and directories are as if they were not there."""
    write_tree(tmp_path / "elsewhere", {"secret": b"s", "sub_fdts/x": b"y"})
    copy = tmp_path / "copy" / "in"
    copy.mkdir(parents=True)
    (copy / "fdt").symlink_to(tmp_path / "elsewhere" / "secret")
    (copy / "sub_fdts").symlink_to(tmp_path / "elsewhere" / "sub_fdts")
    with pytest.raises(InputError, match="no copy"):
        open_source(tmp_path / "copy")


def test_names_with_dots_are_refused(tmp_path: Path) -> None:
    """A member that climbs out is left out, with a note; links in a tar are ignored."""
    buffer = io.BytesIO(tar_of({"in/fdt": b"good", "../in/fdt": b"bad", "x/../in/fdt": b"bad"}))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        link = tarfile.TarInfo("out/fdt")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        archive.addfile(link)
    path = tmp_path / "copy.tar"
    path.write_bytes(buffer.getvalue())
    copy = copy_at(path)
    assert [(tree.name, tree.fdt) for tree in copy.trees] == [("in", b"good")]
    assert len(copy.info.notes) == 2


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files, many files and many names are left out with a note."""
    monkeypatch.setattr(debugfs, "FILE_LIMIT", 100)
    monkeypatch.setattr(debugfs, "TAKEN_LIMIT", 3)
    files = {"in/fdt": b"x", "in/sub_fdts/large": bytes(101)}
    files |= {f"in/sub_fdts/{index}": b"y" for index in range(5)}
    write_tree(tmp_path / "copy", files)
    (tmp_path / "copy.tar").write_bytes(tar_of(files))
    for path in (tmp_path / "copy", tmp_path / "copy.tar"):
        copy = copy_at(path)
        assert "large" not in copy.trees[0].subtrees
        assert sum(len(tree.subtrees) + (tree.fdt is not None) for tree in copy.trees) == 3
        assert any("101 bytes" in note for note in copy.info.notes)
        assert sum("rest is left out" in note for note in copy.info.notes) == 1
    monkeypatch.setattr(debugfs, "NAME_LIMIT", 3)
    for path in (tmp_path / "copy", tmp_path / "copy.tar"):
        assert any("only the first 3" in note for note in copy_at(path).info.notes)


@pytest.mark.parametrize(
    ("phys", "size"),
    [
        (b"0x1\n0x2\n", b"0x1\n"),
        (b"nonsense\n", b"0x1\n"),
        (b"-0x1\n", b"0x1\n"),
        (b"0x" + b"f" * 40 + b"\n", b"0x1\n"),
        (b"0x1\n", b"\xff\xfe\n"),
    ],
)
def test_scratch_that_does_not_parse(tmp_path: Path, phys: bytes, size: bytes) -> None:
    """Lists that do not fit together are None with a note."""
    write_tree(tmp_path, {"out/scratch_phys": phys, "out/scratch_len": size})
    copy = copy_at(tmp_path)
    assert copy.trees[0].scratch is None
    assert "scratch_phys" in copy.info.notes[0]


@pytest.mark.parametrize("cut", range(0, 512 * 4, 100))
def test_truncated_tar(tmp_path: Path, cut: int) -> None:
    """What came before the cut is used, or the file is refused with one line."""
    data = tar_of({"in/fdt": b"x" * 600, "in/sub_fdts/a": b"y"})
    path = tmp_path / "copy.tar"
    path.write_bytes(data[:cut])
    try:
        copy = open_source(path)
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        return
    assert isinstance(copy, DebugfsCopy)


def test_chained_long_names(tmp_path: Path) -> None:
    """A tar of nothing but long-name headers does not exhaust the stack."""
    member = tarfile.TarInfo("././@LongLink")
    member.type = tarfile.GNUTYPE_LONGNAME
    member.size = 4
    block = member.tobuf(tarfile.GNU_FORMAT) + b"a/b\0".ljust(512, b"\0")
    path = tmp_path / "copy.tar"
    path.write_bytes(block * 3000)
    with pytest.raises(InputError) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_one_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file and a directory that cannot be read are notes; the rest of the copy is taken."""
    write_tree(
        tmp_path, {"in/fdt": b"x", "in/sub_fdts/LUO": b"y", "out/fdt": b"z", "a/b/in/c": b""}
    )
    opening, scanning = os.open, os.scandir

    def refused(path: str, flags: int) -> int:
        if path.endswith("LUO"):
            raise PermissionError(13, "Permission denied")
        return opening(path, flags)

    def unread(path: str) -> object:
        if path.endswith("b"):
            raise PermissionError(13, "Permission denied")
        return scanning(path)

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(os, "scandir", unread)
    copy = copy_at(tmp_path)
    assert [(tree.name, tree.fdt, tree.subtrees) for tree in copy.trees] == [
        ("in", b"x", {}),
        ("out", b"z", {}),
    ]
    assert sorted(copy.info.notes) == [
        "a/b: cannot be read: Permission denied",
        "in/sub_fdts/LUO: cannot be read: Permission denied",
    ]


def test_a_file_that_becomes_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no regular file once it is open is left out, and nobody waits for it."""
    write_tree(tmp_path, {"in/fdt": b"x", "in/sub_fdts/LUO": b"y"})
    opening = os.open
    os.mkfifo(tmp_path / "pipe")

    def swapped(path: str, flags: int) -> int:
        return opening(tmp_path / "pipe" if path.endswith("LUO") else path, flags)

    monkeypatch.setattr(os, "open", swapped)
    assert copy_at(tmp_path).trees[0].subtrees == {}


def test_a_file_that_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of debugfs say that they are empty: what is read counts against the limit."""
    write_tree(tmp_path, {"in/fdt": b"x" * 101, "in/sub_fdts/LUO": b"y"})
    monkeypatch.setattr(debugfs, "FILE_LIMIT", 100)
    status = os.fstat

    def empty(handle: int) -> os.stat_result:
        fields = list(status(handle))
        fields[6] = 0
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", empty)
    copy = copy_at(tmp_path)
    assert (copy.trees[0].fdt, copy.trees[0].subtrees) == (None, {"LUO": b"y"})
    assert copy.info.notes == ["in/fdt: 101 bytes, more than 100: left out"]


def test_names_too_deep(tmp_path: Path) -> None:
    """Directories are looked at so deep and no deeper, in a tar as in a folder."""
    deep = "d/" * debugfs.DEPTH_LIMIT
    path = tmp_path / "copy.tar"
    path.write_bytes(tar_of({f"{deep}in/fdt": b"x", "out/fdt": b"y", f"{deep}in/sub_fdts/a": b"z"}))
    assert [tree.name for tree in copy_at(path).trees] == ["out"]
    write_tree(tmp_path / "copy", {f"{deep}in/fdt": b"x", "out/fdt": b"y"})
    assert [tree.name for tree in copy_at(tmp_path / "copy").trees] == ["out"]


def test_seeks_in_a_tar_stay_inside() -> None:
    """The file that a tar is read from seeks as any other, and not before its beginning."""
    file = debugfs._ViewFile(memoryview(b"0123456789"))
    assert (file.readable(), file.seekable()) == (True, True)
    assert file.seek(-3, 2) == 7
    assert (file.read(2), file.tell()) == (b"78", 9)
    assert file.seek(-1, 1) == 8
    assert file.read() == b"89"
    with pytest.raises(OSError, match="seek before the beginning"):
        file.seek(-11, 2)


def test_a_directory_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory that was named is the one that has to be readable."""

    def unread(path: str) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", unread)
    with pytest.raises(InputError, match="copy: cannot be read: Permission denied"):
        debugfs.open_directory(str(tmp_path / "copy"))


def test_directories_in_a_tar(tmp_path: Path) -> None:
    """A member that is a directory makes a tree, as an empty directory does."""
    buffer = io.BytesIO()
    deep = "d/" * debugfs.DEPTH_LIMIT
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("kho", "kho/in", "kho/in/sub_fdts", f"{deep}in/sub_fdts"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
    path = tmp_path / "copy.tar"
    path.write_bytes(buffer.getvalue())
    (tree,) = copy_at(path).trees
    assert (tree.name, tree.fdt, tree.subtrees) == ("kho/in", None, {})


def with_pax(text: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A tar of one tree behind an extended header."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = kind, len(text)
    return header.tobuf() + text.ljust(-(-len(text) // 512) * 512, b"\0") + tar_of(FILES)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_costly_extended_headers(kind: bytes, tmp_path: Path) -> None:
    """A header of digits, on which tarfile spends minutes, is an error at once."""
    begin = time.process_time()
    path = tmp_path / "kho.tar"
    path.write_bytes(with_pax(b"9" * 400_000, kind))
    with pytest.raises(InputError, match="extended header"):
        open_source(path)
    path.write_bytes(with_pax(b"9" * 60_000, tarfile.XHDTYPE))
    with pytest.raises(InputError, match="extended header"):
        open_source(path)
    assert time.process_time() - begin < 2.0


def test_extended_headers_of_real_archives(tmp_path: Path) -> None:
    """What tar writes for long names and exact times is read."""
    path = tmp_path / "kho.tar"
    prefix = "a" * 90 + "/" + "b" * 90 + "/kho/"
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path.write_bytes(tar_of(FILES, prefix, kind))
        source = open_source(path)
        assert isinstance(source, DebugfsCopy)
        assert source.trees
