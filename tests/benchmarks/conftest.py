"""A table of all ratios behind the last benchmark."""

from __future__ import annotations

import pytest

from tests.benchmarks.measure import Results

RESULTS = pytest.StashKey[Results]()


@pytest.fixture
def results(request: pytest.FixtureRequest) -> Results:
    """Where a benchmark leaves its numbers."""
    stash = request.config.stash
    if RESULTS not in stash:
        stash[RESULTS] = Results()
    return stash[RESULTS]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table."""
    results = config.stash.get(RESULTS, None)
    if results is not None and results.rows:
        terminalreporter.section("benchmarks")
        for line in results.table():
            terminalreporter.write_line(line)
