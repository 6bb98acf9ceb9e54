"""``khotool live`` as a script meets it, on hosts made from captures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from khotool.cli.main import main
from khotool.memory.overlay import OverlaySpace
from tests.builders import REAL, capture
from tests.hosts import make_host, write_kcore
from tests.schemas import validate_output

NEWEST = "linux-7.3.4"
Capture = pytest.CaptureFixture[bytes]


@pytest.fixture
def host(tmp_path: Path) -> str:
    """A host with debugfs and memory."""
    folder = tmp_path / "host"
    folder.mkdir()
    make_host(folder, NEWEST, "out-before")
    return str(folder)


def run(capture: Capture, *words: str) -> tuple[int, bytes, str]:
    code = main(["live", *words])
    out, err = capture.readouterr()
    return code, out, err.decode()


def test_json_is_that_of_dump(capsysbinary: Capture, host: str) -> None:
    """Behind the host stands what ``dump --json`` says of a capture of the same moment."""
    code, out, err = run(capsysbinary, "--host", host, "--json")
    document = json.loads(out)
    assert code == 0
    assert list(document)[:4] == ["schema", "khotool", "host", "image"]
    assert document["schema"] == "khotool.live/1"
    assert document["host"]["release"] == "7.3.4"
    assert [Path(name).name for name in document["host"]["read"]] == ["kho", "kcore"]
    assert document["image"]["container"] == "live"
    assert err.startswith("khotool: running kernel 7.3.4: read ")
    assert main(["dump", "--json", str(REAL / NEWEST / "image.elf.xz")]) == 0
    whole = json.loads(capsysbinary.readouterr().out)
    for key in ("abi", "root", "memory", "entries", "luo", "findings"):
        assert document[key] == whole[key]


@pytest.mark.parametrize(
    "words",
    [["--summary"], ["--depth", "2"], ["--dts"], ["/LUO/sessions[vm-alpha]"], ["--root", "out"]],
)
def test_answers_of_dump(capsysbinary: Capture, host: str, words: list[str]) -> None:
    """The ways to look at a capture are ways to look at a host."""
    code, out, _ = run(capsysbinary, "--host", host, "-q", *words)
    assert code == 0
    assert out.strip()


def test_path_and_quiet(capsysbinary: Capture, host: str) -> None:
    """A path shows its part as JSON, and ``-q`` says nothing besides."""
    code, out, err = run(capsysbinary, "--host", host, "-q", "--json", "/LUO/sessions[vm-alpha]")
    assert code == 0
    assert json.loads(out)["path"] == "/LUO/sessions[vm-alpha]"
    assert err == ""


def test_pack_is_an_image_for_every_command(
    capsysbinary: Capture, host: str, tmp_path: Path
) -> None:
    """What ``--pack`` writes dumps like the host did, and holds no contents of files."""
    packed = str(tmp_path / "packed.elf")
    code, out, err = run(capsysbinary, "--host", host, "--pack", packed)
    assert (code, out) == (0, b"")
    assert "wrote" in err
    assert Path(packed).stat().st_size < 1 << 20
    assert main(["dump", "--json", packed]) == 0
    again = json.loads(capsysbinary.readouterr().out)
    whole = json.loads(run(capsysbinary, "--host", host, "--json")[1])
    for key in ("abi", "root", "memory", "entries", "luo"):
        assert again[key] == whole[key]
    assert again["image"]["phase"] == whole["image"]["phase"] == "live"
    assert main(["check", "--json", packed]) == 0
    assert json.loads(capsysbinary.readouterr().out)["findings"] == []
    repacked = str(tmp_path / "repacked.elf")
    assert main(["pack", packed, "-o", repacked]) == 0
    assert Path(repacked).read_bytes() == Path(packed).read_bytes()
    code, _, _ = run(capsysbinary, "--host", host, "--pack", packed, "--anonymize")
    assert code == 0
    assert b"vm-alpha" not in Path(packed).read_bytes()


def test_pack_without_a_root(capsysbinary: Capture, tmp_path: Path) -> None:
    """Without the root's address there is no image to write, and what to do instead is said."""
    make_host(tmp_path, "linux-6.19.11", "out-before")
    target = tmp_path / "packed.elf"
    code, _, err = run(capsysbinary, "--host", str(tmp_path), "--pack", str(target))
    assert code == 3
    assert "cp -r" in err
    assert not target.exists()


def test_what_is_missing_is_said(capsysbinary: Capture, tmp_path: Path) -> None:
    """Each missing thing is a line with what, why and how; the answer goes without it."""
    make_host(tmp_path, NEWEST, "out-before", memory=False)
    code, out, err = run(capsysbinary, "--host", str(tmp_path), "--summary")
    assert code == 0
    assert b"copy of debugfs" in out
    missing = [line for line in err.splitlines() if line.startswith("khotool: missing: ")]
    assert [line.split(": ")[2] for line in missing] == ["/proc/kcore", "/dev/mem"]
    assert all("only in memory; " in line for line in missing)


