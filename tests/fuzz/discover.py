"""The harnesses: every file ``harness_*.py`` of this folder is one, and is found by its name.

A harness has ``one_input(data)``, which returns or raises a declared error whatever the bytes are;
``seeds()``, inputs that it takes; ``KIND``, how they are changed; ``RUNS``, inputs of one round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from khotool.errors import KhotoolError
from tests.fuzz.mutate import KINDS

DECLARED: tuple[type[Exception], ...] = (KhotoolError,)
PREFIX = "harness_"


@dataclass(frozen=True, slots=True)
class Harness:
    """One boundary of the program."""

    name: str
    one_input: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    kind: str
    runs: int


def names() -> list[str]:
    """Every harness, without loading it."""
    files = sorted(Path(__file__).parent.glob(f"{PREFIX}*.py"))
    return [file.stem.removeprefix(PREFIX) for file in files]


@cache
def load(name: str) -> Harness:
    """A harness and its seeds."""
    module = import_module(f"tests.fuzz.{PREFIX}{name}")
    seeds: Callable[[], Iterable[bytes]] = module.seeds
    made = Harness(name, module.one_input, tuple(seeds()), module.KIND, module.RUNS)
    if made.kind not in KINDS or not made.seeds:
        raise ValueError(f"{module.__file__}: KIND is {made.kind!r}; {len(made.seeds)} seeds")
    return made


def harness_of(file: Path) -> str:
    """The harness whose name a regression begins with: the longest, for one may begin another."""
    return max((name for name in names() if file.name.startswith(f"{name}-")), key=len)
