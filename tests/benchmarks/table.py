"""One table: commands on large images against a walk in C.

``python -m tests.benchmarks.table FOLDER [--folios 1,16] [--rounds 3] [--plot FILE.svg]`` makes the
images in the folder where they are missing, compiles the references, and prints CPU seconds, their
ratio to the references in the same round, and peak memory. Commands and references alternate, so
that a machine that is busy is so for all. khotool is measured as installed, with compiled modules.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tests.benchmarks.measure import ROOT
from tests.benchmarks.plot import bars

FILES = 16
SOURCE = Path(__file__).with_name("reference.c")
COMMANDS: dict[str, list[str]] = {
    "pages --json --summary": ["pages", "--json", "--summary"],
    "dump --summary": ["dump", "--summary"],
    "check": ["check"],
    "identify": ["identify"],
    "diff": ["diff"],
    "report": ["report"],
}

PLACES = """
import sys
from khotool.decode.open import open_image
opened = open_image(sys.argv[1])
print(hex(opened.tree.value_of("memory_map")))
for node in opened.tree.walk():
    if node.table is not None and node.value_of("first"):
        print(hex(node.value_of("first")), len(node.table))
"""
"""Prints where map and tables of an image are, as khotool sees them."""


@dataclass(frozen=True)
class Row:
    """Medians of one command on one image."""

    command: str
    layout: str
    millions: int
    cpu: float
    ratio: float
    bits: float
    anonymous: int
    peak: int


def run(words: Sequence[str]) -> tuple[float, int, int]:
    """CPU seconds, and peak memory in MiB of a command: what no file backs, and all."""
    null = os.open(os.devnull, os.O_WRONLY)
    child = os.posix_spawnp(
        words[0],
        list(words),
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)],
    )
    anonymous = 0
    while not (ended := os.wait4(child, os.WNOHANG))[0]:
        anonymous = max(anonymous, anonymous_now(child))
        time.sleep(0.01)
    _, status, usage = ended
    os.close(null)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        raise SystemExit(f"{' '.join(words)}: exit code {code}")
    return usage.ru_utime + usage.ru_stime, anonymous >> 10, usage.ru_maxrss >> 10


def anonymous_now(process: int) -> int:
    """KiB of memory of a process that no file backs."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(x.split()[1]) for x in status.splitlines() if x.startswith("RssAnon")), 0)


def reference_words(binary: Path, image: Path) -> list[str]:
    """The reference's command line, found by a process of its own.

    A child's peak memory is never below that of its parent, which therefore stays small.
    """
    found = subprocess.run(
        [sys.executable, "-c", PLACES, str(image)], check=True, capture_output=True, text=True
    )
    return [str(binary), str(image), *found.stdout.split()]


def compiled(folder: Path) -> list[Path]:
    """The references: owner by page, and one bit a page."""
    made = []
    for name, options in (("owners", []), ("bits", ["-DBITS"])):
        made.append(folder / f"reference-{name}")
        command = ["cc", "-O2", "-march=native", *options, "-o", str(made[-1]), str(SOURCE)]
        subprocess.run(command, check=True)
    return made


def measure(folder: Path, millions: int, rounds: int) -> list[Row]:
    """All commands on all layouts of a size."""
    references = compiled(folder)
    rows = []
    for layout in ("runs", "random", "alternate"):
        image = folder / f"{layout}-{millions}.elf"
        if not image.exists():
            pages = (millions << 20) // FILES
            made: list[str] = [
                "-m",
                "tests.benchmarks.layouts",
                str(image),
                layout,
                str(FILES),
                str(pages),
            ]
            subprocess.run([sys.executable, *made], check=True)
        bases = [reference_words(binary, image) for binary in references]
        after = {
            "identify": ["0x40000000"],
            "diff": [str(image)],
            "report": ["-o", str(folder / "report.html")],
        }
        for name, words in COMMANDS.items():
            more = after.get(name, [])
            command = [sys.executable, "-m", "khotool", words[0], str(image), *more, *words[1:]]
            turns = [(run(command), *map(run, bases)) for _ in range(rounds)]
            rows.append(
                Row(
                    name,
                    layout,
                    millions,
                    statistics.median(mine[0] for mine, _, _ in turns),
                    statistics.median(mine[0] / owners[0] for mine, owners, _ in turns),
                    statistics.median(mine[0] / bits[0] for mine, _, bits in turns),
                    max(mine[1] for mine, _, _ in turns),
                    max(mine[2] for mine, _, _ in turns),
                )
            )
            print(line(rows[-1]), flush=True)
    return rows


def line(row: Row) -> str:
    """A row of the table in Markdown."""
    return (
        f"| `{row.command}` | {row.layout} | {row.millions} M | {row.cpu:.2f} | {row.ratio:.1f} "
        f"| {row.bits:.1f} | {row.anonymous} | {row.peak} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--folios", default="1,16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} processors\n")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "khotool"], cwd=ROOT, check=True)
    print("| command | layout | folios | CPU s | to C | to C, bits | anonymous MiB | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    rows = [
        row
        for size in args.folios.split(",")
        for row in measure(args.folder, int(size), args.rounds)
    ]
    if args.plot is not None:
        largest = max(row.millions for row in rows)
        args.plot.write_text(
            bars(
                f"CPU seconds, {largest} M folios",
                [
                    (f"{row.command}, {row.layout}", row.cpu)
                    for row in rows
                    if row.millions == largest
                ],
            )
        )


if __name__ == "__main__":
    main()
