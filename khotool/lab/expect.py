"""What should come back: from an image, and from what it was before it was damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from khotool.lab import bridge
from khotool.lab.bridge import Contents, HandedRegion, HandedSession
from khotool.lab.kernelfile import KernelFile
from khotool.lab.outcome import Expected, KernelTest
from khotool.records import dataclass, replace

if TYPE_CHECKING:
    from khotool.model.image import Image

SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+@")
"""Characters that need no quoting in the name of a region on a command line."""
KNOWN = ("memblock", "LUO", "kho_test", "kexec-metadata")
"""Entries whose arrival a boot shows in another way."""
MOST_FILLED = 64 << 20
"""Bytes of memory that is not captured and gets contents, to see whether they come back."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a kernel is asked for.

    Args:
        contents: of the image, with what damage hides.
        filler: physical address and bytes of payload that is not captured.
        expected: what should come of it.
        sizes: bytes of files before the damage, by session and token.
    """

    contents: Contents
    filler: list[tuple[int, bytes]]
    expected: Expected
    sizes: dict[tuple[str, int], int]

    def region_words(self, page_size: int) -> Iterator[str]:
        """The words of a command line that ask for the regions."""
        for region in self.contents.regions:
            if can_ask(region):
                yield f"reserve_mem={region.size}:{page_size}:{region.name}"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image whose contents should come back.

    Args:
        same_layout: everything is where it is in the image that is booted, as before its damage.
    """

    image: Image
    same_layout: bool = True


def wanted_of(image: Image, reference: Reference, kernel: KernelFile) -> Wanted:
    """What a kernel is asked for, and what should come of it.

    Args:
        reference: the image before its damage; the same image for one that has none.
    """
    own, original = bridge.contents_of(image), bridge.contents_of(reference.image)
    contents = replace(
        own,
        regions=_regions(own.regions, original.regions),
        sessions=_sessions(own.sessions, original.sessions),
        flbs=_with_hidden(own.flbs, original.flbs),
        entries=_with_hidden(own.entries, original.entries),
    )
    # Made-up contents belong to an address, as does a region: another layout says nothing of them.
    same = reference.same_layout
    filler = list(_filler(reference.image, original)) if same else []
    starts = {region.name: region.start for region in original.regions if same}
    first = {region.name: region for region in reversed(own.regions)}.values()
    expected = Expected(
        regions=[region.name for region in contents.regions if can_ask(region)],
        sessions=[
            (s.name, [f.token for f in s.files if f.token is not None]) for s in contents.sessions
        ],
        objects=contents.flbs,
        luo="LUO" in contents.entries,
        has_test=kernel.contains(b"test_kho") is not False,
        twice=_twice(own),
        changed_regions=[r.name for r in first if starts.get(r.name, r.start) != r.start],
    )
    _add_digests(expected, reference.image, contents, original, filler)
    if "kho_test" in contents.entries:
        expected.test = (
            KernelTest.PASSED if bridge.test_is_captured(reference.image) else KernelTest.UNKNOWN
        )
    expected.unasked = list(_unasked(contents, kernel))
    return Wanted(contents, filler, expected, dict(_sizes(original)))


def _with_hidden(own: list[str], original: list[str]) -> list[str]:
    """Names, each once; those of the original too where damage hides some."""
    return list(dict.fromkeys([*own, *original] if len(own) < len(original) else own))


def _sizes(contents: Contents) -> Iterator[tuple[tuple[str, int], int]]:
    for session in contents.sessions:
        for file in session.files:
            if file.token is not None and file.size is not None:
                yield (session.name, file.token), file.size


def can_ask(region: HandedRegion) -> bool:
    """True if a command line can ask for a region: its name has no character with a meaning."""
    return region.size is not None and bool(region.name) and set(region.name) <= SAFE


def _regions(own: list[HandedRegion], original: list[HandedRegion]) -> list[HandedRegion]:
    """The next kernel's command line is that of the kernel before: the sizes before the damage."""
    sizes = {region.name: region.size for region in original}
    found = {r.name: replace(r, size=sizes.get(r.name, r.size)) for r in own}
    if len(own) < len(original):
        for region in original:
            found.setdefault(region.name, region)
    return list(found.values())


def _sessions(own: list[HandedSession], original: list[HandedSession]) -> list[HandedSession]:
    """Each session and token once; those of the original too where damage hides some."""
    named = {session.name: session for session in original}
    found: dict[str, HandedSession] = {}
    for session in own:
        before = named.get(session.name)
        files = {file.token: file for file in reversed(session.files)}
        order = list(dict.fromkeys(file.token for file in session.files))
        if before is not None and len(session.files) < len(before.files):
            for file in before.files:
                if file.token not in files:
                    files[file.token] = file
                    order.append(file.token)
        found.setdefault(session.name, replace(session, files=[files[token] for token in order]))
    if len(own) < len(original):
        for session in original:
            found.setdefault(session.name, session)
    return list(found.values())


def _unasked(contents: Contents, kernel: KernelFile) -> Iterator[str]:
    """Entries and objects whose names the kernel does not even have."""
    for name in (*contents.entries, *contents.flbs):
        raw = name.encode("utf-8", "surrogateescape")
        if name not in KNOWN and kernel.contains(raw) is False:
            yield name


def _twice(own: Contents) -> bool:
    """True if two of something have one name, of which a kernel gives back one."""
    names = [session.name for session in own.sessions]
    tokens = [[file.token for file in session.files] for session in own.sessions]
    regions = [region.name for region in own.regions]
    lists: list[Sequence[object]] = [names, regions, own.flbs, *tokens]
    return any(len(set(keys)) < len(keys) for keys in lists)


def _add_digests(
    expected: Expected,
    reference: Image,
    contents: Contents,
    original: Contents,
    filler: list[tuple[int, bytes]],
) -> None:
    named = {
        (session.name, file.token): file
        for session in reversed(original.sessions)
        for file in reversed(session.files)
    }
    for number, session in enumerate(contents.sessions):
        asked = [file for file in session.files if file.token is not None]
        for place, file in enumerate(asked):
            source = named.get((session.name, file.token))
            if source is None:
                continue
            expected.files[number, place] = bridge.digest(reference, source.node)
            if expected.files[number, place] is None:
                filled = bridge.digest(reference, source.node, filler)
                expected.filled[number, place] = filled


def _filler(image: Image, contents: Contents) -> Iterator[tuple[int, bytes]]:
    """Contents for payload of files that is not captured, page by page.

    What comes back then shows whether it is the same memory, although nobody knows what was in it.
    """
    page, left = image.geometry.page_size, MOST_FILLED
    done: set[int] = set()
    for session in contents.sessions:
        for file in session.files:
            for start, end in bridge.missing_memory(image, file.node):
                for at in range(start // page * page, end, page):
                    if left <= 0:
                        return
                    if at not in done:
                        done.add(at)
                        left -= page
                        yield at, sha256(at.to_bytes(8, "little")).digest() * (page // 32)
