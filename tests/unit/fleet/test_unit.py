"""The systemd unit of the how-to: it is one, and its command packs a host."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.host.test_live import incoming_host

PAGE = Path(__file__).parents[3] / "docs/howto/watch-a-fleet.md"


def unit() -> str:
    found = re.search(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Every section, key and specifier is one that systemd knows."""
    path = tmp_path / "khotool-pack.service"
    path.write_text(unit())

    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_its_command_packs_the_host(tmp_path: Path) -> None:
    """The command, with its specifiers as systemd replaces them, on a host that was handed over."""
    incoming_host(tmp_path / "host")
    (line,) = re.findall(r"^ExecStart=(.*)$", unit(), re.MULTILINE)
    line = re.sub("%([H%])", lambda found: "host-7" if found[1] == "H" else "%", line)
    line = line.replace("/var/lib/khotool", str(tmp_path))
    line = line.replace("khotool live", f"{sys.executable} -m khotool live --host {tmp_path}/host")

    subprocess.run(shlex.split(line), check=True, env=dict(os.environ), capture_output=True)

    (packed,) = tmp_path.glob("*.elf")
    assert re.fullmatch(r"host-7-\d{8}T\d{6}\.elf", packed.name)
    assert packed.read_bytes()[:4] == b"\x7fELF"
