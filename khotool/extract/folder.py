"""Write all payload below a node to a folder, with a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from khotool.absent import Absent
from khotool.errors import InputError, KhotoolError, UsageError
from khotool.extract.names import Names
from khotool.extract.plan import Plan
from khotool.extract.select import find_payload, payload_plan
from khotool.extract.sparse import Hashing, SparseFile
from khotool.extract.write import Written, write_plan
from khotool.model.image import Image, Node
from khotool.records import dataclass, field
from khotool.view.entries import entries_by_name, regions_of
from khotool.view.folios import folios_of
from khotool.view.luo import Luo

MOST_FILES = 250_000
MOST_ZEROS = 64 << 30
"""Bytes of holes that are hashed in all; files with more have no hash in the manifest."""
MANIFEST = "manifest.json"
Progress = Callable[[str, int, int | None], None]
Ask = Callable[[Image, Node], Plan | None]
"""Gives the payload of a node that its definition does not describe, else None."""
Describe = Callable[[Node], str]
"""Gives what a person should know of a node, for the manifest; empty for nothing."""
Parts = tuple[str, ...]


FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder is opened, and no link to one."""


@dataclass(frozen=True, slots=True)
class Item:
    """One payload and where it goes.

    Args:
        folder: parts of the path below the output folder, as text of the image.
        name: of the file, as text of the image.
    """

    node: Node
    folder: Parts
    name: str


@dataclass(slots=True)
class Folder:
    """What was written: the manifest, and sentences about what was not."""

    manifest: dict[str, Any]
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: Written = field(default_factory=lambda: Written(0))


def items_below(image: Image, node: Node, ask: Ask | None = None) -> Iterator[Item]:
    """Payload below a node: files of sessions, regions, folios of tests, sub-trees."""
    places = _places(image)
    for below in node.walk():
        place = places.get(below)
        if place is not None and _has_payload(image, place, ask):
            yield place


SURE = frozenset({"subtrees", "regions"})
"""Folders of what always has a payload."""


def _has_payload(image: Image, item: Item, ask: Ask | None) -> bool:
    """True if a node has a payload, or a reason why it cannot be given."""
    if item.folder[0] in SURE or folios_of(image, item.node) is not None:
        return True
    try:
        if find_payload(image, item.node) is not None:
            return True
        return ask is not None and ask(image, item.node) is not None
    except InputError:
        return True


def _places(image: Image) -> dict[Node, Item]:
    """Where the payload of each node goes that may have one."""
    luo = Luo(image)
    found = []
    for entry in entries_by_name(image):
        if not isinstance(entry.value, Absent):
            found.append(Item(entry.node, ("subtrees",), entry.name))
    for file in luo.all_files():
        # Before there were sessions, the orchestrator's own tree had the files.
        key = file.session.node.key if file.session is not None else None
        folder = ("files",) if key is None else ("sessions", key)
        found.append(Item(file.node, folder, file.node.key or ""))
    for name, elements in (("subsystems", luo.subsystems), ("regions", regions_of(image))):
        found += [Item(one.node, (name,), one.node.key or "") for one in elements]
    return {item.node: item for item in found}


def write_folder(
    image: Image,
    node: Node,
    output: Path,
    fill: str | None,
    progress: Progress | None = None,
    ask: Ask | None = None,
    describe: Describe | None = None,
) -> Folder:
    """Write everything below a node to a new or empty folder, all or nothing.

    A payload with missing bytes is left out and named in ``failed``, unless ``fill`` is given.

    Raises:
        UsageError: the folder is in use, there is nothing to write, or far too many files.
        KhotoolError: the folder cannot be written.
    """
    items = _bounded(items_below(image, node, ask), node.path)
    target = Path(os.path.realpath(output))
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(f"-o {output}: exists and is not an empty folder; name a new one")
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".khotool-", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise KhotoolError(f"-o {output}: cannot be written: {error.strerror}") from error
    top = -1
    try:
        # The folder that was made is written to, and not what its path may lead to by then.
        top = os.open(work, FOLDER)
        writer = _Writer(image, top, fill, ask, describe)
        for number, item in enumerate(items):
            if progress is not None:
                progress("Extracting files", number, len(items))
            writer.write(item)
        with open(_created(top, MANIFEST), "w", encoding="ascii") as file:
            file.write(manifest_text(writer.result.manifest))
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(top, 0o777 & ~mask)
        os.replace(work, target)
    except OSError as error:
        raise KhotoolError(f"-o {output}: cannot be written: {error.strerror}") from error
    finally:
        if top >= 0:
            os.close(top)
        with contextlib.suppress(OSError):
            shutil.rmtree(work)
    return writer.result


