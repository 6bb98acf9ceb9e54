"""Run the fuzz harnesses: ``python -m tests.fuzz.run``.

One round gives every harness the same inputs each time: its seeds, then mutations that follow
from --seed. With --seconds there are more rounds, each of another seed, until the time is over;
with --state the next run goes on from there.
An input that raises anything but a declared error, takes more than 5 s or 1 GiB, or ends the
process is made smaller and written to a file, and the exit code is 1. ``tests.fuzz.guided`` gives
the harnesses inputs that coverage finds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.discover import harness_of, load, names
from tests.fuzz.guard import LARGEST, ROOT, attempt, limits, within
from tests.fuzz.minimise import minimise
from tests.fuzz.mutate import input_of
from tests.fuzz.progress import Progress

#: Seconds without a new input after which a harness counts as hanging.
PATIENCE = 600.0
FAULT = 1
REGRESSIONS = "fixtures/regressions"
#: Where a child says which input it runs.
STATE = "state"
#: Inputs that have the limit of memory of the first of them, from what the process holds then.
TOGETHER = 500
#: Faults of one child, each at another place, after which it ends.
MOST_FAULTS = 20


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 1 if there is a fault."""
    options = arguments_parser().parse_args(arguments)
    chosen = options.harness or names()
    if options.input is not None:
        file = Path(options.input)
        name = options.harness[0] if options.harness else harness_of(file)
        return report(name, file.read_bytes(), None)
    if options.worker:
        return work(chosen[0], options)
    end = time.monotonic() + options.seconds
    progress = Progress(options.state, options.seed)
    failed = False
    while True:
        failed |= one_round(chosen, options, progress, end)
        if time.monotonic() >= end:
            sys.stdout.write(f"{progress}\n")
            return FAULT if failed else 0


def arguments_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument(
        "--harness",
        action="append",
        choices=names(),
        metavar="NAME",
        help=f"only this one; there are {', '.join(names())}",
    )
    parser.add_argument("--runs", type=int, metavar="N", help="inputs of each harness in a round")
    parser.add_argument(
        "--times",
        type=int,
        default=1,
        metavar="N",
        help="so many times the inputs in a round (1), and none of the seeds",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the first round (1)")
    parser.add_argument(
        "--seconds", type=float, default=0, metavar="T", help="rounds until then; one round (0)"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at once"
    )
    parser.add_argument(
        "--faults",
        type=Path,
        metavar="DIR",
        help="where inputs with a fault go",
        default=Path(tempfile.gettempdir()) / "khotool-faults",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="where totals are kept; a run with the same file goes on where the last one ended",
    )
    parser.add_argument("--input", metavar="FILE", help="run this input alone")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def one_round(
    chosen: list[str], options: argparse.Namespace, progress: Progress, end: float
) -> bool:
    """Every harness that is left in a process of its own; True if there was a fault.

    Args:
        end: time after which none begins, but for those of a run without --seconds.
    """
    seed = progress.totals.seed

    def one(name: str) -> bool:
        began = time.monotonic()
        if options.seconds and began >= end:
            return False
        code, inputs = watch(name, options, seed)
        progress.add(name, inputs, fault=code != 0, seconds=time.monotonic() - began)
        return code != 0

    with ThreadPoolExecutor(options.jobs) as pool:
        faults = list(pool.map(one, progress.left(chosen)))
    if not progress.left(chosen):
        progress.next_round()
    return any(faults)


def watch(name: str, options: argparse.Namespace, seed: int) -> tuple[int, int]:
    """Run a harness in a child, which may hang or die of an input.

    Returns:
        The exit code, 1 for a fault, and how many inputs were run.
    """
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-", dir=memory_folder()) as folder:
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.run",
            "--worker",
            "--harness",
            name,
            "--seed",
            str(seed),
            "--times",
            str(options.times),
            "--faults",
            str(options.faults.absolute()),
        ]
        command += [] if options.runs is None else ["--runs", str(options.runs)]
        # Whatever a harness leaves behind when it dies goes with this folder.
        child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": folder})
        state = Path(folder) / STATE
        seen, since = "", time.monotonic()
        while True:
            try:
                code = child.wait(1)
                break
            except subprocess.TimeoutExpired:
                now = state.read_text() if state.exists() else ""
                if now != seen:
                    seen, since = now, time.monotonic()
                elif time.monotonic() - since > PATIENCE:
                    child.kill()
                    code = child.wait()
                    break
        done = int(state.read_text() or 0) if state.exists() else 0
        if code in (0, FAULT):
            return code, done
    harness = load(name)
    number = max(done - 1, 0) + (len(harness.seeds) if options.times > 1 else 0)
    data = input_of(name, harness.kind, harness.seeds, seed, number)
    file = keep(options.faults, f"{name}-died-{seed}-{number}", data)
    sys.stderr.write(f"{name}: the process hung or ended with {code} in the bytes of {file}\n")
    return FAULT, done


