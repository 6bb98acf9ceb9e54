"""Copies of debugfs, and device trees in files of their own: what is there, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.absent import Absent, Reason
from khotool.decode.open import open_image
from khotool.errors import InputError, UsageError
from khotool.fdt.blob import Node, Property
from khotool.fdt.write import build_sequential
from khotool.limits import OpenOptions
from khotool.model.image import UNPLACED, Image, Phase, Role, Scratch, Span
from khotool.model.lookup import find_node
from tests.builders import overlaid
from tests.unit.decode.fixture_images import changed, good, told

FIRST = "6.18-regions-and-test"


def bytes_of(image: Image, path: str) -> bytes:
    """The device tree of the root, or the blob of an entry."""
    node = find_node(image, path)
    span = node.target or node.span
    assert span is not None
    return bytes(image.space.read(span.address, span.size))


def copy(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def outgoing(image: Image) -> dict[str, bytes]:
    """Files of ``out`` as the kernel shows them, the root whole."""
    entries = {f"out/sub_fdts/{e.name}": bytes_of(image, e.path) for e in image.entries if e.target}
    return {"out/fdt": bytes_of(image, "/"), **entries}


# -- debugfs ---------------------------------------------------------------------------------


def test_whole_copy(tmp_path: Path) -> None:
    """Root and entries stand at the addresses that the root says; the map is not part of it."""
    first = good(FIRST)
    image = open_image(copy(tmp_path, outgoing(first)))
    assert image.phase is Phase.LIVE
    assert isinstance(image.map, Absent)
    region = find_node(image, "/memblock").target
    assert region == find_node(first, "/memblock").target
    assert image.tree.span is not None
    assert image.tree.span.address == UNPLACED
    assert find_node(image, "/kho_test/csum").value == find_node(first, "/kho_test/csum").value
    assert told(image) == []


def test_finalized_copy(tmp_path: Path) -> None:
    """Of a handover that user space finalizes, the file says whether it is."""
    for text, phase in ((b"1\n", Phase.FINALIZED), (b"0\n", Phase.LIVE)):
        image = open_image(copy(tmp_path, outgoing(good(FIRST)) | {"out/finalize": text}))
        assert image.phase is phase


def test_tree_by_name(tmp_path: Path) -> None:
    """--root names a tree of the copy; another name is an error that says which there are."""
    first = good(FIRST)
    files = outgoing(first) | {"in/fdt": bytes_of(first, "/")}
    folder = copy(tmp_path, files)
    image = open_image(folder, OpenOptions(root="in"))
    assert image.root is not None
    assert (image.root.role, image.phase) == (Role.INCOMING, Phase.CONSUMED)
    assert {root.role for root in image.roots} == {Role.INCOMING, Role.OUTGOING}
    with pytest.raises(UsageError, match="--root up: no such tree; this copy has"):
        open_image(folder, OpenOptions(root="up"))


def test_copy_without_anything(tmp_path: Path) -> None:
    """A tree with nothing but scratch areas has no root, and the error says what to copy."""
    folder = copy(tmp_path, {"out/scratch_phys": b"0x1000\n", "out/scratch_len": b"0x1000\n"})
    with pytest.raises(InputError, match="a debugfs copy without fdt and sub_fdts; copy all of"):
        open_image(folder)


def test_entries_alone(tmp_path: Path) -> None:
    """Without a root, entries are read one by one, at places of their own."""
    files = {name: data for name, data in outgoing(good(FIRST)).items() if "sub_fdts" in name}
    image = open_image(copy(tmp_path, files))
    assert image.root is not None
    assert image.root.why.endswith("(no root, entries only)")
    assert find_node(image, "/kho_test/magic").value == 0x4B484F21
    notes = {entry.note for entry in image.entries}
    assert notes == {"not in the part of the root that is here"}
    places = [entry.target.address for entry in image.entries if entry.target]
    assert len(set(places)) == len(places) == len(files)


def test_places_that_two_entries_claim(tmp_path: Path) -> None:
    """Of entries that the root puts at one place, or at none, each gets a place of its own."""
    first = good(FIRST)
    node = find_node(first, "/memblock/address")
    other = find_node(first, "/kho_test").target
    assert other is not None
    for address in (other.address, other.address + 1):
        image = changed(first, (node.path, address))
        files = outgoing(first) | {"out/fdt": bytes_of(image, "/")}
        opened = open_image(copy(tmp_path, files))
        assert find_node(opened, "/kho_test/magic").value == 0x4B484F21
        assert opened.entry("memblock") is not None


def test_root_cut_by_the_kernel(tmp_path: Path) -> None:
    """The file of a root is as long as it was before entries were added."""
    files = outgoing(good(FIRST))
    files["out/fdt"] = files["out/fdt"][:-40]
    image = open_image(copy(tmp_path, files))
    assert image.root is not None
    assert image.root.why.endswith("(cut short by the kernel)")
    ((rule, path, message),) = told(image, "FDT105")
    assert (rule, path) == ("FDT105", "/")
    assert message.startswith(f"out/fdt has {len(files['out/fdt'])} of")
    assert find_node(image, "/kho_test/magic").value == 0x4B484F21


def test_scratch_of_the_other_tree(tmp_path: Path) -> None:
    """Scratch areas are those of any tree of the copy."""
    scratch = {"out/scratch_phys": b"0x4000000\n", "out/scratch_len": b"0x1000000\n"}
    files = scratch | {"in/fdt": bytes_of(good(FIRST), "/")}
    image = open_image(copy(tmp_path, files))
    assert isinstance(image.scratch, Scratch)
    assert image.scratch.areas == [Span(0x400_0000, 0x100_0000)]
    assert image.scratch.why == "out/scratch_phys and scratch_len"


def test_root_of_an_unknown_version(tmp_path: Path) -> None:
    """A root without a definition is kept as it stands, and so are its entries."""
    files = outgoing(good(FIRST))
    files["out/fdt"] = files["out/fdt"].replace(b"kho-v1\0", b"kho-v8\0")
    image = open_image(copy(tmp_path, files))
    assert "ABI901" in {finding.rule for finding in image.findings}
    assert find_node(image, "/kho_test/magic").value == 0x4B484F21


# -- one tree in a file ----------------------------------------------------------------------


def test_root_in_a_file(tmp_path: Path) -> None:
    """A KHO root alone: its entries' blobs and its map are not there."""
    path = tmp_path / "fdt"
    path.write_bytes(bytes_of(good(FIRST), "/"))
    image = open_image(path)
    assert image.root is not None
    assert (image.root.why, image.root.compatible) == ("the file is this device tree", "kho-v1")
    assert isinstance(image.map, Absent)
    assert image.map.reason is Reason.NOT_CAPTURED
    assert told(image, "MEM301") == []


