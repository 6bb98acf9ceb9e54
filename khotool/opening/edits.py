"""Edits of the readable half of a full dump, written to where the values are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from khotool.abi.registry import Registry
from khotool.absent import Absent
from khotool.document.digest import READABLE
from khotool.document.dump import dump_document
from khotool.encode.fresh import Built
from khotool.encode.poke import number_bytes, text_bytes
from khotool.encode.reopen import image_of
from khotool.errors import EncodeError, KhotoolError
from khotool.manifest.notation import printed_number
from khotool.model.image import Image, Node
from khotool.model.lookup import table_row
from khotool.records import dataclass, replace
from khotool.structured.positions import Path
from khotool.structured.values import key_text
from khotool.view.luo import Luo
from khotool.view.notation import json_scalar

MISSING = object()
"""In place of a value that one of two documents does not have."""
ADVICE = "edit values only, or describe the handover in a manifest"


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that the document has otherwise than its regions.

    Args:
        path: keys and indices in the document.
        given: as the document has it; made: as the regions decode. ``MISSING`` where it is not.
    """

    path: Path
    given: Any
    made: Any


def apply_edits(built: Built, document: dict[str, Any], registry: Registry) -> Built:
    """The image of a dump with the values that its readable half has.

    Args:
        built: the image of the dump's regions.

    Raises:
        EncodeError: a value that cannot be written in its place; names its key.
    """
    image = image_of(built, registry)
    writes: dict[tuple[int, int], tuple[bytes, str]] = {}
    wanted: dict[Path, Any] = {}
    for found in differences(image, document):
        where = key_text(found.path)
        node = _editable(image, found, where)
        assert node.span is not None
        data, wanted[found.path] = stored_bytes(image, node, found.given, where)
        place = (node.span.address, node.span.size)
        other = writes.setdefault(place, (data, where))
        if other[0] != data:
            raise EncodeError(where, f"is the same value as {other[1]}, edited differently")
    if not writes:
        return built
    edits = [(address, data) for (address, _), (data, _) in writes.items()]
    changed = replace(built, segments=list(_patched(built, edits)))
    _verify(changed, document, registry, wanted)
    return changed


def _verify(
    built: Built, document: dict[str, Any], registry: Registry, wanted: dict[Path, Any]
) -> None:
    """Raise the first edit that the changed image does not show, by its key."""
    try:
        left = list(differences(image_of(built, registry), document))
    except KhotoolError as error:
        raise EncodeError(key_text(next(iter(wanted))), f"after this edit, {error}") from None
    for found in left:
        if found.path in wanted and found.made != wanted[found.path]:
            text = f"the edits make this {_shown(found.made)}, not {_shown(found.given)}"
            raise EncodeError(key_text(found.path), text)


def differences(image: Image, document: dict[str, Any]) -> Iterator[Difference]:
    """Values of the readable half that are not those of an image."""
    made = dump_document(image)
    for key in READABLE:
        if key in document:
            yield from _compare(document[key], made.get(key, MISSING), (key,))


def _compare(given: Any, made: Any, path: Path) -> Iterator[Difference]:
    stack = [(given, made, path)]
    while stack:
        given, made, path = stack.pop()
        if isinstance(given, dict) and isinstance(made, dict):
            keys = [*made, *(key for key in given if key not in made)]
            stack += [
                (given.get(key, MISSING), made.get(key, MISSING), (*path, key))
                for key in reversed(keys)
            ]
        elif isinstance(given, list) and isinstance(made, list) and len(given) == len(made):
            pairs = list(enumerate(zip(given, made, strict=True)))
            stack += [(one, other, (*path, n)) for n, (one, other) in reversed(pairs)]
        elif given != made:
            yield Difference(path, given, made)


def _editable(image: Image, found: Difference, where: str) -> Node:
    """The node that holds a value which differs."""
    if isinstance(found.given, list) and isinstance(found.made, list):
        text = f"{len(found.given)} elements instead of {len(found.made)}"
        raise EncodeError(where, f"{text}: nothing can be added or removed here; {ADVICE}")
    if found.given is MISSING or found.made is MISSING:
        what = "is missing" if found.given is MISSING else "is not in the image"
        raise EncodeError(where, f"{what}; {ADVICE}")
    node = locate(image, found.path)
    if node is None or node.span is None or isinstance(node.value, Absent):
        raise EncodeError(where, f"follows from other values and cannot be edited here; {ADVICE}")
    return node


def locate(image: Image, path: Path) -> Node | None:
    """The node that a key of the readable half shows; None for what no node holds."""
    node: Node | None = image.tree
    for number, step in enumerate(path):
        if node is None:
            return None
        if number == 0:
            node = Luo(image).node if step == "luo" else image.tree
        elif number == 1 and path[0] == "entries" and isinstance(step, int):
            node = image.entries[step]
        elif not (number == 2 and path[0] == "entries" and step == "value"):
            node = _below(node, step)
    return node


def _below(node: Node, step: str | int) -> Node | None:
    if isinstance(step, int):
        elements = node.elements()
        return elements[step] if step < len(elements) else table_row(node, step)
    if step == "address" and node.get(step) is None and isinstance(node.value, int):
        return node
    return node.get("data" if step == "payload" else step)


def stored_bytes(image: Image, node: Node, given: Any, where: str) -> tuple[bytes, Any]:
    """The bytes that hold an edited value, and the value as dump writes it.

    Args:
        given: number, text that a person may write for one, text, or bytes as hexadecimal digits.

    Raises:
        EncodeError: the value does not fit its place; names ``where``.
    """
    assert node.span is not None
    if isinstance(node.value, str) and isinstance(given, str):
        return text_bytes(node, given, where), given
    if isinstance(node.value, bytes) and isinstance(given, str):
        try:
            data = bytes.fromhex(given)
        except ValueError:
            data = b""
        if len(data) != node.span.size:
            raise EncodeError(where, f"expected {node.span.size} bytes as hexadecimal digits")
        return data, data.hex()
    number = _number(node, given)
    if isinstance(node.value, int) and number is not None:
        return number_bytes(image, node, number, where), json_scalar(number, node.field)
    raise EncodeError(where, f"expected a value such as {_shown(node.value)}, found {given!r:.60}")


def _number(node: Node, given: Any) -> int | None:
    if isinstance(given, str):
        shown = printed_number(node.field, given) if node.field is not None else None
        try:
            return int(given[:64], 0) if shown is None else shown
        except ValueError:
            return None
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _shown(value: Any) -> str:
    return "absent" if value is MISSING else f"{value!r:.60}"


def _patched(built: Built, edits: list[tuple[int, bytes]]) -> Iterator[tuple[int, Any]]:
    """The segments of an image with bytes written over them."""
    for start, buffer in built.segments:
        inside = [(a, d) for a, d in edits if start <= a and a + len(d) <= start + len(buffer)]
        if not inside:
            yield start, buffer
            continue
        changed = bytearray(buffer)
        for address, data in inside:
            changed[address - start : address - start + len(data)] = data
        yield start, changed
