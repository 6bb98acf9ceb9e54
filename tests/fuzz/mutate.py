"""Mutations of bytes that need no coverage to find faults: the same seed gives the same inputs."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from tests.fuzz.damage import EDGES, EDIT, GUIDED

Mutation = Callable[[random.Random, bytearray, bytes], None]

MOST_STEPS = 6
#: Pieces that mean something to a parser of text.
WORDS = (
    b"0",
    b"-1",
    b"1e999",
    b"true",
    b"null",
    b"nan",
    b"''",
    b"[]",
    b"{}",
    b"[[",
    b"0x",
    b"\\ud800",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"\0",
    b"\xff",
    b"9" * 5000,
    b"0x" + b"f" * 5000,
    b'"0x' + b"f" * 5000 + b'"',
    b"[" * 3000,
    b"1979-05-27",
    b'""',
    b"'",
    b'"',
    '"\u00b2K"'.encode(),
    b'"' + b"7" * 5000 + b'K"',
    b"char[99999999999]",
    b"char[999999]",
)
_NUMBER = re.compile(rb"0x[0-9a-f]+|\d+")
_TEXT = re.compile(rb'"[^"\n]{0,60}"')


def flip(rng: random.Random, data: bytearray, _: bytes) -> None:
    """One bit."""
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)


def edge(rng: random.Random, data: bytearray, _: bytes) -> None:
    """A word of an edge value, in either byte order."""
    size = rng.choice((1, 2, 4, 8))
    at = rng.randrange(len(data)) // size * size
    value = rng.choice(EDGES) & ((1 << 8 * size) - 1)
    data[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))


def near(rng: random.Random, data: bytearray, _: bytes) -> None:
    """A word a little larger or smaller."""
    size = rng.choice((1, 2, 4, 8))
    at = rng.randrange(len(data)) // size * size
    order = rng.choice(("little", "big"))
    value = int.from_bytes(data[at : at + size], order) + rng.randint(-9, 9)  # type: ignore[arg-type]
    part = len(data[at : at + size])
    data[at : at + size] = (value & ((1 << 8 * part) - 1)).to_bytes(part, order)  # type: ignore[arg-type]


def copy(rng: random.Random, data: bytearray, other: bytes) -> None:
    """A piece of another input over this one."""
    size = rng.randint(1, 64)
    at, source = rng.randrange(len(data)), rng.randrange(len(other) or 1)
    data[at : at + size] = other[source : source + size]


def splice(rng: random.Random, data: bytearray, other: bytes) -> None:
    """The beginning of this input and the end of another."""
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other) or 1) :]


def cut(rng: random.Random, data: bytearray, _: bytes) -> None:
    """The end is missing."""
    del data[rng.randrange(len(data)) :]


def drop(rng: random.Random, data: bytearray, _: bytes) -> None:
    """A piece is missing."""
    at = rng.randrange(len(data))
    del data[at : at + rng.randint(1, 32)]


def swap(rng: random.Random, data: bytearray, _: bytes) -> None:
    """Two blocks change places."""
    size = rng.choice((8, 64, 512, 4096))
    if len(data) < 2 * size:
        return
    one, other = sorted(rng.sample(range(len(data) // size), 2))
    first, second = slice(one * size, (one + 1) * size), slice(other * size, (other + 1) * size)
    data[first], data[second] = data[second], data[first]


def word(rng: random.Random, data: bytearray, _: bytes) -> None:
    """A piece of text that means something."""
    at = rng.randrange(len(data))
    data[at : at + rng.choice((0, 0, 1, 4))] = rng.choice(WORDS)


def number(rng: random.Random, data: bytearray, _: bytes) -> None:
    """A number in a text, or a string, becomes another value."""
    found = list(_NUMBER.finditer(data)) if rng.random() < 0.7 else list(_TEXT.finditer(data))
    if not found:
        return
    match = rng.choice(found)
    value = rng.choice((*WORDS, *(str(edge).encode() for edge in EDGES)))
    data[match.start() : match.end()] = value


def line(rng: random.Random, data: bytearray, _: bytes) -> None:
    """A line of a text is missing, doubled or moved."""
    lines = bytes(data).split(b"\n")
    one = lines.pop(rng.randrange(len(lines)))
    for _copy in range(rng.randrange(3)):
        lines.insert(rng.randint(0, len(lines)), one)
    data[:] = b"\n".join(lines)


def edits(rng: random.Random, data: bytearray, _: bytes) -> None:
    """More edits for a recipe of damage."""
    for _edit in range(rng.randint(1, 4)):
        data += bytes([rng.randrange(10) | rng.choice((0, 0, GUIDED, GUIDED, GUIDED))])
        data += rng.randbytes(EDIT - 1)


_BINARY: tuple[Mutation, ...] = (flip, edge, edge, near, copy, splice, cut, drop, swap)
_TEXTUAL: tuple[Mutation, ...] = (flip, copy, splice, cut, drop, word, number, number, number, line)
_RECIPE: tuple[Mutation, ...] = (edits, edits, edits, flip, copy, near)

KINDS: dict[str, tuple[Mutation, ...]] = {
    "binary": _BINARY,
    "text": _TEXTUAL,
    "recipe": _RECIPE,
    "command": (*_RECIPE, flip, edge, swap, cut),
}
"""What is done to the inputs of a harness."""


def mutate(rng: random.Random, kind: str, seeds: tuple[bytes, ...]) -> bytes:
    """One input: a seed with a few mutations."""
    data = bytearray(rng.choice(seeds))
    ways = KINDS[kind]
    for _ in range(rng.randint(1, MOST_STEPS)):
        if not data:
            break
        rng.choice(ways)(rng, data, rng.choice(seeds))
    return bytes(data)


def input_of(name: str, kind: str, seeds: tuple[bytes, ...], seed: int, number: int) -> bytes:
    """An input by its number in a round: the same arguments give the same bytes."""
    if number < len(seeds):
        return seeds[number]
    return mutate(random.Random(f"{seed} {name} {number}"), kind, seeds)
