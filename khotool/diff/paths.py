"""Which paths a comparison reports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from khotool.diff.changes import DiffOptions
from khotool.errors import UsageError
from khotool.model.image import Image, Node
from khotool.model.lookup import find_node

OF_THE_IMAGE = re.compile(r"/(?:abi|endian|page_size|scratch(?:\[[0-9*]+\](?:/\w+)?)?)?")
"""Paths of changes that belong to the image as a whole, and to no node of the model."""
CONTENTS = "/contents"
"""What follows the path of a node in a change of its payload."""
ROW = re.compile(r"(?P<table>.*)\[(?P<row>[^\]]*)\](?:/(?P<column>[^/\[\]]+))?", re.DOTALL)


class PathFilter:
    """Which paths are reported.

    Raises:
        UsageError: a path of the options is in neither image.
    """

    def __init__(self, options: DiffOptions, images: tuple[Image, Image]) -> None:
        found = {
            text: _meant(text, images) for text in dict.fromkeys((*options.only, *options.ignore))
        }
        self.only = [pattern for text in options.only for pattern in found[text]]
        self.ignore = [pattern for text in options.ignore for pattern in found[text]]

    def __call__(self, path: str) -> bool:
        """True if a change at this path is reported."""
        if any(pattern.match(path) for pattern in self.ignore):
            return False
        return not self.only or any(pattern.match(path) for pattern in self.only)

    def whole(self, path: str) -> bool:
        """True if what holds for a whole image is reported, whatever part is asked for."""
        return not any(pattern.match(path) for pattern in self.ignore)


def _meant(text: str, images: tuple[Image, Image]) -> list[re.Pattern[str]]:
    """The patterns for a path that the user gave, which at least one node has to match.

    Without a star it may name an element by its position, or a token in decimal, as in every
    command; that may be two paths in two images.
    """
    bare = text.rstrip("/").removesuffix(CONTENTS) or "/"
    if OF_THE_IMAGE.fullmatch(bare):
        return [_pattern(text)]
    if "*" not in bare:
        suffix = text.rstrip("/")[len(bare) :]
        return [_pattern(path + suffix, literal=True) for path in _named(bare, images)]
    whole = re.compile(f"(?:{_body(bare)})", re.DOTALL)
    if not any(_matches(whole, bare, node) for image in images for node in image.tree.walk()):
        raise UsageError(f"{text!r} matches nothing in {' or '.join(_names(images))}")
    return [_pattern(text)]


def _named(path: str, images: tuple[Image, Image]) -> list[str]:
    """Paths of the nodes that a path means in each image; the first error if there is none."""
    found: list[str] = []
    errors: list[UsageError] = []
    for image in images:
        try:
            found.append(find_node(image, path).path)
        except UsageError as error:
            errors.append(error)
    if not found:
        raise UsageError(f"{errors[0]}; the other image has none either")
    return list(dict.fromkeys(found))


def _matches(pattern: re.Pattern[str], text: str, node: Node) -> bool:
    """True if a pattern is the path of a node, or of a row or a value of its table."""
    path = node.path
    if pattern.fullmatch(path):
        return True
    table = node.table
    parts = ROW.fullmatch(text)
    if table is None or parts is None or not re.fullmatch(_body(parts["table"]), path, re.DOTALL):
        return False
    row, column = parts["row"], parts["column"]
    known = "*" in row or (row.isdecimal() and int(row) < len(table))
    labels = [field.label for field in table.fields()]
    return known and (column is None or any(re.fullmatch(_body(column), one) for one in labels))


def _names(images: Iterable[Image]) -> Iterator[str]:
    yield from dict.fromkeys(image.info.path for image in images)


def _pattern(text: str, *, literal: bool = False) -> re.Pattern[str]:
    """A path and all below it."""
    text = text.rstrip("/")
    body = re.escape(text) if literal else _body(text)
    return re.compile(rf"{body}(?=$|[/\[])", re.DOTALL)


def _body(text: str) -> str:
    parts = [re.escape(part) for part in text.split("*")]
    # A run of stars is one star, so that no pattern backtracks for long.
    body = "[^/]*".join([parts[0], *(part for part in parts[1:] if part)])
    return body + ("[^/]*" if text.endswith("*") else "")
