"""Times against a reference in the same run, so that a slow machine changes both."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Results:
    """Rows of the table: what, its seconds, the reference's seconds, the largest fair ratio."""

    rows: list[tuple[str, float, str, float, float]] = field(default_factory=list)

    def add(self, what: str, seconds: float, reference: str, base: float, limit: float) -> None:
        """Record a ratio, and fail where it is over its limit."""
        self.rows.append((what, seconds, reference, base, limit))
        ratio = seconds / base
        assert ratio <= limit, f"{what}: {ratio:.2f} times {reference}, at most {limit:g}"

    def table(self) -> list[str]:
        """The rows as text."""
        lines = [f"{'what':<44}{'ms':>10}  {'reference':<34}{'ms':>10}{'ratio':>9}{'limit':>8}"]
        for what, seconds, reference, base, limit in self.rows:
            lines.append(
                f"{what:<44}{seconds * 1e3:>10.2f}  {reference:<34}{base * 1e3:>10.2f}"
                f"{seconds / base:>9.2f}{limit:>8g}"
            )
        return lines


def best(work: Callable[[], object], rounds: int = 7) -> float:
    """Shortest time of several, in seconds."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def child_cpu(*words: str, rounds: int = 7) -> float:
    """Least CPU time of an interpreter with these arguments, in seconds."""
    times = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)
