"""What each of many small files costs, by command.

``python -m tests.benchmarks.many FOLDER [--sets 10000x1,100x100]`` makes the images in the folder
where they are missing: sessions x files in each, memfds of three pages whose contents are
captured. It prints CPU milliseconds a file, without what an image of one file costs, and KiB a
file of peak memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.measure import ROOT
from tests.benchmarks.table import run

PAGES = 3
COMMANDS: dict[str, list[str]] = {
    "encode": ["encode", "{manifest}", "-o", "{out}"],
    "dump": ["dump", "{image}"],
    "dump --json": ["dump", "--json", "{image}"],
    "dump --json --full": ["dump", "--json", "--full", "{image}"],
    "check": ["check", "{image}"],
    "diff": ["diff", "{image}", "{image}"],
    "identify": ["identify", "{image}", "0x40000000"],
    "report": ["report", "{image}", "-o", "{out}"],
    "pack": ["pack", "{image}", "-o", "{out}"],
    "extract --all": ["extract", "--all", "{image}", "-o", "{out}"],
}
"""Both images of ``diff`` are the same; what it costs is divided by the files of one."""


def made(folder: Path, sessions: int, files: int) -> Path:
    """An image with as many files in each of as many sessions."""
    image = folder / f"many-{sessions}x{files}.elf"
    if not image.exists():
        contents = {"size": 4096 * PAGES, "contents": {"pattern": "page"}}
        listed = [{"token": token, **contents} for token in range(1, files + 1)]
        names = [{"name": f"s-{number}", "file": listed} for number in range(sessions)]
        manifest = image.with_suffix(".json")
        manifest.write_text(json.dumps({"abi": "7.3", "session": names}))
        command = [sys.executable, "-m", "khotool", "encode", str(manifest), "-o", str(image)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return image


def cost(name: str, image: Path) -> tuple[float, int]:
    """CPU seconds and peak memory in MiB of a command."""
    out = image.with_suffix(".out")
    places = {"manifest": image.with_suffix(".json"), "image": image, "out": out}
    words = [word.format(**places) for word in COMMANDS[name]]
    seconds, _, peak = run([sys.executable, "-m", "khotool", *words])
    shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
    return seconds, peak


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default="1000x1,10000x1,10x1000")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "khotool"], cwd=ROOT, check=True)
    one = made(args.folder, 1, 1)
    print("| command | sessions | files in each | ms a file | KiB a file |")
    print("| --- | --- | --- | --- | --- |")
    for name in args.commands.split(","):
        start, least = cost(name, one)
        for words in args.sets.split(","):
            sessions, files = map(int, words.split("x"))
            seconds, peak = cost(name, made(args.folder, sessions, files))
            each = (seconds - start) / (sessions * files) * 1e3
            grown = ((peak - least) << 10) / (sessions * files)
            print(f"| `{name}` | {sessions} | {files} | {each:.3f} | {grown:.1f} |", flush=True)


if __name__ == "__main__":
    main()
