"""Read a model file: a full dump or a manifest, and make an image of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from khotool.abi.registry import Registry
from khotool.abi.toml import read_toml, refuse_huge_numbers
from khotool.document.full import preserved_segments
from khotool.document.json_input import word
from khotool.document.payload import read_blobs
from khotool.encode.fresh import Built, Progress, build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.encode.sets import named_set, set_of
from khotool.errors import EncodeError, InputError, UsageError
from khotool.fixture.mutate import apply_mutations
from khotool.manifest.read import Manifest

MAX_MODEL = 4 << 30
SCHEMA = "khotool.dump/1"


@dataclass(slots=True)
class Model:
    """A model file.

    Args:
        document: the parsed file.
        is_dump: written by ``dump --json --full``; else a manifest.
    """

    path: Path
    document: dict[str, Any]
    is_dump: bool


def read_model(path: str | Path) -> Model:
    """Parse a model file.

    Raises:
        InputError: no such file, or neither JSON nor TOML.
        EncodeError: a dump that was written without --full.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_MODEL:
            raise InputError(f"{path}: larger than {MAX_MODEL >> 30} GiB; this is no model")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a model that exists") from None
    try:
        is_json = raw.lstrip()[:1] == b"{"
        document = json.loads(raw) if is_json else read_toml(raw)
        is_dump = "schema" in document or "model" in document
        if is_json and not is_dump:
            refuse_huge_numbers(document)
    except (ValueError, RecursionError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: neither JSON nor TOML: {text}") from None
    if is_dump and document.get("schema", SCHEMA) != SCHEMA:
        raise EncodeError(str(path), f"schema is {document['schema']!r:.60}, expected {SCHEMA}")
    if is_dump and "model" not in document:
        raise EncodeError(
            str(path), "this dump has no 'model'; write it with khotool dump --json --full"
        )
    return Model(path, document, is_dump)


def build_model(
    model: Model,
    registry: Registry,
    *,
    mode: str | None = None,
    abi: str | None = None,
    blobs: str | None = None,
    progress: Progress | None = None,
) -> Built:
    """Make an image of a model.

    Args:
        mode: ``preserve`` or ``fresh``; by default what the model can give.
        abi: kernel release or ABI set to write instead of the model's own.
        blobs: folder with the payload of a dump.

    Raises:
        EncodeError: a value does not fit; names its path.
        UsageError: a manifest has no addresses to preserve.
    """
    if not model.is_dump:
        if mode == "preserve":
            raise UsageError(
                f"{model.path}: a manifest has no addresses to preserve; leave out --mode"
            )
        manifest = Manifest(model.document, model.path.name, model.path.parent, registry)
        if abi is not None:
            manifest.abi = named_set(abi, registry)
        handover = manifest.handover()
        try:
            built = build_fresh(handover, manifest.abi, registry, progress)
        except EncodeError as error:
            raise EncodeError(model.path.name, str(error)) from None
        return apply_mutations(built, model.document.get("mutate", []), registry, model.path.name)
    built = preserved(model, registry, blobs)
    if mode != "fresh" and abi is None:
        return built
    image = image_of(built, registry)
    target = named_set(abi, registry) if abi else set_of(image)
    return build_fresh(handover_of(image), target, registry, progress)


def preserved(model: Model, registry: Registry, blobs: str | None) -> Built:
    """The image of a dump at its own addresses."""
    segments, geometry, inner = preserved_segments(model.document, registry)
    folders = [Path(blobs)] if blobs is not None else []
    listed = model.document.get("blobs", {})
    name = listed.get("folder") if isinstance(listed, dict) else None
    if isinstance(name, str):
        folders += [model.path.parent / Path(name).name, Path(name)]
    root = inner.get("root")
    info = inner.get("vmcoreinfo")
    if not isinstance(info, dict) or not all(isinstance(v, str) for v in info.values()):
        raise EncodeError("model.vmcoreinfo", "expected strings")
    return Built(
        segments=[*segments, *read_blobs(model.document, folders)],
        root=0 if root is None else word(root, "model.root"),
        geometry=geometry,
        vmcoreinfo=dict(info) or {"PAGESIZE": str(geometry.page_size)},
        machine=inner.get("machine"),
    )
