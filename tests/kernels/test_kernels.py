"""Real kernels: what they write is what khotool reads, and what khotool writes is what they read.

``KHOTOOL_KERNELS`` names a folder of kernels, as ``build.sh`` makes them. The set takes a few
minutes; ``khotool test-kernel`` tests one kernel at length.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from khotool.cli.main import main
from khotool.lab import bridge
from khotool.lab.kernelfile import KernelFile, open_kernel
from khotool.lab.qemu import PROGRAMS, run
from tests.contract.repository import ROOT

pytestmark = pytest.mark.slow
FOLDER = os.environ.get("KHOTOOL_KERNELS", "")
NAMES = ("bzImage", "Image", "vmlinux")
TIMEOUT = "100"
MANIFEST = """\
abi = "7.3"
[[reserve_mem]]
name = "trace"
size = "2M"
align = "1M"
contents = { random = 7 }
[kho_test]
orders = [0, 2]
[[session]]
name = "vm ünïcode/näme"
[[session.file]]
token = "0xeedfacecafebeef"
size = "4M"
folio = "huge"
contents = { pattern = "page" }
[[session.file]]
token = 2
size = 70000
pos = 123
seals = ["F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW"]
contents = { hex = "000102" }
[[session.file]]
token = 3
size = 0
[[session]]
name = "empty"
"""


def kernels() -> list[str]:
    """Files of kernels that can be run here."""
    if not FOLDER or not Path(FOLDER).is_dir():
        return []
    return sorted(p.name for p in Path(FOLDER).iterdir() if p.name.startswith(NAMES))


@cache
def kernel(name: str) -> KernelFile:
    """A kernel; the test is skipped where QEMU for its machine is missing."""
    found = open_kernel(str(Path(FOLDER, name)))
    if not shutil.which(PROGRAMS[found.machine][0]):
        pytest.skip(f"{PROGRAMS[found.machine][0]} is not installed")
    return found


def newest(place: int = 1) -> str:
    """The x86-64 kernel of the latest release, or of that before it."""
    found = [name for name in kernels() if name.startswith("bzImage")]
    if len(found) < place:
        pytest.skip(f"{len(found)} bzImages in KHOTOOL_KERNELS, {place} needed")
    return sorted(found, key=lambda name: [int(n) for n in name.split("-")[-1].split(".")])[-place]


every_kernel = pytest.mark.parametrize(
    "name",
    kernels()
    or [
        pytest.param("", marks=pytest.mark.skip("KHOTOOL_KERNELS names no folder of kernels")),
    ],
)


def khotool(*words: object) -> int:
    return main([str(word) for word in words])


def boot(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    code = khotool("boot", "--json", "--timeout", TIMEOUT, *words)
    return code, json.loads(capsys.readouterr().out)["boots"]


@every_kernel
def test_kernel_takes_over_from_itself(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A capture is clean, is what the guest saw, and comes back with every byte, as predicted."""
    path, image, truth = kernel(name).path, tmp_path / "image.elf", tmp_path / "truth.json"

    assert khotool("capture", "--kernel", path, "-o", image, "--truth", truth, "-q") == 0
    seen = json.loads(truth.read_text())
    decoded = bridge.open_handover(str(image))
    found = bridge.contents_of(decoded)
    assert [rule for level, rule, _ in bridge.findings_of(decoded) if level == "error"] == []
    assert [region.name for region in found.regions] == ["trace"]
    assert [
        (s.name, [(hex(f.token or 0), f.size, f.position) for f in s.files]) for s in found.sessions
    ] == [
        (s["name"], [(f["token"], f["size"], f["pos"]) for f in s["files"]])
        for s in seen["sessions"]
    ]

    code, (result,) = boot(capsys, image, "--kernel", path)
    assert (code, result["outcome"], result["agree"]) == (0, "accept", True)
    assert result["regions"] == {"trace": "revived"}
    assert result["kho_test"] == "passed"
    assert [
        (f["token"], f["sha256"], f["contents"]) for s in result["sessions"] for f in s["files"]
    ] == [(f["token"], f["sha256"], "same") for s in seen["sessions"] for f in s["files"]]


