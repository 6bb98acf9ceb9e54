"""The repository as the contract tests see it."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IGNORED = {
    ".git",
    ".venv",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    "__pycache__",
    "build",
    "dist",
}


@cache
def files() -> tuple[Path, ...]:
    """Files that belong to the project: what git knows or would add; all but caches without git."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        if listed.returncode == 0:
            paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
            return tuple(sorted(path for path in paths if path.is_file()))
    return tuple(
        sorted(
            path
            for path in ROOT.rglob("*")
            if path.is_file()
            and not IGNORED & set(path.relative_to(ROOT).parts)
            and not any(part.endswith(".egg-info") for part in path.parts)
        )
    )


def texts() -> list[tuple[str, str]]:
    """Name relative to the repository, and contents, of every text file."""
    found = []
    for path in files():
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        try:
            found.append((path.relative_to(ROOT).as_posix(), data.decode()))
        except UnicodeDecodeError:
            continue
    return found


def modules() -> list[Path]:
    """The program's modules."""
    return sorted((ROOT / "khotool").rglob("*.py"))
