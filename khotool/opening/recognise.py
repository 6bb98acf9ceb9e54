"""Tell a model from a capture, without importing what reads either."""

from __future__ import annotations

from pathlib import Path

from khotool.errors import InputError
from khotool.memory.regular import open_regular


def looks_like_model(path: str | Path) -> bool:
    """True for a file that holds JSON or TOML rather than memory."""
    try:
        with open_regular(path) as file:
            head = file.read(4096)
    except (OSError, InputError):
        return False
    if Path(path).suffix in (".toml", ".json"):
        return True
    return head.lstrip()[:1] == b"{" and b"\0" not in head
