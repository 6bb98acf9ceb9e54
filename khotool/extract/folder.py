"""Write all payload below a node to a folder, with a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from khotool.absent import Absent
from khotool.errors import InputError, KhotoolError, UsageError
from khotool.extract.memfd import contents_of
from khotool.extract.names import Names
from khotool.extract.plan import Plan
from khotool.extract.select import has_block, has_range, is_empty, payload_plan
from khotool.extract.sparse import Hashing, SparseFile
from khotool.extract.write import Written, write_plan
from khotool.model.image import Image, Node, NodeKind

MOST_FILES = 100_000
MOST_ZEROS = 64 << 30
"""Bytes of holes that are hashed in all; files with more have no hash in the manifest."""
Progress = Callable[[str, int, int | None], None]
Ask = Callable[[Image, Node], Plan | None]
"""Gives the payload of a node that its definition does not tell, else None."""


@dataclass(slots=True)
class Item:
    """One payload and where it goes.

    Args:
        folder: parts of the path below the output folder, as text of the image.
        name: of the file, as text of the image.
    """

    node: Node
    folder: tuple[str, ...]
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
    for below in node.walk():
        if below.kind is NodeKind.ENTRY and not isinstance(below.value, Absent):
            yield Item(below, ("subtrees",), below.name)
        if below.key is None or below.name or below.parent is None:
            continue
        session = below.parent.parent
        if below.parent.name == "files" and session is not None:
            # Before there were sessions, files stood in the orchestrator's own tree.
            folder = ("files",) if session.key is None else ("sessions", session.key)
            held = contents_of(below) or has_range(below) or is_empty(below)
            if held or _answers(ask, image, below):
                yield Item(below, folder, below.key)
        elif below.parent.name == "subsystems" and has_block(below):
            yield Item(below, ("subsystems",), below.key)
        elif below.parent.name == "regions":
            yield Item(below, ("regions",), below.key)


def _answers(ask: Ask | None, image: Image, node: Node) -> bool:
    """True if a handler has a payload, or a reason why it cannot be given."""
    try:
        return ask is not None and ask(image, node) is not None
    except InputError:
        return True


def write_folder(
    image: Image,
    node: Node,
    output: Path,
    fill: str | None,
    progress: Progress | None = None,
    ask: Ask | None = None,
) -> Folder:
    """Write everything below a node to a new or empty folder, all or nothing.

    A payload with missing bytes is left out and named in ``failed``, unless ``fill`` is given.

    Raises:
        UsageError: the folder is in use, there is nothing to write, or far too many files.
        KhotoolError: the folder cannot be written.
    """
    items: list[Item] = []
    for item in items_below(image, node, ask):
        items.append(item)
        if len(items) > MOST_FILES:
            raise UsageError(f"{node.path} has more than {MOST_FILES} files; name a part of it")
    if not items:
        raise UsageError(f"{node.path} has no payload to write")
    target = Path(os.path.realpath(output))
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(f"-o {output}: exists and is not an empty folder; name another")
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".khotool-", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise KhotoolError(f"-o {output}: cannot be written: {error.strerror}") from error
    try:
        result = _fill_folder(image, items, work, fill, progress, ask)
        text = json.dumps(result.manifest, indent=1, ensure_ascii=True) + "\n"
        (work / "manifest.json").write_text(text, "ascii")
        mask = os.umask(0)
        os.umask(mask)
        work.chmod(0o777 & ~mask)
        os.replace(work, target)
    except OSError as error:
        raise KhotoolError(f"-o {output}: cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(work)
    return result


def _fill_folder(
    image: Image,
    items: list[Item],
    work: Path,
    fill: str | None,
    progress: Progress | None,
    ask: Ask | None,
) -> Folder:
    from khotool.version import version

    files: list[dict[str, Any]] = []
    result = Folder(
        {
            "schema": "khotool.extract/1",
            "khotool": version(),
            "image": image.info.path,
            "files": files,
        }
    )
    names: dict[tuple[str, ...], Names] = {}
    zeros = MOST_ZEROS
    folders: dict[tuple[str, ...], tuple[str, ...]] = {(): ()}
    # The manifest's own name is taken.
    names.setdefault((), Names()).take("manifest.json")
    for number, item in enumerate(items):
        if progress is not None:
            progress("Extracting files", number, len(items))
        for depth in range(1, len(item.folder) + 1):
            key = item.folder[:depth]
            if key not in folders:
                above = folders[key[:-1]]
                folders[key] = (*above, names.setdefault(above, Names()).take(key[-1]))
                work.joinpath(*folders[key]).mkdir()
        place = folders[item.folder]
        name = names.setdefault(place, Names()).take(item.name)
        row: dict[str, Any] = {"path": item.node.path, "file": "/".join((*place, name))}
        if item.node.note:
            row["note"] = item.node.note
        try:
            told = ask(image, item.node) if ask is not None else None
            plan = told or payload_plan(image, item.node)
            path = work.joinpath(*place, name)
            done, digest, zeros = _write_one(image, plan, path, fill, zeros)
        except InputError as error:
            row["error"] = str(error)
            del row["file"]
            result.failed.append(str(error))
            files.append(row)
            continue
        row |= {"kind": plan.kind, "size": done.size, "sha256": digest}
        row |= {"data": done.data, "holes": done.holes, "missing": done.missing}
        if done.ranges:
            row["missing_ranges"] = [list(part) for part in done.ranges]
        if plan.notes:
            row["notes"] = plan.notes
            result.notes += [f"{plan.path}: {text}" for text in plan.notes]
        files.append(row)
        total = result.total
        total.size, total.data = total.size + done.size, total.data + done.data
        total.holes, total.missing = total.holes + done.holes, total.missing + done.missing
    return result


def _write_one(
    image: Image, plan: Plan, path: Path, fill: str | None, zeros: int
) -> tuple[Written, str | None, int]:
    """Write one file; what it was made of, its SHA-256, and the zeros that may still be hashed."""
    try:
        with path.open("xb") as file:
            sink = Hashing(SparseFile(file.fileno()), hashlib.sha256(), zeros)
            done = write_plan(plan, image.space, sink, fill)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return done, sink.hexdigest(), max(sink.zeros, 0)
