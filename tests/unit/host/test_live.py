"""A running host: which of its sources are used, and what is said of those that are missing."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from khotool.absent import Absent, Reason
from khotool.check.catalogue import severity
from khotool.document.dump import dump_document
from khotool.encode.reopen import image_of
from khotool.encode.segments import page_segments
from khotool.errors import InputError, UsageError
from khotool.fdt.blob import Node, Property
from khotool.fdt.parse import parse
from khotool.fdt.write import build_sequential
from khotool.findings import Severity
from khotool.host import live
from khotool.host.files import Host, switched_on
from khotool.host.live import open_live
from khotool.host.survey import Survey, survey
from khotool.limits import OpenOptions
from khotool.memory.live import LiveSpace
from khotool.memory.overlay import OverlaySpace
from khotool.model.image import UNPLACED, Image, Phase, Role
from tests.builders import REGISTRY, build, capture
from tests.hosts import DATA, give_setup_data, make_host, write_kcore
from tests.unit.decode.test_open import booted

NEWEST = "linux-7.3.4"
DEBUGFS = "sys/kernel/debug/kho"


def states(found: Survey) -> dict[str, str]:
    """State of every check."""
    return {check.name: check.state for check in found.checks}


def text_of(found: Survey, name: str) -> str:
    """All that a check says."""
    check = next(check for check in found.checks if check.name == name)
    return f"{check.found}: {check.why}; {check.remedy}"


def content(image: Image) -> dict[str, Any]:
    """What a handover says, without where it was read."""
    document = dump_document(image)
    return {
        key: document[key] for key in ("abi", "root", "memory", "entries", "luo") if key in document
    }


def opener_of(handle: dict[str, OSError]) -> Any:
    """An opener that refuses some files."""

    def opener(path: Path, flags: int) -> int:
        assert not flags & (os.O_WRONLY | os.O_RDWR)
        for name, error in handle.items():
            if str(path).endswith(name):
                raise error
        return os.open(path, flags)

    return opener


# -- everything there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tree"),
    [
        ("linux-7.3.4", "out-before"),
        ("linux-7.1.13", "out-before"),
        ("linux-6.18.15", "out-final"),
        ("linux-6.17.8", "out-final"),
    ],
)
def test_outgoing_handover_is_whole(tmp_path: Path, name: str, tree: str) -> None:
    """Debugfs, which cuts the root short, and memory give what a whole capture gives."""
    image = open_live(survey(make_host(tmp_path, name, tree)))
    assert content(image) == content(capture(name))
    assert image.root is not None
    assert image.root.address == capture(name).tree.span.address  # type: ignore[union-attr]
    assert (image.root.role, image.root.name) == (Role.OUTGOING, "out")
    assert image.phase is (Phase.FINALIZED if "6.1" in name else Phase.LIVE)
    assert not isinstance(image.scratch, Absent)
    assert (image.info.container, image.info.osrelease) == ("live", name.removeprefix("linux-"))
    assert [f.message for f in image.findings if severity(f.rule) is not Severity.NOTE] == []


def test_little_memory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decode reads the metadata and a glance at preserved pages, not the memory of the host."""
    host = make_host(tmp_path, NEWEST, "out-before")
    asked: list[int] = []
    pread = os.pread

    def count(handle: int, length: int, offset: int) -> bytes:
        asked.append(length)
        return pread(handle, length, offset)

    monkeypatch.setattr(os, "pread", count)
    open_live(survey(host))
    captured = capture(NEWEST).space.extents()
    assert sum(asked) < 1 << 20 < int((captured[:, 1] - captured[:, 0]).sum())


def test_root_without_an_address(tmp_path: Path) -> None:
    """Where the map does not lead to the root, entries are followed into memory all the same."""
    image = open_live(survey(make_host(tmp_path, "linux-6.19.11", "out-before")))
    whole = capture("linux-6.19.11")
    assert image.tree.span is not None
    assert image.tree.span.address >= UNPLACED
    assert image.phase is Phase.LIVE
    assert content(image)["luo"]["sessions"] == content(whole)["luo"]["sessions"]


