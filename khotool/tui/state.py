"""What is kept between runs: bookmarks per image, recent images."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from khotool.errors import KhotoolError
from khotool.memory.atomic import replacing
from khotool.model.image import Image
from khotool.records import dataclass

MAX_RECENT = 20
_SAMPLE = 1 << 16


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A place with a note.

    Args:
        path: path in the model, empty for bytes alone.
        address: physical address in bytes, or None.
    """

    path: str
    address: int | None
    note: str = ""


def folder(variable: str, default: str) -> Path:
    """A folder of khotool's below an XDG base directory."""
    base = os.environ.get(variable, "")
    root = Path(base) if os.path.isabs(base) else Path.home() / default
    return root / "khotool"


def state_folder() -> Path:
    """Where bookmarks and recent images are kept."""
    return folder("XDG_STATE_HOME", ".local/state")


def config_folder() -> Path:
    """Where ``config.toml`` is."""
    return folder("XDG_CONFIG_HOME", ".config")


def image_digest(image: Image) -> str:
    """A name for an image by what is in it: root, owners' paths, and the first bytes of regions."""
    digest = hashlib.sha256()
    digest.update(repr(image.tree.span).encode())
    for region in image.regions[:256]:
        digest.update(region.path.encode("utf-8", "surrogatepass"))
        for address, size in region.extents():
            digest.update(f"{address:x}+{size:x};".encode())
            for _, view, _ in image.space.known(address, min(size, _SAMPLE)):
                if view is not None:
                    digest.update(view)
            break
    return digest.hexdigest()[:32]


def load_bookmarks(digest: str) -> list[Bookmark]:
    """Bookmarks of an image; none where the file is missing or is not readable."""
    found = _load(state_folder() / "bookmarks" / f"{digest}.json")
    marks = []
    for item in found if isinstance(found, list) else []:
        if isinstance(item, dict) and isinstance(item.get("path"), str):
            address = item.get("address")
            note = item.get("note", "")
            marks.append(
                Bookmark(item["path"], address if isinstance(address, int) else None, str(note))
            )
    return marks


def save_bookmarks(digest: str, marks: list[Bookmark]) -> bool:
    """Keep bookmarks; False where the folder cannot be written."""
    place = state_folder() / "bookmarks" / f"{digest}.json"
    return _save(place, [asdict(mark) for mark in marks])


def load_place(digest: str) -> str:
    """The path where an image was left; empty for none."""
    found = _load(state_folder() / "places" / f"{digest}.json")
    return found if isinstance(found, str) else ""


def save_place(digest: str, path: str) -> None:
    """Keep the path where an image is left."""
    if path != load_place(digest):
        _save(state_folder() / "places" / f"{digest}.json", path)


def load_recent() -> list[str]:
    """Files opened before, the latest first."""
    found = _load(state_folder() / "recent.json")
    return [str(item) for item in found][:MAX_RECENT] if isinstance(found, list) else []


def add_recent(path: str) -> None:
    """Note that a file was opened."""
    full = os.path.abspath(path)
    kept = [full, *(item for item in load_recent() if item != full)]
    _save(state_folder() / "recent.json", kept[:MAX_RECENT])


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _save(path: Path, document: object) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(json.dumps(document, indent=1).encode("utf-8", "backslashreplace"))
    except (OSError, KhotoolError):
        return False
    return True
