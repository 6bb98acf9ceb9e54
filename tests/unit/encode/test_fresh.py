"""Fresh layouts: the ends of every range, limits of formats, and where memory is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from khotool.absent import Absent
from khotool.encode.convert import convert_image
from khotool.encode.fresh import build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.encode.sets import set_of
from khotool.errors import EncodeError
from khotool.fixture.recipe import build_fixture, find_fixtures
from khotool.model.image import Image, Span
from khotool.model.lookup import find_node
from khotool.opening.models import build_model, read_model
from tests.builders import CAPTURES, REGISTRY, build, capture, decode, worst
from tests.strategies import meaning

GOOD = Path(__file__).parents[3] / "fixtures" / "good"
BAD = GOOD.parent / "bad"
FILE: dict[str, Any] = {"token": 1, "size": 4096}


def session(*files: dict[str, Any], name: str = "s") -> list[dict[str, Any]]:
    return [{"name": name, "file": list(files)}]


def with_file(**keys: Any) -> dict[str, Any]:
    return {"abi": "7.2", "session": session(FILE | keys)}


def test_largest_token() -> None:
    """Token, position and update number of 64 ones."""
    most = (1 << 64) - 1
    image = decode(with_file(token=most, pos=most) | {"liveupdate_number": most})
    luo = image.entry("LUO")
    assert luo is not None
    assert luo.value_of("liveupdate_number") == most
    (file,) = meaning(handover_of(image))["LUO"]["sessions"][0]["files"]
    assert (file["token"], file["data"]["at"]["pos"]) == (most, most)


@pytest.mark.parametrize("abi", ["6.16", "6.19", "7.2"])
def test_top_of_physical_memory(abi: str) -> None:
    """All memory just below 2^52: every address decodes, and ownership is exact."""
    top = (1 << 52) - (1 << 28)
    manifest: dict[str, Any] = {
        "abi": abi,
        "memory": [{"start": top, "size": 1 << 28}],
        "kho_test": {"orders": [0, 10]},
    }
    image = decode(manifest)
    assert image.tree.span is not None
    assert image.tree.span.address >= top
    assert worst(image) == []
    ownership = image.ownership()
    assert ownership is not None
    assert (ownership.unowned_pages, ownership.unpreserved_pages) == (0, 0)


def test_a_tebibyte_in_huge_folios() -> None:
    """1 TiB without contents: half a million folios of order 9, and a small image."""
    built = build(with_file(size="1T", folio="huge"))
    assert sum(len(data) for _, data in built.segments) < 16 << 20
    image = image_of(built, REGISTRY)
    ownership = image.ownership()
    assert ownership is not None
    assert ownership.unpreserved_pages == ownership.unowned_pages == 0
    assert ownership.preserved_pages > 1 << 28
    node = next(node for node in image.tree.walk() if node.name == "folios")
    assert node.table is not None
    assert len(node.table) == 1 << 19
    assert worst(image) == []


def test_many_folios() -> None:
    """A table over many chunks: every row comes back."""
    image = decode(with_file(size=4096 * 150_000))
    node = next(node for node in image.tree.walk() if node.name == "folios")
    assert node.table is not None
    assert node.table.column("index").tolist() == list(range(150_000))
    assert len([child for child in node.children if child.name == "chunks"]) == 2
    assert worst(image) == []


@pytest.mark.parametrize("rows", [511 * 256 - 1, 511 * 256, 511 * 256 + 1])
def test_full_chunks(rows: int) -> None:
    """A chunk that is exactly full is read to its end and no further."""
    image = decode(with_file(size=4096 * rows))
    node = next(node for node in image.tree.walk() if node.name == "folios")
    assert node.table is not None
    assert len(node.table) == rows
    assert worst(image) == []


def test_more_sessions_than_an_array_holds() -> None:
    """luo-v5 takes any number, luo-v1 819: the error names the limit."""
    many = [{"name": f"s{number}"} for number in range(2000)]
    image = decode({"abi": "7.2", "session": many})
    assert len(meaning(handover_of(image))["LUO"]["sessions"]) == 2000
    assert worst(image) == []
    decode({"abi": "7.1", "session": many[:819]})
    with pytest.raises(EncodeError, match="820 records; luo-session-v2 takes at most 819"):
        build({"abi": "7.1", "session": many[:820]})


def test_more_files_than_an_array_holds() -> None:
    """luo-v5 takes any number of files in a session, luo-v1 128."""
    many = [{"token": number, "size": 0} for number in range(1000)]
    image = decode({"abi": "7.2", "session": session(*many)})
    assert len(meaning(handover_of(image))["LUO"]["sessions"][0]["files"]) == 1000
    assert worst(image) == []
    decode({"abi": "6.19", "session": session(*many[:128])})
    with pytest.raises(EncodeError, match=r"sessions\[s\]/files: 129 records; .* at most 128"):
        build({"abi": "6.19", "session": session(*many[:129])})


def test_flbs_fill_one_page() -> None:
    """63 FLBs fit the page, 64 do not."""
    many = [{"name": f"flb{number}"} for number in range(64)]
    decode({"abi": "7.2", "flb": many[:63]})
    with pytest.raises(EncodeError, match="64 records; luo-v5 takes at most 63"):
        build({"abi": "7.2", "flb": many})


def test_memory_that_is_used_up() -> None:
    """Too little memory is an error that says what did not fit."""
    with pytest.raises(EncodeError, match="memory is used up; 57344 bytes more are needed"):
        build(
            {
                "abi": "7.2",
                "memory": [{"start": 1 << 20, "size": 8192 * 4}],
                "session": session(FILE | {"folio": 1, "size": 8192 * 9}),
            }
        )


def test_fixed_regions_come_first() -> None:
    """A region with a place of its own gets it, wherever khotool would have put the root."""
    image = decode(
        {
            "abi": "7.2",
            "kho_test": {"orders": [0]},
            "reserve_mem": [
                {"name": "a", "size": 8192, "start": 1 << 20},
                {"name": "b", "size": 12288, "start": (1 << 20) + 8192},
            ],
        }
    )
    entry = image.entry("memblock")
    assert entry is not None
    regions = entry.get("regions")
    assert regions is not None
    assert [r.value_of("start") for r in regions.elements()] == [1 << 20, (1 << 20) + 8192]
    ownership = image.ownership()
    assert ownership is not None
    assert (ownership.unowned_pages, ownership.double_owned_pages) == (0, 0)
    for start in (0x400_0000, 1 << 51, 0x2000):
        with pytest.raises(EncodeError, match=f"{start:#x}\\+0x1000 is not free"):
            build({"abi": "7.2", "reserve_mem": [{"name": "a", "size": 4096, "start": start}]})


# -- where the memory is ---------------------------------------------------------------------


def ends(image: Image) -> tuple[int, int]:
    """First and last byte of everything that is preserved."""
    assert not isinstance(image.map, Absent)
    ranges = image.map.blocks.ranges()
    return int(ranges[0, 0]), int(ranges[-1, 1])


@pytest.mark.parametrize("name", CAPTURES)
def test_fresh_layout_stays_in_the_source_memory(name: str) -> None:
    """Nothing is put below the first or above the last page of the source, but for rounding."""
    image = capture(name)
    regions = [extent for region in image.regions for extent in region.extents()]
    built = build_fresh(handover_of(image), set_of(image), REGISTRY)
    made = image_of(built, REGISTRY)
    block = image.geometry.page_size << 10
    areas = [] if isinstance(image.scratch, Absent) else image.scratch.areas
    top = max(ends(image)[1], *(a + n for a, n in regions), *(area.end for area in areas))
    low, high = ends(made)
    bottom = min(ends(image)[0], *(address for address, _ in regions))
    assert bottom // block * block <= low
    assert high <= -(-top // block) * block
    assert worst(made) == []


def test_arm64_stays_above_its_base() -> None:
    """QEMU's virt machine has no memory below 1 GiB; the ELF header keeps the machine."""
    image = capture("linux-7.3.4-arm64-16k")
    built = convert_image(image, "7.2")
    assert built.machine == "aarch64"
    assert min(address for address, _ in built.segments) >= 0x4000_0000
    assert built.root >= 0x4000_0000


