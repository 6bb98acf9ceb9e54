from __future__ import annotations

import json
from pathlib import Path

import pytest

from khotool.abi.registry import load_registry
from khotool.encode.reopen import image_of
from khotool.handlers.systemd import names_of
from khotool.model.image import Image
from khotool.model.lookup import find_node
from khotool.opening.models import build_model, read_model

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


def test_units_and_names_beside_tokens(tmp_path: Path) -> None:
    """Files get unit and name, a nested session its own, other sessions nothing."""
    image = image_with(tmp_path, json.dumps(GOOD).encode())
    assert names_of(image) == {
        ("systemd", 1): "foo.service: guest-ram",
        ("vm-7", None): "foo.service: state",
    }
    assert find_node(image, "/LUO/sessions[systemd]/files[0x1]").note == "foo.service: guest-ram"
    assert "map" in find_node(image, "/LUO/sessions[systemd]/files[0x0]").note
    assert find_node(image, "/LUO/sessions[vm-7]").note == "foo.service: state"
    assert find_node(image, "/LUO/sessions[vm-7]/files[0x1]").note == ""


@pytest.mark.parametrize(
    "data",
    [
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
    assert names_of(image_with(tmp_path, data)) == {}


def test_long_names_are_cut(tmp_path: Path) -> None:
    """Names are bounded and stay as they are stored otherwise."""
    item = {"type": "fd", "name": "\x1b" * 5000, "fd_index": 1}
    image = image_with(tmp_path, json.dumps({"/" + "u" * 5000: [item]}).encode())
    name = names_of(image)[("systemd", 1)]
    assert len(name) <= 300
    assert "\x1b" in name
