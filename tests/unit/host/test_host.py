"""Files of a host that are missing, strange or refused."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from khotool.host.files import Host

OPTIONS = b'CONFIG_KEXEC_HANDOVER=y\n# CONFIG_DEVMEM is not set\nCONFIG_NAME="x"\n'
VALUES = {"CONFIG_KEXEC_HANDOVER": "y", "CONFIG_DEVMEM": "n", "CONFIG_NAME": '"x"'}


def host(folder: Path, files: dict[str, bytes]) -> Host:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return Host(folder)


RELEASE = {"proc/sys/kernel/osrelease": b"7.3.4\n"}


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"proc/config.gz": gzip.compress(OPTIONS)}, "/proc/config.gz"),
        ({"proc/config.gz": gzip.compress(OPTIONS)} | RELEASE, "/proc/config.gz"),
        ({"boot/config-7.3.4": OPTIONS} | RELEASE, "/boot/config-7.3.4"),
        (
            {"proc/config.gz": b"\x1f\x8b no gzip", "boot/config-7.3.4": OPTIONS} | RELEASE,
            "/boot/config-7.3.4",
        ),
        (
            {"proc/config.gz": b"", "usr/lib/modules/7.3.4/config": OPTIONS} | RELEASE,
            "/usr/lib/modules/7.3.4/config",
        ),
        (
            {"boot/config-7.3.4": b"# nothing\n", "lib/modules/7.3.4/config": OPTIONS} | RELEASE,
            "/lib/modules/7.3.4/config",
        ),
    ],
)
def test_configuration_is_the_first_that_says_something(
    tmp_path: Path, files: dict[str, bytes], name: str
) -> None:
    """The kernel's own copy comes first; one that is damaged or empty is passed over."""
    assert host(tmp_path, files).config() == (name, VALUES)


@pytest.mark.parametrize("release", [b"", b"../7.3.4", b"..", b".", b"a/b"])
def test_release_that_is_no_name_of_a_file(tmp_path: Path, release: bytes) -> None:
    """A release that would lead elsewhere, or is empty, names no configuration."""
    files = {
        "proc/sys/kernel/osrelease": release,
        "boot/config-": OPTIONS,
        "7.3.4": OPTIONS,
        "boot/config-a/b": OPTIONS,
        "boot/config-..": OPTIONS,
    }
    assert host(tmp_path, files).config() is None


def test_release_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host is asked where /proc is missing; a folder that stands for another is not."""
    monkeypatch.setattr(Host, "data", lambda *_: None)
    assert Host().release() == os.uname().release
    assert Host(tmp_path).release() is None


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    """A name that the system refuses is that of no file."""
    assert not Host(tmp_path).exists("x" * 5000)
    assert Host(tmp_path).data("x" * 5000) is None
    assert Host(tmp_path).data("a\0b") is None
    assert host(tmp_path, {"there": b"x"}).exists("there")
