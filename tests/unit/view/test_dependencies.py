"""What needs what, in which order it can be restored, and what no order can restore."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from khotool.cli.main import main
from khotool.limits import OpenOptions
from khotool.opening.load import load_image
from khotool.view.dependencies import Dependencies, Need, Why, _sort, dependencies
from tests.schemas import validate_output

GOOD = Path(__file__).parents[3] / "fixtures/good"
INTEL = str(GOOD / "7.4-frontier-intel/recipe.toml")


def test_file_object_device() -> None:
    """A file needs its object, an object its records, a device its domain."""
    found = dependencies(load_image(INTEL, OpenOptions(), None))
    flb = "/LUO/flbs[iommu-liveupdate]"
    device = f"{flb}/data/device_array_phys[0]"
    domain = f"{flb}/data/iommu_domain_array_phys[0]"

    assert Need("/LUO/sessions[vm]/files[0x2]", flb, Why.HANDLER) in found.needs
    assert Need(flb, device, Why.PART) in found.needs
    assert Need(device, domain, Why.REFERENCE) in found.needs
    assert found.cycles == []
    place = {path: n for n, path in enumerate(found.order)}
    assert set(place) == set(found.labels)
    assert all(place[need.other] < place[need.path] for need in found.needs)


def test_cycles() -> None:
    """Each cycle is found once, and what is in it has no place in the order."""
    needs = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"), ("e", "f"), ("f", "e"), ("g", "h")]
    found = Dependencies(
        {name: name for name in "abcdefgh"}, [Need(a, b, Why.REFERENCE) for a, b in needs]
    )
    _sort(found)

    assert sorted(found.cycles) == [["a", "b", "c"], ["e", "f"]]
    assert sorted(found.order) == ["d", "g", "h"]
    assert found.order.index("h") < found.order.index("g")


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The command shows a tree, DOT and JSON."""
    assert main(["graph", INTEL]) == 0
    out = capsys.readouterr().out
    assert "└── /LUO/flbs[iommu-liveupdate]" in out
    assert "0 cycles" in out
    assert main(["graph", "--dot", INTEL]) == 0
    dot = capsys.readouterr().out
    assert dot.startswith("digraph handover {")
    assert '"/LUO/sessions[vm]/files[0x2]" -> "/LUO/flbs[iommu-liveupdate]"' in dot
    assert main(["graph", "--json", INTEL]) == 0
    out = capsys.readouterr().out
    assert validate_output(out) == "graph"
    assert len(json.loads(out)["nodes"]) == 9