def test_memory_that_is_named() -> None:
    """A layout goes where it is told to."""
    image = capture("linux-6.17.8")
    memory = [Span(0x8000_0000, 64 << 20)]
    low, high = ends(image_of(convert_image(image, "7.2", memory=memory), REGISTRY))
    assert 0x8000_0000 <= low < high <= 0x8400_0000
    with pytest.raises(EncodeError, match="memory is used up"):
        convert_image(image, "7.2", memory=[Span(0x8000_0000, 64 << 10)])


@pytest.mark.parametrize(
    ("keys", "base"),
    [({}, 1 << 20), ({"machine": "aarch64"}, 1 << 30), ({"page_size": "16K"}, 1 << 30)],
)
def test_default_memory_of_a_machine(keys: dict[str, Any], base: int) -> None:
    """A manifest without ranges is laid out where that machine has memory, scratch too."""
    image = decode({"abi": "7.2", **keys})
    assert image.tree.span is not None
    assert image.tree.span.address == base
    assert not isinstance(image.scratch, Absent)
    assert all(area.address >= base for area in image.scratch.areas)


def test_two_entries_of_one_name_cannot_be_written() -> None:
    """A kernel's tree has a name once; a damaged image that has it twice is refused by its path."""
    recipe = BAD / "KHO208-two-memblocks" / "recipe.toml"
    image = image_of(build_model(read_model(recipe), REGISTRY), REGISTRY)
    with pytest.raises(EncodeError, match="'memblock' is already there"):
        build_fresh(handover_of(image), set_of(image), REGISTRY)
    with pytest.raises(EncodeError, match="'memblock' is already there"):
        convert_image(image, "7.3")


def recipe(name: str) -> Image:
    (fixture,) = find_fixtures([GOOD / name])
    return image_of(build_fixture(fixture, REGISTRY), REGISTRY)


def test_what_runs_cannot_be_moved() -> None:
    """Memory of preserved CPUs is laid out anew, with a word that its page tables are not."""
    handover = handover_of(recipe("7.4-frontier-cpus-transition"))

    assert [line.partition(":")[0] for line in handover.lost] == [
        "/LUO/sessions[vm]/files[0x1]/data",
        "/LUO/flbs[cpu_flb_v1]/data",
    ]


@pytest.mark.parametrize(
    ("name", "labels"),
    [("7.4-frontier-kvm-x86", ["msrs", "cpuid"]), ("7.4-frontier-kvm-arm64", ["sysregs"])],
)
def test_registers_follow_the_state(name: str, labels: list[str]) -> None:
    """What the kernel wants right behind the state of a virtual CPU is there in a fresh layout."""
    image = recipe(name)
    built = build_fresh(handover_of(image), set_of(image), REGISTRY)
    state = find_node(image_of(built, REGISTRY), "/LUO/sessions[vm]/files[0x2]/data/arch_state")
    assert state.target is not None
    end = state.target.end
    for label in labels:
        child = state.get(label)
        assert child is not None
        assert child.value == end
        assert child.target is not None
        end = child.target.end + sum(
            len(below.table.records) * below.table.compiled.size
            for below in child.children
            if below.table is not None
        )
