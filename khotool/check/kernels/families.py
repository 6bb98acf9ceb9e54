"""Kernels by what they accept and how they fail; read in the sources of each release."""

from __future__ import annotations

from dataclasses import dataclass

from khotool.abi.registry import release_key
from khotool.errors import UsageError


@dataclass(frozen=True, slots=True)
class Kernel:
    """One family of releases.

    Args:
        root: the only root string it takes (kho_populate).
        bitmap_layout: how it reads the bitmaps of kho-v1.
        needs_map: a root without a map is refused (6.19 and later); before, the boot goes on
            with nothing reserved.
        sized_entries: kho_retrieve_subtree wants blob-size.
        luo: the LUO string it takes, empty for none.
        needs_flb: an FDT LUO without luo-flb stops the boot.
        files: handlers that are built in.
        keeps_file_errors: a file that cannot be read fails every open of /dev/liveupdate; 6.19
            drops the rest of that session instead.
        metadata: reads kexec-metadata.
        test_inline: its own test reads the list of folios from the property itself.
        ignored_suffix: what it appends to the line that gives KHO up.
    """

    first: str
    last: str
    root: str
    bitmap_layout: str = "bitmap-page"
    needs_map: bool = True
    sized_entries: bool = False
    luo: str = ""
    needs_flb: bool = False
    files: tuple[str, ...] = ()
    keeps_file_errors: bool = True
    metadata: bool = False
    test_inline: bool = False
    ignored_suffix: str = ""


KERNELS = (
    Kernel(
        "6.16",
        "6.17",
        "kho-v1",
        bitmap_layout="bitmap-512",
        needs_map=False,
        test_inline=True,
        ignored_suffix=": -22",
    ),
    Kernel("6.18", "6.18", "kho-v1", needs_map=False, ignored_suffix=": -22"),
    Kernel(
        "6.19",
        "6.19",
        "kho-v1",
        luo="luo-v1",
        files=("memfd-v1",),
        keeps_file_errors=False,
        ignored_suffix=": -22",
    ),
    Kernel("7.0", "7.0", "kho-v1", luo="luo-v1", needs_flb=True, files=("memfd-v1",)),
    Kernel(
        "7.1",
        "7.1",
        "kho-v3",
        sized_entries=True,
        luo="luo-v1",
        needs_flb=True,
        files=("memfd-v2",),
        metadata=True,
    ),
    Kernel(
        "7.2", "7.3", "kho-v4", sized_entries=True, luo="luo-v5", files=("memfd-v2",), metadata=True
    ),
)


def kernel_of(release: str) -> Kernel:
    """The family of a release such as ``7.3`` or ``6.19.11``.

    Raises:
        UsageError: khotool has no model of it.
    """
    key = release_key(release)
    for kernel in KERNELS:
        if release_key(kernel.first) <= key <= release_key(kernel.last):
            return kernel
    first, last = KERNELS[0].first, KERNELS[-1].last
    raise UsageError(f"--kernel {release}: khotool models releases {first} to {last}")