def test_many_preserved_pages_are_not_all_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for the root gives up after a number of pages, and the decode goes on."""
    monkeypatch.setattr(live, "MAX_GLANCES", 0)
    image = open_live(survey(make_host(tmp_path, NEWEST, "out-before")))
    assert image.tree.span is not None
    assert image.tree.span.address >= UNPLACED
    assert content(image)["memory"] == content(capture(NEWEST))["memory"]


def incoming_host(folder: Path) -> Host:
    """A host whose kernel was told of the handover by setup_data."""
    image = capture(NEWEST)
    assert image.tree.span is not None
    host = make_host(folder, NEWEST, "in", memory=False)
    root, scratch, node = image.tree.span.address, 0x9000, 0x8000
    ram = [(0x6000, node.to_bytes(8, "little") + b"\1\0\0\0\4\0\0\0seed")]
    data = b"".join(value.to_bytes(8, "little") for value in (root, 4096, scratch, 16))
    ram.append((node, bytes(8) + (10).to_bytes(4, "little") + (32).to_bytes(4, "little") + data))
    ram.append((scratch, (0x10000000).to_bytes(8, "little") + (16 << 20).to_bytes(8, "little")))
    pages = [(at, data.ljust(4096, b"\0")) for at, data in ram]
    write_kcore(folder / "proc/kcore", OverlaySpace(image.space, pages), "7.3.4")
    give_setup_data(folder, 0x6000)
    return host


def test_incoming_root_is_named_by_boot_data(tmp_path: Path) -> None:
    """On x86 the list of setup_data leads to the incoming root, and to the scratch areas."""
    image = open_live(survey(incoming_host(tmp_path)))
    root = image.root
    assert root is not None
    assert (root.role, root.why) == (Role.INCOMING, "named by setup_data at 0x8000")
    assert image.phase is Phase.INCOMING
    assert content(image) == content(capture(NEWEST))
    assert not isinstance(image.scratch, Absent)
    assert [(span.address, span.size) for span in image.scratch.areas] == [(0x10000000, 16 << 20)]
    assert [other.name for other in image.roots] == ["in", "out"]


def test_incoming_root_needs_no_debugfs(tmp_path: Path) -> None:
    """Boot data and memory are enough; without either there is nothing."""
    host = incoming_host(tmp_path)
    shutil.rmtree(tmp_path / "sys/kernel/debug")
    assert content(open_live(survey(host))) == content(capture(NEWEST))
    with pytest.raises(InputError, match="debugfs"):
        open_live(survey(host, memory=False))


def test_incoming_root_of_arm64(tmp_path: Path) -> None:
    """On arm64 the boot device tree names the root, for pages of 16 KiB as for any."""
    whole = capture("linux-7.3.4-arm64-16k")
    host = make_host(tmp_path, "linux-7.3.4-arm64-16k", None)
    assert whole.tree.span is not None
    chosen = Node("chosen")
    for name, address in (
        ("linux,kho-fdt", whole.tree.span.address),
        ("linux,kho-scratch", 0x7FFF0000),
    ):
        value = address.to_bytes(8, "big") + (16384).to_bytes(8, "big")
        chosen.items.append(Property(name, value))
    tree = Node("")
    tree.items.append(chosen)
    place = tmp_path / "sys/firmware/fdt"
    place.parent.mkdir(parents=True)
    place.write_bytes(build_sequential(tree))
    image = open_live(survey(host))
    assert image.root is not None
    assert image.root.why == "named by /chosen of /sys/firmware/fdt"
    assert image.geometry.page_size == 16384
    assert content(image) == content(whole)
    place.write_bytes(b"\xd0\x0d\xfe\xed" + bytes(100))
    with pytest.raises(InputError):
        open_live(survey(host))


def test_state_of_early_orchestrators(tmp_path: Path) -> None:
    """LUO v1 to v3 said their state in sysfs; where it is, it is read."""
    host = make_host(tmp_path, NEWEST, "out-before")
    assert survey(host).state is None
    (tmp_path / "sys/kernel/liveupdate").mkdir()
    (tmp_path / "sys/kernel/liveupdate/state").write_text("prepared\n")
    found = survey(host)
    assert (found.state, states(found)["liveupdate"]) == ("prepared", "ok")


def test_boot_data_of_a_place_without_a_tree(tmp_path: Path) -> None:
    """Boot data that names a page without a root, and no debugfs, is all that there is to say."""
    host = incoming_host(tmp_path)
    shutil.rmtree(tmp_path / "sys/kernel/debug")
    root = capture(NEWEST).tree.span
    assert root is not None
    with (tmp_path / "proc/kcore").open("r+b") as file:
        file.seek(DATA + root.address)
        file.write(bytes(4096))
    with pytest.raises(InputError, match="names a KHO root, but no device tree"):
        open_live(survey(host))


@pytest.mark.parametrize("payload", [0, 31])
def test_boot_data_of_another_kind(tmp_path: Path, payload: int) -> None:
    """Nodes of setup_data that are too short for a handover, or of another kind, are passed."""
    host = incoming_host(tmp_path)
    with (tmp_path / "proc/kcore").open("r+b") as file:
        file.seek(DATA + 0x8000 + 12)
        file.write(payload.to_bytes(4, "little"))
    image = open_live(survey(host))
    assert image.root is not None
    assert (image.root.name, image.root.why) == ("in", "in of debugfs")


BOOTED: dict[str, Any] = {"abi": "7.2", "session": [{"name": "vm"}]}
NEXT: dict[str, Any] = {"abi": "7.2", "memory": [{"start": 1 << 32, "size": 1 << 30}]}


@pytest.mark.parametrize(("asked", "sessions"), [("out", 0), ("in", 1)])
def test_scan_finds_the_root_of_a_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, sessions: int
) -> None:
    """Of two roots in memory, that of the tree that was asked for, not the one that is usual."""
    monkeypatch.setattr(live, "MAX_GLANCES", 0)
    # A kernel that was handed sessions hands over by itself none, or, the other way round, some.
    first, second = build(BOOTED), build(NEXT | ({"session": BOOTED["session"] * sessions}))
    pages = [(address, bytes(data)) for address, data in page_segments(second.segments, 4096)]
    memory = booted(image_of(first, REGISTRY), pages)
    usual, wanted = (first, second) if asked == "out" else (second, first)
    assert memory.root is not None
    assert memory.root.address == usual.root
    host = make_host(tmp_path, NEWEST, None, memory=False)
    write_kcore(tmp_path / "proc/kcore", memory.space, "7.2.0")
    folder = tmp_path / DEBUGFS / asked
    folder.mkdir(parents=True)
    data = memory.space.read(wanted.root, 4096)
    (folder / "fdt").write_bytes(data[: int.from_bytes(data[4:8], "big")])
    image = open_live(survey(host), scan=True)
    assert image.root is not None
    assert (image.root.address, image.root.name) == (wanted.root, asked)
    assert image.root.role is (Role.OUTGOING if asked == "out" else Role.INCOMING)
    assert image.root.why.startswith("found in memory; ")


@pytest.mark.parametrize("target", [0x8000, 0x6000, 0x123, 1 << 62])
def test_boot_data_may_say_anything(tmp_path: Path, target: int) -> None:
    """A list of setup_data that goes in circles or nowhere leaves what debugfs shows."""
    host = make_host(tmp_path, NEWEST, "in", memory=False)
    node = target.to_bytes(8, "little") + (10).to_bytes(4, "little") + (32).to_bytes(4, "little")
    page = (node + bytes([0x77]) * 32).ljust(4096, b"\0")
    space = OverlaySpace(capture(NEWEST).space, [(0x6000, page), (0x8000, page)])
    write_kcore(tmp_path / "proc/kcore", space, "7.3.4")
    give_setup_data(tmp_path, 0x6000)
    image = open_live(survey(host))
    assert image.phase is Phase.CONSUMED
    assert image.root is not None
    assert image.root.name == "in"


def test_either_root_can_be_chosen(tmp_path: Path) -> None:
    """``in`` and ``out`` name trees, a number is an address; others are refused with the choice."""
    found = survey(incoming_host(tmp_path))
    address = capture(NEWEST).tree.span.address  # type: ignore[union-attr]
    out = open_live(found, OpenOptions(root="out"))
    assert out.root is not None
    assert out.root.role is Role.OUTGOING
    assert isinstance(out.map, Absent)
    placed = open_live(found, OpenOptions(root=address))
    assert content(placed) == content(capture(NEWEST))
    with pytest.raises(UsageError, match="in and out"):
        open_live(found, OpenOptions(root="old"))
    with pytest.raises(UsageError, match="no device tree"):
        open_live(found, OpenOptions(root=0x8000))


def test_scan_finds_what_nothing_names(tmp_path: Path) -> None:
    """Without debugfs and boot data, all memory is looked through, and only on demand."""
    found = survey(make_host(tmp_path, NEWEST, None))
    with pytest.raises(InputError, match="debugfs: not mounted"):
        open_live(found)
    image = open_live(found, scan=True)
    assert content(image) == content(capture(NEWEST))
    assert image.phase is Phase.LIVE


# -- part of it there ------------------------------------------------------------------------


def test_debugfs_without_memory(tmp_path: Path) -> None:
    """Trees and entries are shown; what is behind their pointers is absent, and why is said."""
    found = survey(make_host(tmp_path, NEWEST, "out-before", memory=False))
    assert states(found)["trees"] == "ok"
    assert states(found)["kcore"] == "missing"
    assert "CONFIG_PROC_KCORE=y" in text_of(found, "kcore")
    image = open_live(found)
    assert (image.info.container, image.info.osrelease) == ("debugfs", "7.3.4")
    assert isinstance(image.map, Absent)
    assert image.map.reason is Reason.NOT_CAPTURED
    names = {entry.name for entry in image.entries}
    assert names == {"LUO", "kexec-metadata", "kho_test", "memblock"}


@pytest.mark.parametrize(
    ("code", "lockdown", "capabilities", "expected"),
    [
        (errno.EPERM, "confidentiality", "ffff", "boot without lockdown=confidentiality"),
        (errno.EPERM, "none", "0000000000000000", "sudo khotool live"),
        (errno.EPERM, "none", "000001ffffffffff", "user namespace"),
        (errno.EACCES, "none", "000001ffffffffff", "sudo khotool live"),
        (errno.EIO, "none", "000001ffffffffff", "dmesg"),
    ],
)
def test_kernel_that_refuses_memory(
    tmp_path: Path, code: int, lockdown: str, capabilities: str, expected: str
) -> None:
    """A refusal is explained by what the host shows of its reasons."""
    host = make_host(tmp_path, NEWEST, "out-before")
    levels = "none integrity confidentiality".replace(lockdown, f"[{lockdown}]")
    (tmp_path / "sys/kernel/security/lockdown").write_text(levels)
    (tmp_path / "proc/self/status").write_text(f"CapEff:\t{capabilities}\n")
    host.opener = opener_of({"kcore": OSError(code, os.strerror(code))})
    found = survey(host)
    assert found.space is None
    assert os.strerror(code) in text_of(found, "kcore")
    assert expected in text_of(found, "kcore")
    assert open_live(found).info.container == "debugfs"


def outgoing_host(folder: Path, root: bytes) -> Host:
    """A host with an outgoing root in debugfs, and other bytes where memory has it."""
    host = make_host(folder, NEWEST, "out-before", memory=False)
    place = capture(NEWEST).tree.span
    assert place is not None
    space = OverlaySpace(capture(NEWEST).space, [(place.address, root)])
    write_kcore(folder / "proc/kcore", space, "7.3.4")
    return host


def root_bytes() -> bytes:
    """The root of the newest capture."""
    span = capture(NEWEST).tree.span
    assert span is not None
    return bytes(capture(NEWEST).space.read(span.address, span.size))


@pytest.mark.parametrize(
    "root",
    [bytes(4096), root_bytes().replace(b"kho-v4\0", b"kho-v9\0"), root_bytes()[:40] + bytes(4056)],
    ids=["no tree", "another root", "a header alone"],
)
def test_memory_without_the_root_of_debugfs(tmp_path: Path, root: bytes) -> None:
    """A page of the map that is no root, or another, is not taken for the one that is shown."""
    image = open_live(survey(outgoing_host(tmp_path, root)))
    assert image.tree.span is not None
    assert image.tree.span.address >= UNPLACED
    assert image.root is not None
    assert (image.root.role, image.root.address) == (Role.OUTGOING, None)
    assert content(image)["memory"] == content(capture(NEWEST))["memory"]


def test_scan_that_finds_no_root(tmp_path: Path) -> None:
    """Where memory has no root at all, a scan of it leaves what debugfs shows."""
    found = survey(outgoing_host(tmp_path, bytes(4096)))
    image = open_live(found, scan=True)
    assert image.root is not None
    assert (image.root.name, image.root.address) == ("out", None)
    assert content(image) == content(open_live(found))


def test_roots_are_the_same_by_what_they_say() -> None:
    """A root that debugfs cut is that of memory if all that is left of it agrees."""
    whole = parse(root_bytes())
    short = replace(whole, root=Node("", items=[*whole.root.properties]))  # type: ignore[union-attr]
    other = parse(root_bytes().replace(b"kho-v4\0", b"kho-v9\0"))
    one = replace(whole, root=Node("", items=[Property("compatible", b"kho-v4\0")]))
    assert live.is_same_root(whole, whole)
    assert live.is_same_root(short, whole)
    for shown, found in (
        (whole, other),
        (whole, one),
        (whole, replace(whole, root=None)),
        (replace(whole, root=None), whole),
        (one, whole),
    ):
        assert not live.is_same_root(shown, found)


def test_image_without_its_root_is_not_placed() -> None:
    """Without a map, or a root that was read, no page of memory is looked at."""
    image = capture(NEWEST)
    space = cast(LiveSpace, OverlaySpace(None, []))
    gone = replace(image, map=Absent(Reason.NOT_CAPTURED, "gone"))
    assert live.place_root(gone, space) is None
    assert live.place_root(replace(image, regions=[]), space) is None


def test_devmem_where_kcore_is_missing(tmp_path: Path) -> None:
    """/dev/mem stands in: the same handover, at the addresses that /proc/iomem gives."""
    host = make_host(tmp_path, NEWEST, "out-before", memory=False)
    (tmp_path / "dev").mkdir()
    lines = []
    with (tmp_path / "dev/mem").open("wb") as file:
        for low, high in capture(NEWEST).space.extents().tolist():
            lines.append(f"{low:08x}-{high - 1:08x} : System RAM\n")
            file.seek(low)
            file.write(capture(NEWEST).space.read(low, high - low))
    (tmp_path / "proc/iomem").write_text("".join(lines))
    found = survey(host)
    assert states(found)["devmem"] == "ok"
    assert content(open_live(found)) == content(capture(NEWEST))
    host.opener = opener_of({"mem": PermissionError(errno.EPERM, "Operation not permitted")})
    assert "CONFIG_STRICT_DEVMEM" in text_of(survey(host), "devmem")
    (tmp_path / "proc/iomem").write_text("00000000-00000000 : System RAM\n")
    assert "System RAM" in text_of(survey(Host(tmp_path)), "devmem")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7fELF",
        b"\x7fELF\x01" + bytes(60),
        b"\x7fELF\x02\x01" + b"\xff" * 100,
        bytes(8192),
    ],
)
def test_kcore_with_absurd_headers(tmp_path: Path, data: bytes) -> None:
    """A /proc/kcore that is none is one line; debugfs is still shown."""
    host = make_host(tmp_path, NEWEST, "out-before", memory=False)
    (tmp_path / "proc/kcore").write_bytes(data)
    found = survey(host)
    assert states(found)["kcore"] == "missing"
    assert open_live(found).info.container == "debugfs"


# -- nothing there ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"boot/config-7.3.4": "# CONFIG_KEXEC_HANDOVER is not set\n"}, "KHO in the kernel"),
        ({"proc/cmdline": "quiet kho=on kho=off"}, "KHO switched on: kho=off"),
        ({"proc/cmdline": "quiet -- kho=on"}, "add kho=on"),
        ({"proc/self/status": "CapEff:\t0000000000000000\n"}, "privileges: without CAP_"),
        ({}, "debugfs: not mounted; mount -t debugfs"),
        ({"proc/self/mounts": "x /sys/kernel/debug debugfs rw 0 0\n"}, "KHO in debugfs"),
    ],
)
def test_first_thing_that_is_missing(tmp_path: Path, change: dict[str, str], expected: str) -> None:
    """With nothing to decode, the error names the first thing to change, and the list of all."""
    host = make_host(tmp_path, NEWEST, None, memory=False)
    (tmp_path / "sys/kernel/debug").mkdir()
    for name, text in change.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        open_live(survey(host))
    assert expected in str(error.value)
    assert str(error.value).endswith("'khotool live --why' lists everything that is needed")


def test_empty_host(tmp_path: Path) -> None:
    """A folder without any file of a host is surveyed like any other."""
    found = survey(Host(tmp_path))
    assert found.release is None
    assert set(states(found).values()) == {"missing", "unknown", "unused"}
    with pytest.raises(InputError):
        open_live(found)


def test_handover_that_is_not_finalized(tmp_path: Path) -> None:
    """Up to 6.18 there is no root before user space finalizes; the error says how."""
    found = survey(make_host(tmp_path, "linux-6.17.8", "out-before"))
    with pytest.raises(InputError, match=r"echo 1 > .*/out/finalize"):
        open_live(found)


def test_default_of_the_configuration(tmp_path: Path) -> None:
    """A kernel that has KHO on by default needs no word on the command line."""
    host = make_host(tmp_path, NEWEST, None)
    (tmp_path / "proc/cmdline").write_text("quiet\n")
    assert states(survey(host))["kho"] == "missing"
    config = tmp_path / "boot/config-7.3.4"
    config.write_text(config.read_text() + "CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y\n")
    assert states(survey(host))["kho"] == "ok"


def test_debugfs_in_another_place(tmp_path: Path) -> None:
    """The table of mounts says where debugfs is; a folder that is named comes before it."""
    host = make_host(tmp_path, NEWEST, "out-before")
    (tmp_path / "sys/kernel/debug").rename(tmp_path / "debug folder")
    (tmp_path / "proc/self/mounts").write_text("x /debug\\040folder debugfs rw 0 0\n")
    assert states(survey(host))["trees"] == "ok"
    (tmp_path / "proc/self/mounts").write_text("")
    assert states(survey(host))["trees"] == "missing"
    named = survey(host, str(tmp_path / "debug folder/kho"))
    assert states(named)["trees"] == "ok"
    assert "debugfs" not in states(named)


def test_session_device_is_left_alone(tmp_path: Path) -> None:
    """/dev/liveupdate is seen and not opened: one process at a time may have it."""
    host = make_host(tmp_path, NEWEST, "out-before")
    (tmp_path / "dev").mkdir()
    os.mkfifo(tmp_path / "dev/liveupdate")
    found = survey(host)
    assert states(found)["liveupdate"] == "ok"
    assert open_live(found).entries


def test_address_without_memory(tmp_path: Path) -> None:
    """A root by its address needs memory; why it is not there is said."""
    host = make_host(tmp_path, NEWEST, "out-before", memory=False)
    asked = OpenOptions(root=0x1000)
    with pytest.raises(InputError, match=r"^/proc/kcore: No such file"):
        open_live(survey(host), asked)
    with pytest.raises(InputError, match=r"^this needs the memory of the host, which"):
        open_live(survey(host, memory=False), asked)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"in/scratch_phys": "0x1000\n"}, "has neither fdt nor sub_fdts"),
        ({"out/finalize": "0\n"}, "has no fdt yet"),
        ({"notes": "x"}, "cannot be read or is empty"),
    ],
)
def test_debugfs_without_a_root(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    """What a folder of debugfs lacks is said: a kernel option, a command, or the right to look."""
    for name, text in files.items():
        (tmp_path / "kho" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "kho" / name).write_text(text)
    assert expected in text_of(survey(Host(tmp_path), str(tmp_path / "kho")), "trees")


def test_debugfs_that_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that this user may not look at is told from one that is not there."""
    folder = str(tmp_path / "kho")
    assert f"no {folder}: " in text_of(survey(Host(tmp_path), folder), "trees")
    stat = os.stat

    def closed(path: Any, *args: Any, **more: Any) -> os.stat_result:
        if path == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return stat(path, *args, **more)

    monkeypatch.setattr(os, "stat", closed)
    text = text_of(survey(Host(tmp_path), folder), "trees")
    assert f"{folder} cannot be read by this user" in text
    assert "sudo khotool live" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["kho=on"], True),
        (["kho=1"], True),
        (["kho=Y"], True),
        (["kho=off"], False),
        (["kho=0"], False),
        (["kho=on", "kho=n"], False),
        (["kho"], None),
        (["kho=maybe"], None),
        (['kho="on"'], True),
        (["mykho=on", "kho_scratch=16M"], None),
    ],
)
def test_switches_as_the_kernel_reads_them(words: list[str], expected: bool | None) -> None:
    """The words that the kernel takes for on and off, the last one counting."""
    assert switched_on(words, "kho") is expected