def test_why_never_fails(capsysbinary: Capture, host: str, tmp_path: Path) -> None:
    """``--why`` lists every check, as text or JSON, whatever is there."""
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (host, str(empty)):
        code, out, err = run(capsysbinary, "--host", folder, "--why")
        assert (code, err) == (0, "")
        code, text, _ = run(capsysbinary, "--host", folder, "--why", "--json")
        assert code == 0
        checks: list[dict[str, Any]] = json.loads(text)["host"]["checks"]
        for check in checks:
            assert check["state"] in ("ok", "missing", "unknown", "unused")
            assert check["state"] != "missing" or (check["why"] and check["remedy"])
            assert check["state"].encode() in out


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--root", "old"], 2, "--root old: expected in, out or a root's address"),
        (["--summary", "--json"], 2, "exclude each other"),
        (["--anonymize"], 2, "needs --pack"),
        (["--abi", "kho-v9"], 2, "no format"),
        (["/nope"], 2, "no '/nope'"),
        (["--no-memory", "--root", "0x1000"], 2, "--no-memory excludes"),
        (["--no-memory", "--scan"], 2, "--no-memory excludes"),
        (["--strict"], 0, ""),
    ],
)
def test_refusals(
    capsysbinary: Capture, host: str, words: list[str], code: int, expected: str
) -> None:
    """What does not fit is one line, with the exit code of its kind."""
    found, _, err = run(capsysbinary, "--host", host, *words)
    assert found == code
    assert expected in err


def test_folder_that_is_no_host(capsysbinary: Capture) -> None:
    """A folder that is not there is said to be the mistake."""
    code, _, err = run(capsysbinary, "--host", "nowhere")
    assert code == 3
    assert "--host nowhere: no such folder" in err


def test_hints_at_what_a_scan_finds(capsysbinary: Capture, tmp_path: Path) -> None:
    """A kernel that booted from a handover has lost a record and hides a root; both are said."""
    make_host(tmp_path, NEWEST, "in")
    code, _, err = run(capsysbinary, "--host", str(tmp_path), "--summary")
    assert code == 0
    assert "the kernel has reused the record of LUO; --scan finds" in err
    code, _, err = run(capsysbinary, "--host", str(tmp_path), "--summary", "--root", "out")
    assert code == 0
    assert "no root of the next one in debugfs; --scan finds it" in err
    code, out, err = run(capsysbinary, "--host", str(tmp_path), "--root", "out", "--scan")
    assert code == 0
    assert b"kho-v4 outgoing" in out
    assert "--scan" not in err


def test_pages_of_sessions_that_are_not_written_yet(capsysbinary: Capture, tmp_path: Path) -> None:
    """Before the reboot preserved pages of sessions have no owner, which is no leak."""
    image = capture(NEWEST)
    luo = image.entry("LUO")
    assert luo is not None
    sessions = luo.get("sessions")
    assert sessions is not None
    assert sessions.span is not None
    empty = OverlaySpace(image.space, [(sessions.span.address, bytes(sessions.span.size))])
    make_host(tmp_path, NEWEST, "out-before", memory=False)
    write_kcore(tmp_path / "proc/kcore", empty, "7.3.4")
    code, _, err = run(capsysbinary, "--host", str(tmp_path), "--summary")
    assert code == 0
    assert "preserved pages have no owner yet" in err


def test_booted(capsysbinary: Capture, tmp_path: Path) -> None:
    """``--booted`` answers with its exit code, and says what was taken over."""
    make_host(tmp_path, NEWEST, "in")
    code, out, _ = run(capsysbinary, "--host", str(tmp_path), "--booted", "--json", "-q")
    validate_output(out.decode())
    found = json.loads(out)["booted"]
    assert code == 0
    assert found["live_update"] is True
    assert found["sessions"] is None
    assert found["previous_release"] == "7.3.4"
    assert found["kexec_count"] == 1
    code, out, _ = run(capsysbinary, "--host", str(tmp_path), "--booted")
    assert code == 0
    assert out.decode().splitlines()[0].split() == ["live", "update", "yes"]


def test_not_booted(capsysbinary: Capture, host: str, tmp_path: Path) -> None:
    """A host that only hands over was not booted by one; without debugfs the answer is unknown."""
    code, out, _ = run(capsysbinary, "--host", host, "--booted")
    assert code == 1
    assert b"no handover" in out
    bare = tmp_path / "bare"
    bare.mkdir()
    make_host(bare, NEWEST, None, memory=False)
    code, out, err = run(capsysbinary, "--host", str(bare), "--booted")
    assert (code, out) == (3, b"")
    assert "is not known" in err
    assert run(capsysbinary, "--host", host, "--booted", "--why")[0] == 2
