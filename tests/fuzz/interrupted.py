"""End commands at any moment: ``python -m tests.fuzz.interrupted``.

Each command writes over a file that is there already. A signal ends it at a random time; the file
is then the old one or the whole new one, and but for KILL nothing else is left in its folder.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.guard import ROOT

OLD = b"the file before\n"
IMAGE = "fixtures/real/linux-7.3.4/image.elf.xz"
RECIPE = "fixtures/good/7.2-everything/recipe.toml"
#: OUT is the file that is written.
COMMANDS = (
    f"pack {IMAGE} -o OUT",
    f"convert --to 7.2 {IMAGE} -o OUT",
    f"encode {RECIPE} -o OUT",
    f"report {IMAGE} -o OUT",
    f"dump --json --full {IMAGE} -o OUT",
    f"check --write-baseline OUT {IMAGE}",
    f"extract --raw {IMAGE} /LUO/sessions[vm-alpha]/files[0x2] -o OUT",
    f"fixture build {RECIPE} -o OUT",
    f"pages --csv {IMAGE} -o OUT",
    f"diff --json {IMAGE} {IMAGE} -o OUT",
    f"check --output-format sarif {IMAGE} -o OUT",
    "formats header luo-session-v2 -o OUT",
)
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL)
PATIENCE = 60.0
"""Seconds after a signal in which a command ends."""


def main(arguments: list[str] | None = None) -> int:
    """Interrupt commands; 1 if one of them left something wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.interrupted", description=__doc__)
    parser.add_argument("-n", "--count", type=int, default=100, metavar="N", help="runs (100)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of times and signals (1)")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    whole = [undisturbed(command) for command in COMMANDS]
    faults = 0
    for number in range(options.count):
        at = number % len(COMMANDS)
        seconds, length = whole[at]
        wrong = interrupted(
            COMMANDS[at], chance.uniform(0, 1.1 * seconds), chance.choice(SIGNALS), length
        )
        if wrong:
            faults += 1
            sys.stderr.write(f"run {number}: {COMMANDS[at]}: {wrong}\n")
    sys.stdout.write(f"{options.count} runs, {faults} faults\n")
    return 1 if faults else 0


def undisturbed(command: str) -> tuple[float, int]:
    """Seconds that a command takes, and bytes that it writes."""
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        out = Path(folder) / "out"
        began = time.monotonic()
        process = start(command, out)
        process.communicate(timeout=PATIENCE)
        return time.monotonic() - began, out.stat().st_size


def start(command: str, out: Path) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    words = command.replace("OUT", str(out)).split()
    return subprocess.Popen(
        [sys.executable, "-m", "khotool", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupted(command: str, seconds: float, number: signal.Signals, length: int) -> str:
    """What is wrong after a signal; empty if nothing is."""
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        out = Path(folder) / "out"
        out.write_bytes(OLD)
        process = start(command, out)
        time.sleep(seconds)
        process.send_signal(number)
        try:
            _, said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"went on after {number.name}"
        after = f"after {number.name} at {seconds:.3f} s: "
        left = sorted(path.name for path in Path(folder).iterdir())
        if out.read_bytes() != OLD and out.stat().st_size != length:
            return f"{after}the file is neither the old nor the new one"
        if number is not signal.SIGKILL and left != ["out"]:
            return f"{after}left {left}"
        # Before its first line the interpreter says what it wants.
        early = "site" in said or not said
        if process.returncode not in (0, 128 + number, -number) and not early:
            return f"{after}exit code {process.returncode}"
        if process.returncode == 128 + number and len(said.splitlines()) != 1:
            return f"{after}said {said!r}"
        return ""


if __name__ == "__main__":
    sys.exit(main())