def test_manifest_is_preserved_as_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, positions, seals, huge folios and contents, beside what encode makes of them."""
    manifest, image = tmp_path / "manifest.toml", tmp_path / "image.elf"
    manifest.write_text(MANIFEST)
    path = kernel(newest()).path

    assert khotool("capture", manifest, "--kernel", path, "-o", image) == 0
    assert "not taken over" not in capsys.readouterr().err
    ignored = ["--ignore", "/LUO/flbs", "--ignore", "/kho_test", "--ignore", "/kexec-metadata"]
    assert khotool("diff", manifest, image, "--contents", *ignored) == 0
    capsys.readouterr()
    code, (result,) = boot(capsys, image, "--kernel", path)
    assert (code, result["outcome"]) == (0, "accept")
    files = result["sessions"][0]["files"]
    assert [(f["size"], f["pos"], f["seals"]) for f in files] == [
        (4 << 20, 0, 0),
        (70000, 123, 7),
        (0, 0, 0),
    ]


def test_synthetic_image_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel boots on what encode makes, without any first kernel."""
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(MANIFEST)

    code, (result,) = boot(capsys, manifest, "--kernel", kernel(newest()).path)

    assert (code, result["outcome"]) == (0, "accept")
    contents = [f["contents"] for s in result["sessions"] for f in s["files"]]
    assert contents == ["same", "same", "same"]


def test_synthetic_image_of_arm64_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It begins with the first page of RAM, and its scratch is beyond a small guest's memory."""
    found = next((name for name in kernels() if name.startswith("Image")), None)
    if found is None:
        pytest.skip("no Image in KHOTOOL_KERNELS")
    arm = kernel(found)
    manifest = tmp_path / "manifest.toml"
    head = f'machine = "aarch64"\npage_size = {arm.page_size}\n'
    manifest.write_text(head + MANIFEST.replace('folio = "huge"\n', ""))

    code, (result,) = boot(capsys, manifest, "--kernel", arm.path)

    assert (code, result["outcome"]) == (0, "accept")


def test_all_of_memory_boots_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, path = tmp_path / "full.elf", kernel(newest()).path

    assert khotool("capture", "--kernel", path, "--full", "-o", image, "-q") == 0
    assert image.stat().st_size > 16 << 20
    code, (result,) = boot(capsys, image, "--kernel", path)

    assert (code, result["outcome"]) == (0, "accept")


def test_damage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What was other data before its damage, and what stops the kernel."""
    recipes = [
        ROOT / "fixtures/bad" / name / "recipe.toml"
        for name in ("HND601-folio-not-uptodate", "REC402-sessions-cycle")
    ]

    code, results = boot(capsys, *recipes, "--kernel", kernel(newest()).path)

    assert code == 1
    assert [result["outcome"] for result in results] == ["corrupt", "panic"]
    assert [result["agree"] for result in results] == [True, True]
    assert results[1]["stages"][-1]["stage"] == "luo"


def test_own_initrd_ends_the_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An initrd of the user's, here with the agent as its init, loads the stop kernel itself."""
    from khotool.lab.cpio import Member, archive
    from khotool.lab.guest import agent
    from khotool.lab.scenario import Scenario

    path = kernel(newest()).path
    scenario = Scenario(["load", "session 766d", "kexec"])
    mine = archive(
        [
            Member("init", agent(kernel(newest()).machine), 0o100755),
            Member("khotool/scenario", scenario.text()),
        ]
    )
    initrd, image = tmp_path / "mine.cpio", tmp_path / "image.elf"
    initrd.write_bytes(mine)

    assert khotool("capture", "--kernel", path, "--initrd", initrd, "-o", image, "-q") == 0
    found = bridge.contents_of(bridge.open_handover(str(image)))
    assert [session.name for session in found.sessions] == ["vm"]


def test_selftests_run_across_a_handover(tmp_path: Path) -> None:
    """From a kernel to itself, and from the release before, whose image is converted."""
    if not shutil.which("gcc"):
        pytest.skip("gcc builds the test")
    flags = [
        "-std=gnu11",
        "-Os",
        "-ffreestanding",
        "-fno-builtin",
        "-fno-stack-protector",
        "-fno-pie",
    ]
    source, program = ROOT / "tests/kernels/staged.c", tmp_path / "luo_staged"
    made = ["-mno-sse", "-static", "-nostdlib", "-no-pie", "-o", str(program), str(source)]
    built = run(["gcc", *flags, *made], [], 60)
    assert built.code == 0, built.errors
    path, before, out = kernel(newest()).path, kernel(newest(2)), tmp_path / "ktap"
    words = ["--selftests", tmp_path, "--previous", before.path, "-o", out, "--timeout", TIMEOUT]

    assert khotool("test-kernel", path, *words, "--no-synthetic", "--mutants", 0) == 0

    tests = re.findall(r"^  (\w+ \d+ luo_staged.*)", out.read_text(), re.MULTILINE)
    assert tests == ["ok 1 luo_staged", f"ok 2 luo_staged-from-{before.release}"]