def memory_folder() -> str | None:
    """A folder in memory, if there is one: on a disk, files are most of the time of a command."""
    folder = "/dev/shm"
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def work(name: str, options: argparse.Namespace) -> int:
    """One round of one harness; 1 if there was a fault, of which each is reported once."""
    harness = load(name)
    runs = (harness.runs if options.runs is None else options.runs) * options.times
    begin = len(harness.seeds) if options.times > 1 else 0
    began = time.monotonic()
    slowest, slowest_at = 0.0, 0
    faults: set[tuple[str, str]] = set()
    state = os.open(Path(tempfile.gettempdir()) / STATE, os.O_WRONLY | os.O_CREAT)
    for first in range(0, runs, TOGETHER):
        with limits():
            for done in range(first + 1, min(first + TOGETHER, runs) + 1):
                number = begin + done - 1
                os.pwrite(state, b"%d" % done, 0)
                data = input_of(name, harness.kind, harness.seeds, options.seed, number)
                before = time.process_time()
                fault = within(harness.one_input, data)
                if fault is not None and len(data) < LARGEST and fault.key not in faults:
                    faults.add(fault.key)
                    # What depends on the inputs before it does not repeat, and is kept as it is.
                    keep(options.faults, f"{name}-{fault.slug}-{options.seed}-{number}", data)
                    report(name, data, options.faults)
                taken = time.process_time() - before
                if taken > slowest:
                    slowest, slowest_at = taken, number
        if len(faults) >= MOST_FAULTS:
            break
    os.close(state)
    elapsed = time.monotonic() - began
    sys.stdout.write(
        f"{name:12} seed {options.seed:<4} {done:6} inputs {elapsed:6.1f} s, "
        f"slowest {slowest * 1000:5.0f} ms (number {slowest_at})\n"
    )
    sys.stdout.flush()
    return FAULT if faults else 0


def report(name: str, data: bytes, folder: Path | None) -> int:
    """Run one input; a fault is told, made smaller and written to a folder."""
    harness = load(name)
    fault = attempt(harness.one_input, data)
    if fault is None:
        return 0
    sys.stderr.write(fault.text)
    if folder is None:
        return FAULT
    key = fault.key

    def fails(candidate: bytes) -> bool:
        found = attempt(harness.one_input, candidate)
        return found is not None and found.key == key

    small = minimise(data, fails)
    file = keep(folder, f"{name}-{fault.slug}", small)
    sys.stderr.write(
        f"{name}: {fault.kind} with the {len(small)} bytes of {file}; fix it, and copy them to "
        f"{REGRESSIONS}/{file.name}, from where a test runs them\n"
    )
    return FAULT


def keep(folder: Path, stem: str, data: bytes) -> Path:
    """Write an input down."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{stem}.bin"
    file.write_bytes(data)
    return file


if __name__ == "__main__":
    sys.exit(main())