def test_entry_in_a_file(tmp_path: Path) -> None:
    """The blob of an entry alone has the entry's name; it has no root."""
    path = tmp_path / "memblock"
    path.write_bytes(bytes_of(good(FIRST), "/memblock"))
    image = open_image(path)
    assert image.roots == []
    assert [entry.name for entry in image.entries] == ["memblock"]
    region = find_node(image, "/memblock/regions").elements()[0]
    assert region.value_of("size") == find_node(good(FIRST), region.path).value_of("size")


@pytest.mark.parametrize("compatible", [b"arm,foundation\0", None])
def test_other_tree_in_a_file(tmp_path: Path, compatible: bytes | None) -> None:
    """Any other device tree is refused, with its own compatible string."""
    tree = Node("")
    if compatible is not None:
        tree.items.append(Property("compatible", compatible))
    path = tmp_path / "dtb"
    path.write_bytes(build_sequential(tree))
    text = repr(compatible.decode().rstrip("\0")) if compatible else "None"
    with pytest.raises(InputError, match=rf"neither a KHO root nor .* \(compatible is {text}\)"):
        open_image(path)


def test_noise_in_a_file(tmp_path: Path) -> None:
    """A magic and nothing else is a device tree of nothing."""
    path = tmp_path / "dtb"
    path.write_bytes(b"\xd0\x0d\xfe\xed" + b"\xff" * 60)
    with pytest.raises(InputError, match="neither a KHO root nor the blob of a known entry"):
        open_image(path)


# -- --debugfs beside memory -----------------------------------------------------------------


def test_scratch_as_debugfs_says(tmp_path: Path) -> None:
    """--debugfs gives the scratch areas of memory, and has to be a copy of debugfs."""
    first = good(FIRST)
    scratch = {"out/scratch_phys": b"0x4000000\n", "out/scratch_len": b"0x1000000\n"}
    folder = copy(tmp_path / "kho", scratch | {"in/fdt": b"x"})
    image = overlaid(first, [], OpenOptions(debugfs=str(folder)))
    assert isinstance(image.scratch, Scratch)
    assert image.scratch.areas == [Span(0x400_0000, 0x100_0000)]
    assert image.scratch.why == "out of the debugfs copy"
    other = tmp_path / "dtb"
    other.write_bytes(bytes_of(first, "/"))
    with pytest.raises(UsageError, match="dtb: not a copy of /sys/kernel/debug/kho"):
        overlaid(first, [], OpenOptions(debugfs=str(other)))
    without = copy(tmp_path / "none", {"in/fdt": b"x"})
    image = overlaid(first, [], OpenOptions(debugfs=str(without)))
    assert isinstance(image.scratch, Scratch)
    assert "debugfs" not in image.scratch.why
