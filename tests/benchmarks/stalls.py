"""How long the TUI lets a key wait: the longest pause of its event loop, by mode and key.

``python -m tests.benchmarks.stalls IMAGE [OTHER] [--presses 10]`` runs the app without a terminal,
presses the keys that move in every mode, and prints the longest pauses. Wall time has what other
programs and the app's own threads take; CPU time is that of the event loop alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass

from khotool.cli.tui import SWITCH
from khotool.tui.app import KhotoolApp

MODES = {
    "1": "explore",
    "2": "findings",
    "3": "pages",
    "4": "diff",
    "5": "formats",
    "6": "verdict",
    "7": "sessions",
}
MOVES = ("down", "up", "pagedown", "pageup", "end", "home", "right", "left", "tab")
MORE = {
    "explore": ("right_curly_bracket", "left_curly_bracket", "enter", "backspace"),
    "pages": ("right_curly_bracket", "left_curly_bracket", "plus", "minus"),
}
TICK = 0.001
MOST = 0.1
"""Seconds that a key may wait."""


@dataclass
class Pause:
    """The longest pause while a key was pressed again and again, in seconds."""

    mode: str
    key: str
    wall: float = 0.0
    cpu: float = 0.0


class Watch:
    """Notes how long the event loop is away."""

    def __init__(self) -> None:
        self.now = Pause("", "opening")
        self.all = [self.now]

    def turn(self, mode: str, key: str) -> None:
        """What follows belongs to this key."""
        self.now = Pause(mode, key)
        self.all.append(self.now)

    async def run(self) -> None:
        """Tick until cancelled."""
        wall, cpu = time.monotonic(), time.thread_time()
        while True:
            await asyncio.sleep(TICK)
            now, used = time.monotonic(), time.thread_time()
            self.now.wall = max(self.now.wall, now - wall - TICK)
            self.now.cpu = max(self.now.cpu, used - cpu)
            wall, cpu = now, used


async def settled(app: KhotoolApp, seconds: float) -> None:
    """Wait until nothing works in the background, or the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.05)
        if not app.jobs and not any(worker.is_running for worker in app.workers):
            return


async def watch(images: list[str], presses: int) -> list[Pause]:
    """Walk through all modes."""
    watcher = Watch()
    app = KhotoolApp(images[0], images[1] if len(images) > 1 else None)
    async with app.run_test(size=(140, 45)) as pilot:
        ticking = asyncio.create_task(watcher.run())
        await settled(app, 120)
        for digit, mode in MODES.items():
            if mode == "diff" and len(images) < 2:
                continue
            watcher.turn(mode, f"{digit} (enter mode)")
            await pilot.press(digit)
            await settled(app, 120)
            for key in (*MOVES, *MORE.get(mode, ())):
                watcher.turn(mode, key)
                for _ in range(presses):
                    await pilot.press(key)
                await settled(app, 30)
            # A dialog that a key has opened is in the way of the next mode.
            await pilot.press("escape")
        ticking.cancel()
    return watcher.all


def main() -> int:
    """Measure and print; 1 where a key waited too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--presses", type=int, default=10)
    args = parser.parse_args()
    sys.setswitchinterval(SWITCH)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CONFIG_HOME"] = folder
        found = asyncio.run(watch(args.images, args.presses))
    print("| mode | key | longest pause, ms | CPU of it, ms |")
    print("| --- | --- | --- | --- |")
    for pause in sorted(found, key=lambda pause: -pause.cpu):
        print(f"| {pause.mode} | {pause.key} | {pause.wall * 1e3:.0f} | {pause.cpu * 1e3:.0f} |")
    return int(any(pause.cpu > MOST for pause in found if pause.mode))


if __name__ == "__main__":
    sys.exit(main())
