"""How far a long run is: counts that survive its end, in a file that the next run goes on from."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Totals:
    """What was done.

    Args:
        seed: of the round that is under way.
        done: harnesses that have finished it.
        inputs: by harness, of all rounds.
        faults: by harness, rounds that a fault ended.
        seconds: of the harnesses' processes, on the clock.
    """

    seed: int = 1
    done: list[str] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Progress:
    """Totals that are written down after every harness of every round."""

    def __init__(self, file: Path | None, seed: int) -> None:
        """Go on from a file; begin with a seed where there is none."""
        self.file = file
        self.totals = Totals(seed=seed)
        self._lock = threading.Lock()
        if file is not None and file.exists():
            self.totals = Totals(**json.loads(file.read_text(encoding="utf-8")))

    def left(self, names: list[str]) -> list[str]:
        """Harnesses that have not finished the round under way."""
        return [name for name in names if name not in self.totals.done]

    def add(self, name: str, inputs: int, *, fault: bool, seconds: float) -> None:
        """A harness has finished its part of the round."""
        with self._lock:
            now = self.totals
            now.done.append(name)
            now.inputs[name] = now.inputs.get(name, 0) + inputs
            now.seconds += seconds
            if fault:
                now.faults[name] = now.faults.get(name, 0) + 1
            self._write()

    def next_round(self) -> None:
        """All harnesses have finished the round."""
        with self._lock:
            self.totals.seed += 1
            self.totals.done.clear()
            self._write()

    def _write(self) -> None:
        if self.file is None:
            return
        part = self.file.with_name(f"{self.file.name}.part")
        part.write_text(json.dumps(asdict(self.totals), indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.file)

    def __str__(self) -> str:
        now = self.totals
        return (
            f"{sum(now.inputs.values())} inputs of {len(now.inputs)} harnesses, "
            f"{sum(now.faults.values())} faults, {now.seconds / 3600:.1f} h of processes"
        )
