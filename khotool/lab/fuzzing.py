"""Damage an image, predict, boot, compare; what differs is made as small as it can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from khotool.errors import KhotoolError
from khotool.lab import bridge
from khotool.lab.boot import Booted, Request, boot
from khotool.lab.conformance import harmed
from khotool.lab.expect import Reference
from khotool.lab.kernelfile import KernelFile
from khotool.records import dataclass

if TYPE_CHECKING:
    from khotool.encode.fresh import Built
    from khotool.model.image import Image

MOST_TRIES = 12
"""Boots that are spent on making one change smaller."""
Mutations = list[dict[str, Any]]


@dataclass(slots=True)
class Trial:
    """A damaged image on a kernel.

    Args:
        mutations: as a recipe has them.
        smallest: the smallest change found that ends in the same way; None for a boot that is
            not of interest.
        image: the damaged image, with the smallest change where there is one.
    """

    number: int
    mutations: Mutations
    done: Booted
    image: Image
    smallest: Mutations | None = None


def trials(
    image: Image, kernel: KernelFile, request: Request, count: int, seed: int, most: int
) -> Iterator[Trial]:
    """Boot damaged copies of an image; the same seed gives the same copies.

    Raises:
        InputError: the kernel cannot be used, or QEMU does not run.
    """
    base = bridge.packed(image)
    for number, item in enumerate(bridge.damage(base, count, seed, most)):
        try:
            done = boot(item.image, kernel, request, Reference(image))
        except KhotoolError:
            # Damage can make an image that no machine has room for.
            continue
        trial = Trial(number, item.mutations, done, item.image)
        if of_interest(done):
            _minimise(trial, base, image, kernel, request)
        yield trial


def of_interest(done: Booted) -> bool:
    """True for a boot that was not predicted, or that harmed the kernel."""
    return done.agree is False or harmed(done)


def ending(done: Booted) -> tuple[str, str | None]:
    """What two boots have in common that end in the same way."""
    return str(done.judged.outcome), done.predicted


def _minimise(
    trial: Trial, base: Built, reference: Image, kernel: KernelFile, request: Request
) -> None:
    """Look for the smallest change that ends in the same way."""
    wanted = ending(trial.done)
    trial.smallest = trial.mutations
    left = MOST_TRIES
    shrinking = True
    while shrinking and left > 0:
        shrinking = False
        for smaller in candidates(trial.smallest, reference):
            if left <= 0:
                break
            left -= 1
            try:
                image = bridge.mutated(base, smaller)
                done = boot(image, kernel, request, Reference(reference))
            except KhotoolError:
                continue
            if ending(done) == wanted:
                trial.smallest, trial.image, trial.done = smaller, image, done
                shrinking = True
                break


def candidates(mutations: Mutations, reference: Image) -> Iterator[Mutations]:
    """Smaller changes: one mutation less, or fewer bits of a value."""
    for index in range(len(mutations) if len(mutations) > 1 else 0):
        yield mutations[:index] + mutations[index + 1 :]
    for index, item in enumerate(mutations):
        for value in fewer_bits(item, reference):
            changed = item | {"op": "poke", "value": hex(value)}
            yield [*mutations[:index], changed, *mutations[index + 1 :]]


def fewer_bits(item: dict[str, Any], reference: Image) -> Iterator[int]:
    """Values with one of the bits that a poke changes, where it changes several."""
    if item.get("op") != "poke" or "path" not in item:
        return
    old = bridge.number_at(reference, str(item["path"]))
    if old is None:
        return
    bits = old ^ int(str(item["value"]), 0)
    if bits.bit_count() < 2:
        return
    while bits:
        lowest = bits & -bits
        yield old ^ lowest
        bits ^= lowest
