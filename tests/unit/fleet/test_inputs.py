"""What a scan reads."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from khotool.errors import InputError, UsageError
from khotool.fleet import tars
from khotool.fleet.backlog import Backlog
from khotool.fleet.examine import digest_of
from khotool.fleet.inputs import Item, Label, expand
from khotool.fleet.spool import local_copy, unpacked
from khotool.fleet.tars import Tar, Tars
from tests.unit.fleet.conftest import KERNELS, REAL


def listed(*inputs: Path | str) -> list[Item]:
    backlog = Backlog()
    backlog.add(expand([str(one) for one in inputs]))
    assert len(backlog) == len(list(backlog))
    return sorted((item for item, _ in backlog), key=lambda item: item.name)


def names(*inputs: Path | str) -> list[str]:
    return [item.name for item in listed(*inputs)]


def content(item: Item, opened: Tars) -> tuple[str, int]:
    """Digest and bytes of an image, as a worker gets it."""
    with unpacked(item, opened) as here, local_copy(here) as path:
        assert here.error == ""
        return digest_of(path)


def test_a_folder_gives_its_files(images: Path) -> None:
    """Every regular file below a folder, sorted; hidden ones are left out."""
    (images / ".hidden").write_bytes(b"x")

    assert names(images) == [
        str(images / "garbage.bin"),
        *(str(images / f"host-{n}/image.elf.xz") for n in range(len(KERNELS))),
    ]


def test_an_image_is_scanned_once(images: Path) -> None:
    """An image that two inputs name is one item; patterns match below folders."""
    one = images / "host-0/image.elf.xz"

    assert names(one, images / "**/*.xz", one) == names(images)[1:]


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A missing file and a pattern without a match are errors that name them."""
    with pytest.raises(InputError, match=r"nothing\.elf: no such file"):
        names(tmp_path / "nothing.elf")
    with pytest.raises(InputError, match="no file matches"):
        names(tmp_path / "*.elf")


def make_tar(path: Path, kernels: Iterable[str] = KERNELS) -> Path:
    mode = "w" if path.suffix == ".tar" else f"w:{path.suffix[1:]}"
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for kernel in kernels:
            tar.add(REAL / f"linux-{kernel}/image.elf.xz", f"{kernel}/image.elf.xz")
    return path


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_members_of_a_tar_are_images(tmp_path: Path, suffix: str) -> None:
    """Each member of a tar, compressed or not, is an image with the member's bytes."""
    path = make_tar(tmp_path / f"all.{suffix}")

    items = listed(path)

    assert [item.name for item in items] == [f"{path}!{k}/image.elf.xz" for k in KERNELS]
    opened = Tars()
    for item, kernel in zip(items, KERNELS, strict=True):
        assert content(item, opened) == digest_of(str(REAL / f"linux-{kernel}/image.elf.xz"))
    opened.close()


def test_a_compressed_tar_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members in the order of the tar take one pass over it; one that comes late, another."""
    path = make_tar(tmp_path / "all.tar.gz", KERNELS * 4)
    with tarfile.open(path) as tar:
        order = [Item(str(n), str(path), 0, None, None, m.name, n) for n, m in enumerate(tar)]
    opened: list[str] = []
    real = Tar.open

    def counted(path: str) -> Tar:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(Tar, "open", counted)
    readers = Tars()

    for item in order:
        content(item, readers)
    assert len(opened) == 1
    content(order[2], readers)
    assert len(opened) == 2
    readers.close()


def test_a_tar_that_is_cut_off_has_its_error(tmp_path: Path) -> None:
    """What comes in front of the damage is scanned, and the tar has a row that says the rest."""
    for suffix in ("tar", "tar.gz"):
        path = make_tar(tmp_path / f"all.{suffix}")
        size = path.stat().st_size
        path.write_bytes(path.read_bytes()[: size - 12000])

        *images, last = sorted(expand([str(path)]), key=lambda item: item.error)

        assert len(images) in (2, 3)
        assert last.name == str(path)
        assert last.error


def test_tars_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bombs are errors: what unpacks to too much, too large a member or header, too many."""
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for name, size in (("first", 10), ("large", 3 << 20), ("last", 10)):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(bytes(size)))
        info.pax_headers = {"comment": "x" * (2 << 20)}
        tar.addfile(info, io.BytesIO(bytes(size)))

    def errors() -> dict[str, str]:
        return {item.member or "tar": item.error for item in expand([str(path)])}

    assert "a header has 2097" in errors()["tar"]
    monkeypatch.setattr(tars, "MAX_MEMBER_BYTES", 1 << 20)
    assert "unpack the tar" in errors()["large"]
    assert errors()["last"] == ""
    monkeypatch.setattr(tars, "MAX_MEMBERS", 2)
    assert "more than 2 members" in errors()["tar"]
    monkeypatch.setattr(tars, "DEFAULT_LIMIT", 2 << 20)
    monkeypatch.setattr(tars, "MAX_MEMBERS", 20)
    assert "unpacks to more than" in errors()["tar"]


