from __future__ import annotations

import json
from pathlib import Path

import pytest

import khotool
from khotool.cli.main import main

REAL = Path(__file__).parents[3] / "fixtures" / "real"
IMAGE = REAL / "linux-7.3.4" / "image.elf.xz"
ALPHA = "/LUO/sessions[vm-alpha]"
MANIFEST = """
abi = "7.3"
[[session]]
name = "vm"
[[session.file]]
token = 1
size = 5000
contents = { fill = "x" }
"""


def test_opens_what_the_commands_open(tmp_path: Path) -> None:
    """A capture, a packed image, a full dump, a manifest and a copy of debugfs."""
    packed, full = tmp_path / "packed.elf", tmp_path / "full.json"
    assert main(["pack", str(IMAGE), "-o", str(packed), "-q"]) == 0
    assert main(["dump", "--json", "--full", str(IMAGE), "-o", str(full), "-q"]) == 0
    captured = khotool.open(IMAGE)
    for path in (packed, full):
        with khotool.open(path) as image:
            assert captured.diff(image).equal
    manifest = tmp_path / "model.toml"
    manifest.write_text(MANIFEST)
    image = khotool.open(manifest)
    assert image.read(image.luo.sessions["vm"].files[1]) == b"x" * 5000
    assert image.path == str(manifest)
    assert not khotool.open(IMAGE.with_name("debugfs.tar.xz")).luo.sessions


def test_options_reach_the_decoder(tmp_path: Path) -> None:
    """The root, limits and further definitions are those that the caller names."""
    root = khotool.open(IMAGE).root
    assert root is not None
    again = khotool.open(IMAGE, root=root.address)
    assert again.root is not None
    assert again.root.address == root.address
    with pytest.raises(khotool.UsageError, match="no device tree at this address"):
        khotool.open(IMAGE, root=0x1000)
    short = khotool.open(IMAGE, limits=khotool.Limits(nodes=60))
    assert any(finding.rule == "LIM001" for finding in short.findings)
    (tmp_path / "bad.toml").write_text("id = 1")
    with pytest.raises(khotool.DefinitionError):
        khotool.open(IMAGE, formats=[tmp_path])
    with pytest.raises(khotool.InputError, match="no such file"):
        khotool.open(tmp_path / "nothing")


def test_bytes_are_those_that_the_kernel_read(tmp_path: Path) -> None:
    """``read`` and ``extract`` give what was captured at handover, by object and by path."""
    import hashlib

    truth = json.loads(IMAGE.with_name("truth.json").read_text())["sessions"][0]
    image = khotool.open(IMAGE)
    for file in truth["files"]:
        thing = image.luo.sessions["vm-alpha"].files[int(file["token"], 0)]
        assert hashlib.sha256(image.read(thing)).hexdigest() == file["sha256"]
        done = image.extract(thing.path, tmp_path / "out")
        assert done.size == file["size"]
        assert (tmp_path / "out").read_bytes() == image.read(thing)
    assert image.read(ALPHA, raw=True).startswith(b"vm-alpha\0")
    assert len(image.plan(f"{ALPHA}/files[0x10]").offset) > 1


def test_refusals() -> None:
    """What has no payload, is too large or is not captured raises a declared error."""
    image = khotool.open(IMAGE)
    with pytest.raises(khotool.UsageError, match="has no payload"):
        image.read(image.luo.sessions["vm-alpha"])
    with pytest.raises(khotool.UsageError, match="no '/nothing'"):
        image.read("/nothing")
    with pytest.raises(khotool.InputError, match="more than limit=100"):
        image.read(f"{ALPHA}/files[0x2]", limit=100)
    with pytest.raises(khotool.MissingError) as caught:
        image.read(image.reserve_mem["oops"])
    assert caught.value.ranges.tolist() == [[0, 1 << 20]]
    assert set(image.read(image.reserve_mem["oops"], fill="zero")) == {0}
    with pytest.raises(khotool.UsageError):
        image.verdict("2.6")
    with pytest.raises(khotool.UsageError, match="/LUO/sesions"):
        image.diff(image, only=["/LUO/sesions"])


def test_the_document_is_that_of_dump(capsys: pytest.CaptureFixture[str]) -> None:
    """``document`` is what ``dump --json`` prints."""
    assert main(["dump", "--json", str(IMAGE)]) == 0
    assert khotool.open(IMAGE).document() == json.loads(capsys.readouterr().out)


def test_findings_and_verdict() -> None:
    """Findings are those of ``check``, and errors those of severity error."""
    recipe = REAL.parent / "bad" / "LUO501-two-sessions-vm" / "recipe.toml"
    image = khotool.open(recipe)
    assert "LUO501" in {finding.rule for finding in image.findings}
    assert {khotool.rule(finding.rule).severity for finding in image.errors} == {"error"}
    assert image.verdict("7.3").outcome == "partial"
    assert khotool.open(IMAGE).verdict("7.3").outcome == "accept"
