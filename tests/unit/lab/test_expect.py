"""What a kernel is asked for, and what should come back."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from khotool.errors import InputError
from khotool.lab import bridge
from khotool.lab.boot import refuse_other_machine, require
from khotool.lab.expect import Reference, wanted_of
from khotool.lab.kernelfile import KernelFile, recognise
from khotool.lab.outcome import KernelTest
from khotool.model.image import Image
from tests.contract.repository import ROOT
from tests.unit.lab.test_kernelfile import bzimage, image

BODY = b"\x7fELF disabling KHO revival serial8250 test_kho LUO "
PLAIN: dict[str, Any] = {
    "abi": "7.3",
    "reserve_mem": [{"name": "trace", "size": "1M"}, {"name": "a b", "size": "64K"}],
    "kho_test": {"orders": [0], "csum": 7},
    "session": [
        {
            "name": "vm",
            "file": [
                {"token": 1, "size": 8192, "contents": {"random": 1}},
                {"token": 2, "size": 4096},
            ],
        }
    ],
}


def kernel(body: bytes = BODY) -> KernelFile:
    found = recognise("bzImage", bzimage(gzip.compress(body)))
    assert found is not None
    return found


def made(**changes: Any) -> Image:
    return bridge.decode(bridge.build(PLAIN | changes))


def test_regions_are_asked_for_where_a_command_line_can() -> None:
    wanted = wanted_of(made(), Reference(made()), kernel())

    assert list(wanted.region_words(4096)) == ["reserve_mem=1048576:4096:trace"]
    assert wanted.expected.regions == ["trace"]


def test_an_entry_that_damage_hides_is_asked_for() -> None:
    """A kernel may find it all the same, and one that does not has lost it."""
    hidden = bridge.decode(bridge.build({k: v for k, v in PLAIN.items() if k != "kho_test"}))

    assert wanted_of(hidden, Reference(hidden), kernel()).expected.test is KernelTest.NOT_ASKED
    assert wanted_of(hidden, Reference(made()), kernel()).expected.test is not KernelTest.NOT_ASKED


def test_contents_that_are_captured_are_compared_and_others_made_up() -> None:
    image = made()
    wanted = wanted_of(image, Reference(image), kernel())

    assert wanted.expected.files[0, 0] is not None
    assert wanted.expected.files[0, 1] is None
    assert wanted.expected.filled[0, 1] is not None
    assert [len(data) for _, data in wanted.filler] == [4096]
    ((address, _),) = wanted.filler
    assert not any(start <= address < end for start, end in bridge.memory_of(image).captured)


def test_the_kernels_test_counts_where_its_sum_can_be_right() -> None:
    known, empty = made(), made(kho_test={"orders": [0]})

    assert wanted_of(known, Reference(known), kernel()).expected.test is KernelTest.UNKNOWN
    assert wanted_of(empty, Reference(empty), kernel()).expected.test is KernelTest.PASSED


def test_what_the_kernel_has_no_word_for_is_unasked() -> None:
    image = made(flb=[{"name": "someone-else-v1", "data": 1}])

    assert wanted_of(image, Reference(image), kernel()).expected.unasked == ["someone-else-v1"]
    asked = kernel(BODY + b"someone-else-v1")
    assert wanted_of(image, Reference(image), asked).expected.unasked == []


def test_damage_does_not_change_what_is_asked_for() -> None:
    damage = [
        {"op": "poke", "path": "/memblock/regions[trace]/size", "value": "0x80000"},
        {"op": "poke", "path": "/LUO/sessions[vm]/files[0x2]/token", "value": 1},
    ]
    wanted = wanted_of(made(mutate=damage), Reference(made()), kernel())

    assert list(wanted.region_words(4096)) == ["reserve_mem=1048576:4096:trace"]
    assert wanted.expected.twice
    assert wanted.expected.sessions == [("vm", [1])]


def test_a_region_that_damage_moved_is_not_the_region() -> None:
    damage = [{"op": "poke", "path": "/memblock/regions[trace]/start", "value": "0x200000"}]
    wanted = wanted_of(made(mutate=damage), Reference(made()), kernel())

    assert wanted.expected.changed_regions == ["trace"]


def test_another_layout_tells_contents_but_no_places() -> None:
    moved = made(memory=[{"start": "64M", "size": "64M"}])
    wanted = wanted_of(moved, Reference(made(), same_layout=False), kernel())

    assert wanted.expected.files[0, 0] is not None
    assert wanted.expected.filled[0, 1] is None
    assert (wanted.filler, wanted.expected.changed_regions) == ([], [])


def test_recipe_before_its_damage() -> None:
    path = ROOT / "fixtures/bad/LUO502-token-twice/recipe.toml"

    reference = bridge.reference_of(str(path))
    assert reference is not None
    tokens = [[f.token for f in s.files] for s in bridge.contents_of(reference).sessions]
    assert tokens[0] == [1, 2]
    assert bridge.reference_of(str(ROOT / "fixtures/good/7.1-sessions/recipe.toml")) is None
    assert bridge.reference_of(str(ROOT / "fixtures/real/linux-7.3.4/image.elf.xz")) is None


@pytest.mark.parametrize(
    ("body", "option"),
    [
        (b"\x7fELF serial8250", "CONFIG_KEXEC_HANDOVER=y"),
        (b"\x7fELF disabling KHO revival", "CONFIG_SERIAL_8250_CONSOLE=y"),
    ],
)
def test_kernel_that_cannot_do_it_names_the_option(body: bytes, option: str) -> None:
    with pytest.raises(InputError, match=option):
        require(kernel(body))


def test_image_of_another_machine_is_refused() -> None:
    arm = recognise("Image", image())
    assert arm is not None
    with pytest.raises(InputError, match="x86_64"):
        refuse_other_machine(made(), arm)
    with pytest.raises(InputError, match="pages of 16384"):
        refuse_other_machine(made(page_size=16384, machine="x86_64"), kernel())
    with pytest.raises(InputError, match="big-endian"):
        refuse_other_machine(made(endian="big", machine="x86_64"), kernel())


def test_trees_without_memory_cannot_be_booted(tmp_path: Path) -> None:
    blob = tmp_path / "root.dtb"
    found = made()
    assert found.tree.span is not None
    blob.write_bytes(bytes(found.space.read(found.tree.span.address, 4096)))

    with pytest.raises(InputError, match="nothing to boot"):
        bridge.open_handover(str(blob))
