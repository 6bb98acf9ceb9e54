"""What kernels are tried with: synthetic images, damaged ones, and their own types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from khotool.errors import KhotoolError, UsageError
from khotool.lab.bridge.making import decode, registry
from khotool.records import dataclass

if TYPE_CHECKING:
    from khotool.encode.fresh import Built
    from khotool.model.image import Image


def btf_differences(data: bytes, release: str, page_size: int) -> tuple[int, list[str]]:
    """A kernel's type information beside the definitions of its set: structs, differences.

    Raises:
        KhotoolError: it is not BTF, or khotool knows no set of this release.
    """
    from khotool.abi.geometry import Geometry
    from khotool.authoring.btf import Btf
    from khotool.authoring.compare_btf import compare_set

    known = registry()
    abi = known.set_for(release)
    if abi is None:
        raise UsageError(f"no ABI set has release {release}")
    compared, differences = compare_set(Btf(data), abi, known, Geometry(page_size))
    return compared, [
        f"{d.definition} {d.struct}{'.' if d.field else ''}{d.field}" for d in differences
    ]


def btf_section(vmlinux: bytes) -> bytes | None:
    """The section .BTF of an ELF kernel; None without one."""
    from khotool.memory.sections import find_section

    found = find_section("kernel", memoryview(vmlinux), ".BTF")
    return None if found is None else bytes(found)


def set_of_release(release: str) -> str | None:
    """Id of the ABI set that a release speaks; None where khotool has none."""
    found = registry().set_for(release)
    return None if found is None else found.id


def samples(page: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """For every ABI set its id, and a manifest of everything that it carries.

    Args:
        page: bytes of a page of the kernel that the manifests are for.
    """
    from khotool.fixture.fuzz import sample

    known = registry()
    for identifier, abi in known.sets.items():
        yield identifier, sample(abi, known, page)


@dataclass(frozen=True, slots=True)
class Damaged:
    """An image with damage: what was changed, as a recipe has it, and the image."""

    mutations: list[dict[str, Any]]
    image: Image


def packed(image: Image) -> Built:
    """What decodes of an image, with its payload, to be changed."""
    from khotool.encode.pack import pack_image

    return pack_image(image, payload=True)


def damage(base: Built, count: int, seed: int, most: int) -> Iterator[Damaged]:
    """Damaged copies of an image that still open; the same seed gives the same copies."""
    from khotool.fixture.fuzz import Damager

    damager = Damager(base, registry())
    for number in range(count):
        drawn = damager.draw(seed, number, most)
        if drawn is not None:
            with suppress(KhotoolError):
                yield Damaged(drawn[1], decode(drawn[0]))


def mutated(base: Built, mutations: list[dict[str, Any]]) -> Image:
    """A copy of an image with some damage.

    Raises:
        KhotoolError: it cannot be applied, or nothing opens any more.
    """
    from khotool.manifest.mutate import apply_mutations
    from khotool.structured import Document

    document = Document("damage", {"mutate": mutations})
    return decode(apply_mutations(base, document, registry()))


def converted(image: Image, release: str) -> Image:
    """An image as ``khotool convert`` makes it for another release.

    Raises:
        KhotoolError: khotool has no set of that release, or a limit of it is passed.
    """
    from khotool.encode.convert import convert_image

    return decode(convert_image(image, release))


def number_at(image: Image, path: str) -> int | None:
    """The number at a path; None where there is none."""
    from khotool.model.lookup import find_node

    try:
        value = find_node(image, path).value
    except UsageError:
        return None
    return value if isinstance(value, int) else None
