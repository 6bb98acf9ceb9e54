from __future__ import annotations

import json
from pathlib import Path

import pytest

from khotool.abi.registry import load_registry
from khotool.check.run import check_image
from khotool.encode.reopen import image_of
from khotool.handlers.systemd import map_of, names_of
from khotool.model.image import Image
from khotool.model.lookup import find_node
from khotool.opening.models import build_model, read_model

RELEASED = {
    "version": 1,
    "state": {"kexecsCount": 3},
    "units": {
        "foo.service": {
            "fdstore": [
                {"type": "fd", "name": "guest-ram", "token": 1},
                {"type": "luo_session", "name": "state", "sessionName": "vm-7"},
            ]
        }
    },
}
GOOD = {
    "/system.slice/foo.service": [
        {"type": "fd", "name": "guest-ram", "fd_index": 1},
        {"type": "luo_session", "name": "state", "session_name": "vm-7"},
    ]
}


def image_with(tmp_path: Path, data: bytes) -> Image:
    text = f'''
abi = "7.3"
[[session]]
name = "systemd"
[[session.file]]
token = 0
contents = {{ hex = "{data.hex()}" }}
[[session.file]]
token = 1
size = 8192
[[session]]
name = "vm-7"
[[session.file]]
token = 1
size = 4096
'''
    path = tmp_path / "m.toml"
    path.write_text(text)
    registry = load_registry()
    return image_of(build_model(read_model(str(path)), registry), registry)


@pytest.mark.parametrize("document", [GOOD, RELEASED], ids=["as first posted", "v261"])
def test_units_and_names_beside_tokens(tmp_path: Path, document: object) -> None:
    """Files get unit and name, a nested session its own, other sessions nothing."""
    image = image_with(tmp_path, json.dumps(document).encode())
    assert names_of(map_of(image)) == {
        ("systemd", 1): "foo.service: guest-ram",
        ("vm-7", None): "foo.service: state",
    }
    assert find_node(image, "/LUO/sessions[systemd]/files[0x1]").note == "foo.service: guest-ram"
    assert "map" in find_node(image, "/LUO/sessions[systemd]/files[0x0]").note
    assert find_node(image, "/LUO/sessions[vm-7]").note == "foo.service: state"
    assert find_node(image, "/LUO/sessions[vm-7]/files[0x1]").note == ""


def test_version_and_kexecs(tmp_path: Path) -> None:
    """The released layout says its version, and how often the host was updated before."""
    found = map_of(image_with(tmp_path, json.dumps(RELEASED).encode()))

    assert found is not None
    assert (found.layout, found.version, found.kexecs) == ("units", 1, 3)
    assert found.usable


def test_first_layout_has_no_version(tmp_path: Path) -> None:
    """The layout by control group is told by what it lacks."""
    found = map_of(image_with(tmp_path, json.dumps(GOOD).encode()))

    assert found is not None
    assert (found.layout, found.version, found.usable) == ("cgroups", None, True)


@pytest.mark.parametrize(
    "document",
    [
        {"version": 2, "units": RELEASED["units"]},
        {"version": "1", "units": RELEASED["units"]},
        {"units": RELEASED["units"]},
        [],
    ],
)
def test_maps_that_systemd_does_not_use(tmp_path: Path, document: object) -> None:
    """One of a later version, of none, or that is no object: HND621 and nothing else."""
    image = image_with(tmp_path, json.dumps(document).encode())

    assert [f.rule for f in check_image(image) if f.rule.startswith("HND62")] == ["HND621"]


@pytest.mark.parametrize(
    "data",
    [
        b'{"version": 1, "units": []}',
        b'{"version": 1, "units": {"a": []}}',
        b'{"version": 1, "units": {"a": {"fdstore": {}}}}',
        b'{"version": 1, "units": {"a": {"fdstore": [1, {"type": "fd", "token": "1"}]}}}',
        b'{"version": 1, "state": 3, "units": {"a": {"fdstore": [{"type": "luo_session"}]}}}',
        b"[]",
        b"{",
        b"\xff{}",
        b'{"a":' * 4000,
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": 1, "b": [1, {}, {"type": "fd"}, {"type": "fd", "fd_index": "1"}]}',
        b'{"a": [{"type": "fd", "fd_index": true}, {"type": "fd", "fd_index": -1}]}',
        b'{"a": [{"type": "fd", "fd_index": ' + b"9" * 5000 + b"}]}",
        b'{"a": [{"type": "luo_session", "session_name": [1]}]}',
    ],
)
def test_anything_else_gives_no_names(tmp_path: Path, data: bytes) -> None:
    """Whatever token 0 holds, the image opens and has no names."""
    assert names_of(map_of(image_with(tmp_path, data))) == {}


def test_long_names_are_cut(tmp_path: Path) -> None:
    """Names are bounded and stay as they are stored otherwise."""
    item = {"type": "fd", "name": "\x1b" * 5000, "fd_index": 1}
    image = image_with(tmp_path, json.dumps({"/" + "u" * 5000: [item]}).encode())
    name = names_of(map_of(image))[("systemd", 1)]
    assert len(name) <= 300
    assert "\x1b" in name
