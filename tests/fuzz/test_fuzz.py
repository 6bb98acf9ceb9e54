"""A few inputs of every harness, and all that once were faults."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuzz.discover import DECLARED, harness_of, load, names
from tests.fuzz.guard import attempt
from tests.fuzz.mutate import input_of

REGRESSIONS = Path(__file__).parents[2] / "fixtures" / "regressions"
RUNS = 30
SEED = 7_000_000

every_harness = pytest.mark.parametrize("name", names())


@every_harness
def test_mutations_raise_declared_errors_only(name: str) -> None:
    """Valid inputs and mutations of them give a result or a declared error."""
    harness = load(name)
    first = len(harness.seeds)
    for number in range(first, first + RUNS):
        with suppress(*DECLARED):
            harness.one_input(input_of(name, harness.kind, harness.seeds, SEED, number))


@every_harness
def test_a_seed_is_accepted(name: str) -> None:
    """Mutations start from an input that the harness takes to its end."""
    harness = load(name)

    def accepts(data: bytes) -> bool:
        try:
            harness.one_input(data)
        except DECLARED:
            return False
        return True

    assert any(accepts(data) for data in harness.seeds[:20])


@pytest.mark.parametrize("file", sorted(REGRESSIONS.glob("*.bin")), ids=lambda file: file.name)
def test_what_once_was_a_fault(file: Path) -> None:
    """Inputs that raised something else, took too long or too much memory."""
    fault = attempt(load(harness_of(file)).one_input, file.read_bytes())
    assert fault is None, fault.text


@every_harness
def test_inputs_repeat(name: str) -> None:
    """The same seed and number give the same bytes, and another seed gives others."""
    harness = load(name)
    first = len(harness.seeds)

    def made(seed: int) -> list[bytes]:
        return [
            input_of(name, harness.kind, harness.seeds, seed, number)
            for number in range(first, first + 10)
        ]

    assert made(1) == made(1)
    assert made(1) != made(2)
