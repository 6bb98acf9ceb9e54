"""The kernels that a command asks: releases, what is queued, postings, and files."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from khotool.records import replace

if TYPE_CHECKING:
    from khotool.abi.registry import Registry
    from khotool.check.kernels.asked import AskedKernel


def add_kernel_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Flags that say which kernels are asked, and what they are taken to have."""
    parser.add_argument(
        "--kernel",
        action="append",
        default=[],
        metavar="KERNEL",
        help="predict what this kernel would do: a release, 'next', or a kernel file (repeatable)",
    )
    parser.add_argument(
        "--assume-handler",
        action="append",
        default=[],
        metavar="HANDLER",
        help="assume that the kernel has this file handler, as an out-of-tree one (repeatable)",
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="TOML file with the handlers that are mandatory or optional; the verdict follows it",
    )


def asked_kernels(args: argparse.Namespace, registry: Registry) -> tuple[AskedKernel, ...]:
    """The kernels of ``--kernel``, each once, with the handlers of ``--assume-handler``.

    Raises:
        KhotoolError: an unknown release, or a file that is not a kernel.
    """
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
    return asked_file(
        name,
        kernel.release or "",
        kernel.contains,
        registry,
        machine=str(kernel.machine),
        page_size=kernel.page_size or 0,
    )
