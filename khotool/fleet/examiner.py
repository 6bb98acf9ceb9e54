"""A process that examines images, one after another, and may die of one of them.

``Examiner`` is the side of the caller; ``python -m khotool.fleet.examiner`` is the process. They
exchange lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from khotool.fleet.examine import examine, failed
from khotool.fleet.inputs import Item
from khotool.fleet.settings import Settings
from khotool.fleet.tables import Rows
from khotool.records import dataclass

MAX_ANSWER = 256 << 20
"""Bytes of one image's rows that are kept."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What became of one image.

    Args:
        image: its name.
        rows: by table; None where the image is as it was in an earlier scan.
    """

    image: str
    rows: Rows | None


class Examiner:
    """Examines images in a child process; a new one takes over when it dies or takes too long."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.child: subprocess.Popen[bytes] | None = None
        self.pending = b""
        self.stopped = False

    def examine(self, item: Item, known: str | None = None) -> Examined:
        """Rows of one image; of one that cannot be examined, a row with its error.

        Args:
            known: its digest in an earlier scan with the same settings.
        """
        if item.error:
            return Examined(item.name, failed(item, "unreadable", item.error, self.settings))
        begin = time.monotonic()
        child = self._running()
        assert child.stdin is not None
        request = {"item": asdict(item), "settings": asdict(self.settings), "known": known}
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            answer = self._answer(child, begin + self.settings.seconds)
        except (OSError, ValueError):
            answer = None
        if answer is not None:
            return Examined(item.name, answer["rows"])
        seconds = time.monotonic() - begin
        kind, error = self._why(child, seconds)
        self.close()
        rows = failed(item, kind, error, self.settings, seconds=seconds)
        return Examined(item.name, rows)

    def stop(self) -> None:
        """End the process from another thread; ``examine`` returns, and starts no other one."""
        self.stopped = True
        if (child := self.child) is not None:
            child.kill()

    def close(self) -> None:
        """End the process."""
        child, self.child, self.pending = self.child, None, b""
        if child is None:
            return
        child.kill()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        child.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self.child is None or self.child.poll() is not None:
            self.close()
            self.child = subprocess.Popen(
                [sys.executable, "-m", "khotool.fleet.examiner", str(self.settings.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                # A Ctrl-C at the terminal is for the scan, which ends its examiners itself.
                start_new_session=True,
            )
            if self.stopped:
                self.child.kill()
        return self.child

    def _answer(self, child: subprocess.Popen[bytes], deadline: float) -> dict[str, Any] | None:
        """The next line of the child as JSON; None if it takes too long, or there is none."""
        assert child.stdout is not None
        parts = [self.pending]
        while not parts[-1].endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([child.stdout], [], [], left)[0]:
                return None
            data = os.read(child.stdout.fileno(), 1 << 20)
            if not data:
                return None
            parts.append(data)
        self.pending = b""
        found: dict[str, Any] = json.loads(b"".join(parts))
        return found

    def _why(self, child: subprocess.Popen[bytes], seconds: float) -> tuple[str, str]:
        """Kind and text of the error of an image that ended its process, or took too long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Its last word may come before its end.
            code = child.wait(0.2)
            if code == -signal.SIGKILL:
                return "memory", "the system ended the process that decoded it; give it more memory"
            if code < 0:
                return (
                    "crash",
                    f"the process that decoded it ended with {signal.Signals(-code).name}",
                )
            return "crash", f"the process that decoded it ended with exit code {code}"
        return "time", f"stopped after {seconds:.0f} s; raise with --limit seconds=N"


def serve(memory: int) -> None:
    """The child's side: a request a line, an answer a line, until stdin ends."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    out = os.fdopen(os.dup(1), "wb")
    # Whatever prints by mistake must not get between the answers.
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        settings = request["settings"]
        for name in ("kernels", "formats"):
            settings[name] = tuple(settings[name])
        item, wanted = Item(**request["item"]), Settings(**settings)
        answer = json.dumps({"rows": examine(item, wanted, request["known"])}).encode()
        if len(answer) > MAX_ANSWER:
            text = f"its rows have {len(answer)} bytes, more than {MAX_ANSWER}"
            answer = json.dumps({"rows": failed(item, "memory", text, wanted)}).encode()
        out.write(answer + b"\n")
        out.flush()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
