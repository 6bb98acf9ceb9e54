"""Read a model file: a full dump or a manifest, and make an image of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from khotool.abi.registry import Registry
from khotool.document.digest import DERIVED, edited
from khotool.document.full import preserved_segments
from khotool.document.payload import read_blobs
from khotool.encode.fresh import Built, Progress, build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.encode.sets import named_set, set_of
from khotool.errors import EncodeError, InputError, UsageError
from khotool.limits import SHORT_ROWS
from khotool.manifest.making import Making
from khotool.manifest.mutate import apply_mutations
from khotool.manifest.read import Manifest
from khotool.memory.regular import read_regular
from khotool.model.image import Span
from khotool.opening.edits import ADVICE, apply_edits
from khotool.records import dataclass, replace
from khotool.structured import Document, StructuredError, read_document

MAX_MODEL = 4 << 30
SCHEMA = "khotool.dump/1"


@dataclass(frozen=True, slots=True)
class Model:
    """A model file.

    Args:
        source: the parsed file, with what it was parsed from.
        is_dump: written by ``dump --json --full``; else a manifest.
    """

    path: Path
    source: Document
    is_dump: bool

    @classmethod
    def of(cls, path: Path, data: dict[str, Any]) -> Model:
        """A model that is parsed already; errors have its keys, but no lines."""
        return cls(path, Document(path.name, data), is_dump(data))

    @property
    def document(self) -> dict[str, Any]:
        """The parsed file; empty where it is not a table."""
        return self.source.data if isinstance(self.source.data, dict) else {}


def read_model(path: str | Path) -> Model:
    """Parse a model file.

    Raises:
        InputError: no such file, or neither JSON nor TOML.
        EncodeError: a dump that was written without --full.
    """
    path = Path(path)
    raw = read_regular(path, limit=MAX_MODEL, advice="name a model that exists")
    is_json = raw.lstrip()[:1] == b"{"
    try:
        # A dump is large, and each of its numbers is checked as it is read.
        source = read_document(
            raw, path.name, is_json=is_json, limit=MAX_MODEL, any_integer=is_json
        )
        if is_json and not is_dump(source.data):
            source = read_document(raw, path.name, is_json=True, limit=MAX_MODEL)
    except StructuredError as error:
        raise InputError(f"{path}: neither JSON nor TOML: {error}") from None
    model = Model(path, source, is_dump(source.data))
    if model.is_dump:
        _check_schema(model)
    return model


def is_dump(data: object) -> bool:
    """True for a parsed document that claims to be a dump."""
    return isinstance(data, dict) and ("schema" in data or "model" in data)


def _check_schema(model: Model) -> None:
    schema = model.document.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise EncodeError(str(model.path), f"schema is {schema!r:.60}, expected {SCHEMA}")
    if "model" not in model.document:
        text = "this dump has no 'model'; write it with khotool dump --json --full"
        raise EncodeError(str(model.path), text)


def build_model(
    model: Model,
    registry: Registry,
    *,
    mode: str | None = None,
    abi: str | None = None,
    blobs: str | None = None,
    memory: Sequence[Span] = (),
    progress: Progress | None = None,
    making: Making | None = None,
    short_rows: int = SHORT_ROWS,
) -> Built:
    """Make an image of a model.

    Args:
        mode: ``preserve`` or ``fresh``; by default what the model can give.
        abi: kernel release or ABI set to write instead of the model's own.
        blobs: folder with the payload of a dump.
        memory: ranges that a fresh layout may use instead of the model's own.
        making: what a manifest may read and have made; by default as its author may.
        short_rows: rows of tables that a dump may give as one value and a count.

    Raises:
        StructuredError: a manifest has mistakes; has file, line and key of all of them.
        EncodeError: a value does not fit; names its path.
        UsageError: a manifest has no addresses to preserve, or ``memory`` without a fresh layout.
    """
    if not model.is_dump:
        making = making or Making.of_author(model.path.parent)
        return _build_manifest(model, registry, mode, abi, memory, progress, making)
    built = preserved(model, registry, blobs, short_rows)
    halves = edited(model.document)
    for key in DERIVED:
        if key in halves:
            raise EncodeError(key, f"follows from other values and cannot be edited; {ADVICE}")
    if halves == {"readable", "regions"}:
        raise EncodeError("model", "both this and the readable part are edited; edit one of them")
    if "readable" in halves:
        built = apply_edits(built, model.document, registry)
    if mode != "fresh" and abi is None:
        if memory:
            raise UsageError("--memory is for a fresh layout; add --mode fresh")
        return built
    image = image_of(built, registry)
    target = named_set(abi, registry) if abi else set_of(image)
    return build_fresh(handover_of(image, memory), target, registry, progress)


def _build_manifest(
    model: Model,
    registry: Registry,
    mode: str | None,
    abi: str | None,
    memory: Sequence[Span],
    progress: Progress | None,
    making: Making,
) -> Built:
    if mode == "preserve":
        raise UsageError(f"{model.path}: a manifest has no addresses to preserve; leave out --mode")
    target = named_set(abi, registry) if abi is not None else None
    source = model.source
    manifest = Manifest(source, making, registry, target)
    handover = manifest.handover()
    if memory:
        handover = replace(handover, memory=list(memory))
    try:
        built = build_fresh(handover, manifest.abi, registry, progress)
    except EncodeError as error:
        raise EncodeError(source.name, str(error)) from None
    return apply_mutations(built, source, registry)


def preserved(model: Model, registry: Registry, blobs: str | None, short_rows: int) -> Built:
    """The image of a dump at its own addresses, see ``preserved_segments``.

    Raises:
        StructuredError: the document is not what ``dump --json --full`` writes.
    """
    source = model.source
    segments, geometry = preserved_segments(source, registry, short_rows)
    folders = [Path(blobs)] if blobs is not None else []
    listed = model.document.get("blobs", {})
    name = listed.get("folder") if isinstance(listed, dict) else None
    if isinstance(name, str):
        folders.append(model.path.parent / Path(name).name)
    inner = source.root.table("model")
    root, machine = inner.get("root"), inner.get("machine")
    built = Built(
        segments=[*segments, *read_blobs(source, folders)],
        root=0 if root is None or root.raw is None else root.integer(),
        geometry=geometry,
        vmcoreinfo=inner.named_texts("vmcoreinfo") or {"PAGESIZE": str(geometry.page_size)},
        machine=None if machine is None or machine.raw is None else machine.text(),
    )
    source.check()
    return built
