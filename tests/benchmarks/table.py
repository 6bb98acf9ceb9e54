"""One table: commands on large images against a walk in C.

``python -m tests.benchmarks.table FOLDER [--folios 1,16] [--rounds 3] [--plot FILE.svg]`` makes the
images in the folder where they are missing, compiles the reference, and prints CPU seconds, their
ratio to the reference in the same round, and peak memory. Commands and reference alternate, so that
a machine that is busy is so for both.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tests.benchmarks.plot import bars

FILES = 16
SOURCE = Path(__file__).with_name("reference.c")
COMMANDS: dict[str, list[str]] = {
    "pages --json --summary": ["pages", "--json", "--summary"],
    "dump --summary": ["dump", "--summary"],
    "check": ["check"],
    "identify": ["identify"],
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
    peak: int


def run(words: Sequence[str]) -> tuple[float, int]:
    """CPU seconds and peak memory in MiB of a command."""
    null = os.open(os.devnull, os.O_WRONLY)
    child = os.posix_spawnp(
        words[0],
        list(words),
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)],
    )
    _, status, usage = os.wait4(child, 0)
    os.close(null)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        raise SystemExit(f"{' '.join(words)}: exit code {code}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss >> 10


def reference_words(binary: Path, image: Path) -> list[str]:
    """The reference's command line, found by a process of its own.

    A child's peak memory is never below that of its parent, which therefore stays small.
    """
    found = subprocess.run(
        [sys.executable, "-c", PLACES, str(image)], check=True, capture_output=True, text=True
    )
    return [str(binary), str(image), *found.stdout.split()]


def measure(folder: Path, millions: int, rounds: int) -> list[Row]:
    """All commands on all layouts of a size."""
    binary = folder / "reference"
    subprocess.run(["cc", "-O2", "-march=native", "-o", binary, SOURCE], check=True)
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
        base = reference_words(binary, image)
        for name, words in COMMANDS.items():
            more = ["0x40000000"] if name == "identify" else []
            command = [sys.executable, "-m", "khotool", words[0], str(image), *more, *words[1:]]
            pairs = [(run(command), run(base)) for _ in range(rounds)]
            rows.append(
                Row(
                    name,
                    layout,
                    millions,
                    statistics.median(mine[0] for mine, _ in pairs),
                    statistics.median(mine[0] / theirs[0] for mine, theirs in pairs),
                    max(mine[1] for mine, _ in pairs),
                )
            )
            print(line(rows[-1]), flush=True)
    return rows


def line(row: Row) -> str:
    """A row of the table in Markdown."""
    return (
        f"| `{row.command}` | {row.layout} | {row.millions} M | {row.cpu:.2f} | {row.ratio:.1f} "
        f"| {row.peak} |"
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
    print("| command | layout | folios | CPU s | ratio to C | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
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
