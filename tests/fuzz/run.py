"""Run the fuzz targets: ``python -m tests.fuzz.run``.

Inputs are seeded random mutations: the same seed gives the same inputs, within the time given.
``--atheris`` lets coverage guide them, where atheris is installed. The first input that raises
anything but a declared error is written to a file, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import FrameType

from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import DECLARED, TARGETS, Target

#: Address space in bytes: maps of files and stacks of threads count, though they hold little.
MEMORY = 4 << 30
INPUT_SECONDS = 5
DEFAULT_SECONDS = 80


class TooSlow(BaseException):
    """An input takes longer than it may; no handler of exceptions of the program catches it."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 1 if there is a fault."""
    options = arguments_parser().parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if options.input is not None:
        if options.target is None:
            sys.stderr.write("--input needs --target\n")
            return 2
        with open(options.input, "rb") as file:
            return 0 if attempt(options.target[0], TARGETS[options.target[0]], file.read()) else 1
    names = options.target or list(TARGETS)
    if options.atheris:
        if len(names) != 1 or find_spec("atheris") is None:
            sys.stderr.write("--atheris takes one --target, and atheris installed\n")
            return 2
        return guided(names[0], options)
    share = options.seconds / len(names)
    for name in names:
        if not plain(name, options.runs, options.seed, share):
            return 1
    return 0


def arguments_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="inputs of each target")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the mutations")
    parser.add_argument(
        "--target", action="append", choices=list(TARGETS), metavar="NAME",
        help=f"only this one; there are {', '.join(TARGETS)}",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=DEFAULT_SECONDS, metavar="T",
        help=f"for all targets together ({DEFAULT_SECONDS})",
    )  # fmt: skip
    parser.add_argument("--input", metavar="FILE", help="run --target with this input alone")
    parser.add_argument(
        "--atheris", action="store_true", help="guided by coverage: one --target, until --seconds"
    )
    parser.epilog = "atheris is " + ("" if find_spec("atheris") else "not ") + "installed"
    return parser


def plain(name: str, runs: int, seed: int, seconds: float) -> bool:
    """Seeds, then mutations of them; False at the first fault."""
    target, starts = TARGETS[name], seeds(name)
    rng = random.Random(f"{seed} {name}")
    began = time.monotonic()
    done = 0
    for number in range(runs):
        data = starts[number] if number < len(starts) else mutate(rng, name, starts)
        if not attempt(name, target, data):
            return False
        done += 1
        if time.monotonic() - began > seconds:
            break
    elapsed = time.monotonic() - began
    sys.stdout.write(f"{name:20} {done:8} runs {done / max(elapsed, 1e-9):10.0f}/s\n")
    sys.stdout.flush()
    return True


def attempt(name: str, target: Target, data: bytes) -> bool:
    """Run one input; False after a fault, which is written down."""
    previous = signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(INPUT_SECONDS)
    try:
        target(data)
    except DECLARED:
        return True
    except (Exception, TooSlow):
        signal.alarm(0)
        with tempfile.NamedTemporaryFile(prefix=f"{name}-", suffix=".bin", delete=False) as file:
            file.write(data)
        traceback.print_exc()
        sys.stderr.write(f"{name}: fault with the {len(data)} bytes of {file.name}\n")
        return False
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    return True


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow(f"more than {INPUT_SECONDS} s for one input")


def guided(name: str, options: argparse.Namespace) -> int:
    """Hours of one target with atheris, which ends the process itself."""
    atheris = import_module("atheris")

    instrument: Callable[[], None] = atheris.instrument_all
    instrument()

    def one(data: bytes) -> None:
        if not attempt(name, TARGETS[name], data):
            raise SystemExit(1)

    with tempfile.TemporaryDirectory(prefix="khotool-corpus-") as corpus:
        for number, seed in enumerate(seeds(name)):
            with open(f"{corpus}/{number}", "wb") as file:
                file.write(seed)
        atheris.Setup(
            [
                "fuzz", corpus, f"-max_total_time={int(options.seconds)}", f"-seed={options.seed}",
                "-rss_limit_mb=0", "-max_len=1000000",
            ],
            one,
        )  # fmt: skip
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