def test_links_in_a_tar_are_rows(tmp_path: Path) -> None:
    """A link has no bytes of its own; it is not left out without a word."""
    path = make_tar(tmp_path / "all.tar")
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.LNKTYPE, f"{KERNELS[0]}/image.elf.xz"
        tar.addfile(info)

    assert [item.error[:9] for item in listed(path)] == ["", "", "", "is a seco"]


def test_a_copy_of_debugfs_is_one_image(tmp_path: Path) -> None:
    """Neither a folder nor a tar with the names of debugfs is taken for many images."""
    copy = tmp_path / "kho"
    (copy / "out/sub_fdts").mkdir(parents=True)
    (copy / "out/fdt").write_bytes(b"x")
    (copy / "out/sub_fdts/LUO").write_bytes(b"y")
    path = tmp_path / "kho.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(copy, "kho")

    assert names(tmp_path) == [str(copy), str(path)]
    assert digest_of(str(copy))[1] == 2


def test_a_broken_tar_is_one_unreadable_image(tmp_path: Path) -> None:
    """A file that is only named like a tar keeps its row."""
    path = tmp_path / "not.tar"
    path.write_bytes(b"no tar at all")

    assert names(path) == [str(path)]


def test_labels_come_from_the_name(images: Path) -> None:
    """The first group of the expression is the label; without a match there is none."""
    found = {
        Path(item.name).name: item.labels
        for item in expand([str(images)], [Label.parse("n=-(.)/")])
    }

    assert found == {"garbage.bin": {}, "image.elf.xz": {"n": "2"}}


@pytest.mark.parametrize("text", ["host", "1st=x", "host=("])
def test_a_wrong_label_is_refused(text: str) -> None:
    """A label without a name, without an expression, or with a wrong one."""
    with pytest.raises(UsageError, match="--label"):
        Label.parse(text)


def test_a_url_is_read_through_fsspec() -> None:
    """Files of any file system that fsspec knows are listed and copied."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.pipe("/fleet/a.elf", b"first")
    system.pipe("/fleet/deep/b.elf", b"second")

    for url in ("memory://fleet", "memory://fleet/**/*.elf"):
        items = listed(url)
        assert [item.name for item in items] == [
            "memory:///fleet/a.elf",
            "memory:///fleet/deep/b.elf",
        ]
        assert [item.size for item in items] == [5, 6]
        with local_copy(items[1]) as copy:
            assert Path(copy).read_bytes() == b"second"


def test_a_tar_behind_a_url_has_images(tmp_path: Path) -> None:
    """Tars are read front to back, wherever they are."""
    fsspec = pytest.importorskip("fsspec")
    path = make_tar(tmp_path / "all.tar")
    fsspec.filesystem("memory").pipe("/tars/all.tar", path.read_bytes())

    items = listed("memory://tars/all.tar")

    opened = Tars()
    assert [item.name for item in items] == [
        f"memory:///tars/all.tar!{kernel}/image.elf.xz" for kernel in KERNELS
    ]
    assert content(items[2], opened) == digest_of(str(REAL / f"linux-{KERNELS[2]}/image.elf.xz"))
    opened.close()


def test_a_file_url_is_a_file(images: Path) -> None:
    """A folder of this machine as a URL."""
    items = listed(f"file://{images}")

    assert [item.name.removeprefix("file://") for item in items] == names(images)
    with local_copy(items[0]) as copy:
        assert Path(copy).read_bytes() == (images / "garbage.bin").read_bytes()


def test_a_member_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """A tar that was removed or replaced between listing and reading."""
    path = make_tar(tmp_path / "all.tar.gz", KERNELS[:1])
    (item,) = listed(path)
    make_tar(path, KERNELS[1:])
    opened = Tars()
    with unpacked(item, opened) as here:
        assert here.error == "the tar has changed since it was listed"
    opened.close()
    path.unlink()
    with unpacked(item, opened) as here:
        assert "No such file" in here.error
