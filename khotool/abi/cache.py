"""The shipped definitions, compiled once.

Reading all definitions takes a tenth of a second and more: TOML, then C. The result is kept as a
file, made when the wheel is built or, from a source tree, on first use in the user's cache. It is
used only if it was made from exactly the definitions and the modules that are there now, by
one hash over all of them; an edited definition is read anew. Folders of users and packages are
always read.

Nothing in the file is trusted: it may only build the data classes of a definition.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from khotool.abi import definition as definition_module
from khotool.abi.definition import AbiSet, Definition
from khotool.abi.folder import NAMES_FILE, SETS_FILE, builtin_formats, toml_files

FILE = "definitions.compiled"
"""Name of the file that the wheel has beside the definitions."""
MAX_KEPT = 4
"""Files in the user's cache, each of one version of khotool and its definitions."""
MAX_BYTES = 16 << 20
_DIGEST_SIZE = 32
_ROOMS = ("khotool.abi", "khotool.structured")

Compiled = tuple[list[Definition], list[AbiSet]]


def load_shipped() -> Compiled:
    """The definitions and sets that khotool ships.

    Raises:
        DefinitionError: one of them is wrong.
    """
    folder = builtin_formats()
    texts = sorted(toml_files(folder))
    digest = digest_of(texts)
    kept = _cache_folder() / f"definitions-{digest.hex()[:16]}"
    for place in (folder.joinpath(FILE), kept):
        found = _read(place, digest)
        if found is not None:
            return found
    compiled = compile_texts(texts)
    _keep(kept, digest + dumped(compiled))
    return compiled


def compile_texts(texts: Iterable[tuple[str, bytes]]) -> Compiled:
    """Definitions and sets of files by name, read anew.

    Raises:
        DefinitionError: one of them is wrong.
    """
    from khotool.abi.load import load_definition
    from khotool.abi.sets import load_sets

    definitions: list[Definition] = []
    sets: list[AbiSet] = []
    for name, text in texts:
        if name == SETS_FILE:
            sets = load_sets(text, name)
        elif name != NAMES_FILE:
            definitions.append(load_definition(text, name))
    return definitions, sets


def write_compiled(target: Path) -> None:
    """Write the file that a wheel has; called when one is built."""
    texts = sorted(toml_files(builtin_formats()))
    target.write_bytes(digest_of(texts) + dumped(compile_texts(texts)))


def digest_of(texts: Iterable[tuple[str, bytes]]) -> bytes:
    """SHA-256 over definition files by name and the modules that compile them."""
    total = hashlib.sha256()
    for room in _ROOMS:
        modules = [item for item in files(room).iterdir() if item.name.endswith(".py")]
        for module in sorted(modules, key=lambda item: item.name):
            total.update(hashlib.sha256(module.read_bytes()).digest())
    for name, text in texts:
        total.update(name.encode() + b"\0" + hashlib.sha256(text).digest())
    return total.digest()


def dumped(compiled: Compiled) -> bytes:
    """Compiled definitions as bytes that `loaded` takes."""
    return pickle.dumps(compiled, protocol=5)


def loaded(raw: bytes) -> Compiled | None:
    """Compiled definitions from bytes; None where the bytes are something else."""
    try:
        definitions, sets = _Unpickler(io.BytesIO(raw)).load()
    except Exception:
        # A damaged file fails in any way; the definitions are read anew.
        return None
    right = all(type(one) is Definition for one in definitions)
    return (definitions, sets) if right and all(type(one) is AbiSet for one in sets) else None


class _Unpickler(pickle.Unpickler):
    """Takes the classes of definitions, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        found = getattr(definition_module, name, None)
        own = isinstance(found, type) and found.__module__ == definition_module.__name__
        if module != definition_module.__name__ or not own:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a definition")
        return found


def _read(place: Traversable, digest: bytes) -> Compiled | None:
    try:
        raw = place.read_bytes()
    except OSError:
        return None
    if len(raw) > MAX_BYTES or raw[:_DIGEST_SIZE] != digest:
        return None
    return loaded(raw[_DIGEST_SIZE:])


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
    return Path(base, "khotool")


def _keep(target: Path, raw: bytes) -> None:
    """Write a file of the cache, whole or not at all; one that cannot be written is left out."""
    import tempfile

    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=target.parent, prefix="definitions.")
        with os.fdopen(number, "wb") as file:
            file.write(raw)
        os.replace(name, target)
        kept = sorted(target.parent.glob("definitions-*"), key=lambda file: file.stat().st_mtime)
        for old in kept[:-MAX_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        pass
