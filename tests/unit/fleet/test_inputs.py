"""What a scan reads."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from khotool.errors import InputError, UsageError
from khotool.fleet.examine import digest_of, local_copy
from khotool.fleet.inputs import Label, expand
from tests.unit.fleet.conftest import KERNELS, REAL


def names(*inputs: Path | str) -> list[str]:
    return [item.name for item in expand([str(one) for one in inputs])]


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


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_of_a_tar_are_images(tmp_path: Path, mode: str) -> None:
    """Each member of a tar, compressed or not, is an image with the member's bytes."""
    path = tmp_path / ("all.tar" if mode == "w" else "all.tar.gz")
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for kernel in KERNELS:
            tar.add(REAL / f"linux-{kernel}/image.elf.xz", f"{kernel}/image.elf.xz")

    items = list(expand([str(path)]))

    assert [item.name for item in items] == [f"{path}!{k}/image.elf.xz" for k in KERNELS]
    for item, kernel in zip(items, KERNELS, strict=True):
        with local_copy(item) as copy:
            assert digest_of(copy) == digest_of(str(REAL / f"linux-{kernel}/image.elf.xz"))


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
    system.pipe("/fleet/b.elf", b"second")

    items = list(expand(["memory://fleet"]))

    assert [item.name for item in items] == ["memory:///fleet/a.elf", "memory:///fleet/b.elf"]
    assert [item.size for item in items] == [5, 6]
    with local_copy(items[1]) as copy:
        assert Path(copy).read_bytes() == b"second"


def test_a_member_that_is_gone_is_an_input_error(tmp_path: Path) -> None:
    """A tar that was replaced between listing and reading."""
    path = tmp_path / "all.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(REAL / "linux-6.18.15/image.elf.xz", "image.elf.xz")
    (item,) = expand([str(path)])
    path.unlink()

    with pytest.raises(InputError, match="cannot be read"), local_copy(item):
        pass
