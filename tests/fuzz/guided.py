"""Fuzz guided by coverage, with atheris: ``python -m tests.fuzz.guided``.

Every harness runs in a process of its own that measures which branches of khotool an input takes,
and keeps the inputs that take new ones. Bounded by --runs for each harness, or by --seconds. The
limits of an input, and what is done with one that has a fault, are those of ``tests.fuzz.run``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARE = 4
"""Of the inputs that ``tests.fuzz.run`` gives a harness, one in so many runs here."""
LONGEST = 1 << 16
"""Bytes of an input at most."""

COUNTS = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+)", re.MULTILINE)
"""Where the engine says how far it is: inputs, and branches taken."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 1 if there is a fault, 2 without atheris."""
    options = arguments_parser().parse_args(arguments)
    if find_spec("atheris") is None:
        sys.stderr.write("atheris is not installed; pip install -e '.[fuzz]' has it for x86-64\n")
        return 2
    if options.worker:
        return work(options.harness[0], options)
    chosen = options.harness or harness_names()
    with ThreadPoolExecutor(options.jobs) as pool:
        codes = list(pool.map(lambda name: child(name, options), chosen))
    return 1 if any(codes) else 0


def arguments_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("--harness", action="append", metavar="NAME", help="only this one")
    parser.add_argument(
        "--runs",
        type=int,
        metavar="N",
        help=f"inputs of each harness (one in {SHARE} of those that tests.fuzz.run gives it)",
    )
    parser.add_argument(
        "--seconds", type=int, default=0, metavar="T", help="of each harness, whatever --runs"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the mutations (1)")
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
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def harness_names() -> list[str]:
    """Every harness, without importing what is to be measured."""
    return sorted(
        file.stem.removeprefix("harness_") for file in Path(__file__).parent.glob("harness_*.py")
    )


def child(name: str, options: argparse.Namespace) -> int:
    """One harness in a process; its last lines where it failed."""
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.guided",
        "--worker",
        "--harness",
        name,
        "--seed",
        str(options.seed),
        "--seconds",
        str(options.seconds),
        "--faults",
        str(options.faults.absolute()),
    ]
    command += [] if options.runs is None else ["--runs", str(options.runs)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="khotool-guided-") as folder:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    told = COUNTS.findall(done.stderr)
    runs, covered = told[-1] if told else ("0", "no")
    sys.stdout.write(
        f"{name:12} seed {options.seed:<4} {runs:>6} inputs "
        f"{time.monotonic() - began:6.1f} s, {covered} branches\n"
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-40:])
        sys.stdout.write(f"{tail}\n{name} ended with {done.returncode}\n")
    sys.stdout.flush()
    return done.returncode


def work(name: str, options: argparse.Namespace) -> int:
    """One harness with atheris, which ends the process itself."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["khotool"], enable_loader_override=False):
        run = import_module("tests.fuzz.run")
        harness = import_module("tests.fuzz.discover").load(name)
    attempt = import_module("tests.fuzz.guard").attempt

    def one(data: bytes) -> None:
        if attempt(harness.one_input, data) is not None:
            run.report(name, data, options.faults)
            sys.stderr.flush()
            os._exit(1)

    runs = options.runs if options.runs is not None else max(harness.runs // SHARE, 1)
    bound = f"-max_total_time={options.seconds}" if options.seconds else f"-runs={runs}"
    with tempfile.TemporaryDirectory(prefix="khotool-corpus-") as corpus:
        for number, seed in enumerate(harness.seeds):
            if len(seed) <= LONGEST:
                (Path(corpus) / str(number)).write_bytes(seed)
        options.faults.mkdir(parents=True, exist_ok=True)
        arguments = [
            "fuzz",
            corpus,
            bound,
            f"-seed={options.seed}",
            f"-max_len={LONGEST}",
            "-timeout=60",
            "-rss_limit_mb=4096",
            f"-artifact_prefix={options.faults}/{name}-",
        ]
        atheris.Setup(arguments, one)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
