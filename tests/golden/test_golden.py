"""Transcripts: each ``$ khotool ...`` line is run, and what it prints is what the file says.

A file holds comments (``#``), commands, and behind each command its stdout, then its stderr with
``! `` in front, then ``[exit CODE]``. The program's version stands as VERSION.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from khotool.cli.main import main
from khotool.version import version
from tests.schemas import validate_output

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted(HERE.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
    request: pytest.FixtureRequest,
) -> None:
    """Every command of a transcript prints what the transcript holds, byte for byte."""
    monkeypatch.chdir(ROOT)
    for name in ("NO_COLOR", "FORCE_COLOR", "KHOTOOL_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    expected = path.read_text(encoding="utf-8")
    made = []
    for line in expected.splitlines():
        if line.startswith("# "):
            made.append(f"{line}\n")
        elif line.startswith("$ khotool "):
            made.append(run(line, capsysbinary))
    found = "".join(made)
    if request.config.getoption("--update-golden", default=False):
        path.write_text(found, encoding="utf-8")
    assert found == expected


def run(line: str, capture: pytest.CaptureFixture[bytes]) -> str:
    code = main(shlex.split(line)[2:])
    out, err = capture.readouterr()
    validate_output(out.decode())
    text = out.decode().replace(f'"khotool": "{version()}"', '"khotool": "VERSION"')
    notes = "".join(f"! {note}\n" for note in err.decode().splitlines())
    return f"{line}\n{text}{notes}[exit {code}]\n"
