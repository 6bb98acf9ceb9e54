"""Synthetic images kept as recipes: a manifest with mutations, and what the image has to be."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from khotool.abi.registry import Registry
from khotool.encode.fresh import Built
from khotool.encode.read_model import build_model, read_model
from khotool.encode.reopen import image_of
from khotool.encode.segments import page_segments
from khotool.errors import EncodeError, InputError, KhotoolError
from khotool.findings import Severity
from khotool.image.model import Image
from khotool.memory.atomic import replacing

RECIPE = "recipe.toml"
DIGEST = "image.sha256"
DUMP = "dump.json"
RULES = "rules.txt"
VERBS = ("must", "may")
SHOWN = 6
"""Lines of a difference that are shown."""


Dump = Callable[[Image], str]
"""Image to the text of its dump."""


@dataclass(frozen=True, slots=True)
class Fixture:
    """One recipe and the folder of what is expected of its image."""

    recipe: Path

    @property
    def expect(self) -> Path:
        """Folder of the expectations."""
        return self.recipe.parent / "expect"

    @property
    def name(self) -> str:
        """Name of the fixture: that of its folder."""
        return self.recipe.parent.name


def find_fixtures(places: list[Path]) -> list[Fixture]:
    """Every recipe at or below some places, sorted.

    Raises:
        InputError: a place holds none.
    """
    found: list[Fixture] = []
    for place in places:
        if place.is_file():
            found.append(Fixture(place))
            continue
        below = sorted(place.rglob(RECIPE))
        if not below:
            raise InputError(f"{place}: no {RECIPE} here or below; name a folder of fixtures")
        found += [Fixture(path) for path in below]
    return found


def build_fixture(fixture: Fixture, registry: Registry) -> Built:
    """The image of a recipe.

    Raises:
        KhotoolError: the recipe is wrong; names file and key.
    """
    model = read_model(fixture.recipe)
    if model.is_dump:
        raise EncodeError(str(fixture.recipe), "a recipe is a manifest, not a dump")
    return build_model(model, registry)


def digest(built: Built) -> str:
    """SHA-256 over root, notes and every page with its address: the image whatever carries it."""
    total = hashlib.sha256()
    head = {"root": hex(built.root), "machine": built.machine, "notes": built.vmcoreinfo}
    total.update(json.dumps(head, sort_keys=True).encode())
    total.update(built.geometry.byteorder.encode())
    for address, data in page_segments(built.segments, built.geometry.page_size):
        total.update(f"{address:#x}+{len(data):#x}\n".encode())
        total.update(data)
    return total.hexdigest()


def expectations(
    built: Built, registry: Registry, dump: Dump
) -> tuple[dict[str, str], Image | None]:
    """Text of each file of expectations, by name, and the image; None if it does not open."""
    texts = {DIGEST: f"{digest(built)}\n"}
    try:
        image = image_of(built, registry)
    except KhotoolError as error:
        return texts | {DUMP: json.dumps({"error": str(error)}) + "\n"}, None
    return texts | {DUMP: dump(image)}, image


def check_fixture(
    fixture: Fixture, registry: Registry, dump: Dump, update: bool = False
) -> list[str]:
    """What is wrong with a fixture, one line each; nothing if its image is as expected.

    Args:
        dump: gives the text of the dump that is compared.
        update: write digest and dump instead of comparing them; rules are always compared.

    Raises:
        KhotoolError: the recipe is wrong, or a file cannot be written.
    """
    texts, image = expectations(build_fixture(fixture, registry), registry, dump)
    problems: list[str] = []
    for name, text in texts.items():
        path = fixture.expect / name
        if update:
            _write(path, text)
        else:
            problems += _compare(path, text)
    return problems + list(_check_rules(fixture, image))


def _write(path: Path, text: str) -> None:
    raw = text.encode()
    try:
        if path.is_file() and path.read_bytes() == raw:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(raw)
    except OSError as error:
        raise KhotoolError(f"{path}: cannot be written: {error.strerror}") from None


def _compare(path: Path, text: str) -> list[str]:
    try:
        stored = path.read_text(encoding="utf-8")
    except OSError:
        return [f"{path}: is missing; write it with --update"]
    if stored == text:
        return []
    changed = [
        line for line in difflib.unified_diff(stored.splitlines(), text.splitlines(), n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]  # fmt: skip
    more = [f"... {len(changed) - SHOWN} more lines differ"] if len(changed) > SHOWN else []
    return [f"{path}: the image is another", *(f"  {line}" for line in changed[:SHOWN] + more)]


def read_rules(path: Path) -> list[tuple[str, str]]:
    """Verb and rule of each line: ``must MEM301`` or ``may REC404``; ``#`` starts a comment.

    Raises:
        EncodeError: a line is neither; names file and line.
    """
    rules = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in VERBS:
            raise EncodeError(f"{path}:{number}", "expected 'must RULE' or 'may RULE'")
        rules.append((words[0], words[1]))
    return rules


def _check_rules(fixture: Fixture, image: Image | None) -> Iterator[str]:
    """Rules that should have fired and did not, and errors that nobody expects."""
    path = fixture.expect / RULES
    rules = read_rules(path) if path.is_file() else []
    if image is None:
        if not path.is_file():
            yield f"{fixture.recipe}: the image does not open"
        return
    from khotool.check.catalogue import severity
    from khotool.check.run import check_image

    fired = {finding.rule: finding for finding in check_image(image)}
    for verb, rule in rules:
        if verb == "must" and rule not in fired:
            yield f"{path}: {rule} must fire and does not"
    listed = {rule for _, rule in rules}
    # A bad image has its errors listed; a good one is quiet above a note.
    level = (Severity.ERROR,) if rules else (Severity.ERROR, Severity.WARNING)
    for rule, finding in fired.items():
        if rule not in listed and severity(rule) in level:
            yield f"{fixture.recipe}: {rule} at {finding.path}: {finding.message}"
