"""What runs inside guests is what its source says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from khotool.lab.guest import agent, stop_kernel
from khotool.lab.kernelfile import Machine
from khotool.lab.qemu import run
from tests.contract.repository import ROOT

GUEST = ROOT / "khotool/lab/guest"
MADE = ("agent-x86_64", "stop-x86_64.bin", "enter-x86_64.bin", "agent-aarch64", "stop-aarch64.bin")


def test_built_programs_are_those_of_the_source(tmp_path: Path) -> None:
    if not shutil.which("gcc") or not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("gcc and aarch64-linux-gnu-gcc build the guest's programs")
    done = run([str(GUEST / "build.sh"), str(tmp_path)], [], 120)
    assert done.code == 0, done.errors
    if (tmp_path / "compilers.txt").read_text() != (GUEST / "compilers.txt").read_text():
        pytest.skip("other compilers than those of the built programs; compilers.txt names them")

    for name in MADE:
        assert (tmp_path / name).read_bytes() == (GUEST / name).read_bytes(), name


@pytest.mark.parametrize("machine", list(Machine))
def test_programs_are_small_and_of_their_machine(machine: Machine) -> None:
    number = {Machine.X86_64: 62, Machine.AARCH64: 183}[machine]
    program = agent(machine)

    assert program[:5] == b"\x7fELF\2"
    assert int.from_bytes(program[18:20], "little") == number
    assert len(program) < 16384
    assert len(stop_kernel(machine)) == 4096


def test_a_build_without_its_tools_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dirname", "uname", "nproc"):
        (tmp_path / name).symlink_to(shutil.which(name) or "/nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    build, tree = ROOT / "tests/kernels/build.sh", str(tmp_path)

    done = run(["/bin/sh", str(build), tree, str(tmp_path / "out"), "arm64", "64k"], [], 30)
    assert (done.code, done.errors) == (2, "make is missing; it is in package make\n")
    done = run(["/bin/sh", str(build), tree, str(tmp_path / "out"), "arm64", "8k"], [], 30)
    assert (done.code, done.errors) == (2, "8k: expected 4k, 16k or 64k\n")
    assert not (tmp_path / "out").exists()


def test_stop_kernels_look_like_kernels() -> None:
    assert stop_kernel(Machine.X86_64)[0x202:0x206] == b"HdrS"
    assert stop_kernel(Machine.AARCH64)[0x38:0x3C] == b"ARM\x64"
