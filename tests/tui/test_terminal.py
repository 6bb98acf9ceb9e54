"""The program in a real terminal: tmux types, and the screen is read back."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.conftest import CAPTURE

TMUX = shutil.which("tmux")
pytestmark = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
PATIENCE = 20.0
"""Seconds until a screen must have come."""


class Terminal:
    """A tmux server of its own with one pane."""

    def __init__(self, socket: Path, size: tuple[int, int]) -> None:
        self.socket = str(socket)
        self.size = size

    def tmux(self, *args: str) -> str:
        assert TMUX is not None
        done = subprocess.run(
            [TMUX, "-S", self.socket, "-f", "/dev/null", *args],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        return done.stdout

    def start(self, command: str) -> None:
        width, height = self.size
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height), command)

    def wait_for_not(self, text: str) -> None:
        """Wait until a text is gone."""
        self.wait_for(text, gone=True)

    def wait_for(self, text: str, *, gone: bool = False) -> str:
        """The screen once it holds a text, or no longer does."""
        limit = time.monotonic() + PATIENCE
        screen = ""
        while time.monotonic() < limit:
            screen = self.tmux("capture-pane", "-p")
            if (text in screen) is not gone:
                return screen
            time.sleep(0.05)
        raise AssertionError(f"no {text!r} on the screen:\n{screen}")


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    socket = Path("/tmp") / f"khotool-{uuid.uuid4().hex[:8]}"
    made = Terminal(socket, getattr(request, "param", (100, 30)))
    yield made
    subprocess.run([str(TMUX), "-S", str(socket), "kill-server"], check=False, capture_output=True)
    socket.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("terminal", "color"),
    [((80, 24), "NO_COLOR=1 "), ((120, 36), "")],
    indirect=["terminal"],
    ids=["80x24-no-colour", "120x36-colour"],
)
def test_in_a_terminal(terminal: Terminal, color: str, tmp_path: Path) -> None:
    """Start, move, go to a path, follow, show help, quit; the terminal is left as it was."""
    khotool = f"{sys.executable} -m khotool tui {CAPTURE}"
    program = f"env -u COLUMNS -u LINES {color}XDG_STATE_HOME={tmp_path} {khotool}"
    terminal.start(f"sh -c '{program}; echo exit $?; exec sh'")
    screen = terminal.wait_for("KHO root")
    assert "image.elf.xz" in screen
    terminal.wait_for("no finding")
    terminal.tmux("send-keys", "g")
    terminal.wait_for("Go to")
    terminal.tmux("send-keys", "-l", "vm-alpha]/files[0x1]/data")
    terminal.wait_for("0xc66000")
    terminal.tmux("send-keys", "Enter")
    terminal.wait_for_not("Go to")
    terminal.tmux("send-keys", "Enter")
    terminal.wait_for("/LUO/sessions[vm-alpha]/files[0x1]/data/pos")
    terminal.tmux("send-keys", "BSpace")
    terminal.wait_for("read by handler")
    terminal.tmux("send-keys", "?")
    terminal.wait_for("Keys of Explore")
    terminal.tmux("send-keys", "Escape")
    # An escape with a key right behind it would be alt and that key.
    terminal.wait_for_not("Keys of Explore")
    terminal.tmux("send-keys", "3")
    terminal.wait_for("Physical memory")
    terminal.tmux("send-keys", "q")
    assert "exit 0" in terminal.wait_for("exit")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_asked_to_end(
    terminal: Terminal, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """TERM and HUP give the terminal back, and end with the code of their number."""
    script = tmp_path / "run"
    script.write_text(
        f"echo $$ > {tmp_path}/pid\n"
        f"XDG_STATE_HOME={tmp_path} exec {sys.executable} -m khotool tui {CAPTURE}\n"
    )
    terminal.start(f"sh -c 'echo before; sh {script}; echo code $?; exec sh'")
    terminal.wait_for("no finding")
    os.kill(int((tmp_path / "pid").read_text()), number)
    assert "before" in terminal.wait_for(f"code {code}")


def test_terminal_goes_away(tmp_path: Path) -> None:
    """A terminal that is gone, without a signal, ends the program; it does not spin for ever."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "khotool", "tui", str(CAPTURE)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm-256color"},
    )
    os.close(theirs)
    try:
        seen, limit = b"", time.monotonic() + PATIENCE
        while b"KHO root" not in seen and time.monotonic() < limit:
            seen += os.read(ours, 1 << 16)
        os.close(ours)
        assert child.wait(PATIENCE) == 129
    finally:
        child.kill()
        child.wait()


def test_no_terminal() -> None:
    """Without a terminal the command says so, and what to use."""
    done = subprocess.run(
        [sys.executable, "-m", "khotool", "tui", str(CAPTURE)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=20,
    )
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