@contextlib.contextmanager
def _below(top: int, parts: Parts) -> Iterator[int]:
    """Descriptor of a folder below another one; a link on the way is an OSError."""
    handle = os.dup(top)
    try:
        for part in parts:
            deeper = os.open(part, FOLDER, dir_fd=handle)
            os.close(handle)
            handle = deeper
        yield handle
    finally:
        os.close(handle)


def _created(folder: int, name: str) -> int:
    """Descriptor of a new file in a folder."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)


def manifest_text(manifest: dict[str, Any]) -> str:
    """The manifest as ``json.dumps`` indents it, which is slow for many files."""
    head, _, tail = json.dumps(manifest | {"files": []}, indent=1).rpartition("[]")
    rows = ",".join(f"\n  {_row_text(row)}" for row in manifest["files"])
    return f"{head}[{rows}\n ]{tail}\n" if rows else f"{head}[]{tail}\n"


def _row_text(row: dict[str, Any]) -> str:
    if any(isinstance(value, list) for value in row.values()):
        return json.dumps(row, indent=1).replace("\n", "\n  ")
    return "{\n   " + json.dumps(row, separators=(",\n   ", ": "))[1:-1] + "\n  }"


def _bounded(found: Iterator[Item], path: str) -> list[Item]:
    items: list[Item] = []
    for item in found:
        items.append(item)
        if len(items) > MOST_FILES:
            raise UsageError(f"{path} has more than {MOST_FILES} files; name a part of it")
    if not items:
        raise UsageError(f"{path} has no payload to write")
    return items


class _Writer:
    """Writes one file after the other, and keeps the manifest."""

    def __init__(
        self, image: Image, top: int, fill: str | None, ask: Ask | None, describe: Describe | None
    ) -> None:
        from khotool.version import version

        self.image, self.top, self.fill = image, top, fill
        self.ask, self.describe = ask, describe
        self.files: list[dict[str, Any]] = []
        self.result = Folder(
            {
                "schema": "khotool.extract/1",
                "khotool": version(),
                "image": image.info.path,
                "files": self.files,
            }
        )
        self.zeros = MOST_ZEROS
        self.folders: dict[Parts, Parts] = {(): ()}
        self.names: dict[Parts, Names] = {(): Names()}
        self.names[()].take(MANIFEST)

    def write(self, item: Item) -> None:
        """Write one file; one that cannot be is named in the manifest and in ``failed``."""
        place = self._folder(item.folder)
        name = self.names.setdefault(place, Names()).take(item.name)
        row: dict[str, Any] = {"path": item.node.path, "file": "/".join((*place, name))}
        note = self.describe(item.node) if self.describe is not None else ""
        if note:
            row["note"] = note
        self.files.append(row)
        try:
            asked = self.ask(self.image, item.node) if self.ask is not None else None
            plan = asked or payload_plan(self.image, item.node)
            done, digest = self._copy(plan, place, name)
        except InputError as error:
            row["error"] = str(error)
            del row["file"]
            self.result.failed.append(str(error))
            return
        row |= {"kind": plan.kind, "size": done.size, "sha256": digest}
        row |= {"data": done.data, "holes": done.holes, "missing": done.missing}
        if done.ranges:
            row["missing_ranges"] = [list(part) for part in done.ranges]
        if plan.notes:
            row["notes"] = plan.notes
            self.result.notes += [f"{plan.path}: {text}" for text in plan.notes]
        self.result.total.add(done)

    def _folder(self, parts: Parts) -> Parts:
        """The folder for text of the image; made where it is not there."""
        for depth in range(1, len(parts) + 1):
            key = parts[:depth]
            if key not in self.folders:
                above = self.folders[key[:-1]]
                name = self.names.setdefault(above, Names()).take(key[-1])
                self.folders[key] = (*above, name)
                with _below(self.top, above) as handle:
                    os.mkdir(name, dir_fd=handle)
        return self.folders[parts]

    def _copy(self, plan: Plan, place: Parts, name: str) -> tuple[Written, str | None]:
        """Write one file: what it was made of, and its SHA-256."""
        with _below(self.top, place) as folder:
            handle = _created(folder, name)
            try:
                sink = Hashing(SparseFile(handle), hashlib.sha256(), self.zeros)
                done = write_plan(plan, self.image.space, sink, self.fill)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
                raise
            finally:
                os.close(handle)
        self.zeros = max(sink.zeros, 0)
        return done, sink.hexdigest()
