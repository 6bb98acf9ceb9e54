"""A few inputs of every fuzz target, and all that once were faults."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import DECLARED, TARGETS

REGRESSIONS = Path(__file__).parents[2] / "fixtures" / "regressions"
RUNS = 60


def target_of(file: Path) -> str:
    """The target whose name the file begins with: the longest, for one may begin another."""
    return max((name for name in TARGETS if file.name.startswith(f"{name}-")), key=len)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_raise_declared_errors_only(name: str) -> None:
    """Valid inputs and mutations of them give a result or a declared error."""
    rng = random.Random(f"test {name}")
    for _ in range(RUNS):
        with suppress(*DECLARED):
            TARGETS[name](mutate(rng, name, seeds(name)))


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_accepted(name: str) -> None:
    """Mutations start from an input that the target takes to its end."""

    def accepts(data: bytes) -> bool:
        try:
            TARGETS[name](data)
        except DECLARED:
            return False
        return True

    assert any(accepts(data) for data in seeds(name)[:20])


@pytest.mark.parametrize("file", sorted(REGRESSIONS.glob("*.bin")), ids=lambda file: file.name)
def test_what_once_was_a_fault(file: Path) -> None:
    """Inputs that raised something else, took too long or too much memory."""
    with suppress(*DECLARED):
        TARGETS[target_of(file)](file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_repeat(name: str) -> None:
    """The same seed gives the same inputs."""
    first, second = random.Random("x"), random.Random("x")
    for _ in range(10):
        assert mutate(first, name, seeds(name)) == mutate(second, name, seeds(name))
