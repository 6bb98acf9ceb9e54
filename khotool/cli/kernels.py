"""The kernels of ``--kernel``: releases, ``next``, postings and kernel files."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.options import area
from khotool.records import replace

if TYPE_CHECKING:
    from khotool.abi.registry import Registry
    from khotool.check.kernels.asked import AskedKernel
    from khotool.lab.kernelfile import KernelFile

DEFAULT_PAGE = 4096
"""Page size assumed for a kernel file that does not give one: structs hardly depend on it."""
KERNEL_OPTIONS = """
--kernel KERNEL...     predict what this kernel would do: a release, 'next', or a kernel file
                       (repeatable)
--assume-handler HANDLER...
                       assume that the kernel has this file handler, as an out-of-tree one
                       (repeatable)
--memory ADDR+LEN...   RAM of the machine, which tells pointers beyond it (repeatable)
--policy FILE          TOML file with the handlers that are mandatory or optional; the verdict
                       follows it
"""


def add_kernel_options(parser: argparse._ActionsContainer) -> None:
    """Add the flags that name kernels and the handlers that they are assumed to have."""
    declare(parser, KERNEL_OPTIONS, memory=area)


def known_memory(args: argparse.Namespace) -> tuple[tuple[int, int], ...]:
    """Ranges of ``--memory``: first physical address, and the one after the last."""
    return tuple((start, start + size) for start, size in args.memory)


def asked_kernels(args: argparse.Namespace, registry: Registry) -> tuple[AskedKernel, ...]:
    """The kernels of ``--kernel``, each once, with the handlers of ``--assume-handler``."""
    assumed = tuple(dict.fromkeys(args.assume_handler))
    names = dict.fromkeys(args.kernel)
    return tuple(replace(_asked(name, registry), assumed=assumed) for name in names)


def _asked(name: str, registry: Registry) -> AskedKernel:
    from khotool.abi.releases import Release
    from khotool.check.kernels.asked import asked_file, asked_kernel

    by_name = name in registry.sets or Release.parse(name) is not None
    if os.sep not in name and (by_name or not os.path.exists(name)):
        return asked_kernel(name, registry)
    from khotool.lab.kernelfile import open_kernel

    kernel = open_kernel(name)
    asked = asked_file(
        name,
        kernel.release or "",
        kernel.contains,
        registry,
        machine=str(kernel.machine),
        page_size=kernel.page_size or 0,
    )
    return _with_types(asked, kernel, registry)


def _with_types(asked: AskedKernel, kernel: KernelFile, registry: Registry) -> AskedKernel:
    """What the types of a kernel's file say of the definitions of its set."""
    from khotool.abi.geometry import Geometry
    from khotool.authoring.btf import Btf
    from khotool.authoring.compare_btf import NO_STRUCT, compare_set
    from khotool.check.kernels.asked import Misfit
    from khotool.lab.btf import kernel_btf

    assert asked.file is not None
    if kernel.body is None:
        return replace(asked, file=replace(asked.file, packing=kernel.packing))
    data = kernel_btf(kernel)
    if data is None:
        return asked
    compared, found = compare_set(
        Btf(data), asked.abi, registry, Geometry(kernel.page_size or DEFAULT_PAGE)
    )
    # A struct that is missing may be of something that the kernel is built without.
    misfits = tuple(
        Misfit(d.definition, d.struct, d.field, d.message) for d in found if d.message != NO_STRUCT
    )
    return replace(asked, file=replace(asked.file, structs=compared, misfits=misfits))
