"""``khotool boot``: real kernels, booted on images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.guests import add_guest_options, guest_settings, own_initrd
from khotool.cli.options import add_image_options, add_output_options, options_from
from khotool.cli.output import ProgressBar, refuse_same_file, write_json, write_lines
from khotool.errors import KhotoolError

if TYPE_CHECKING:
    from khotool.lab.boot import Booted, Request
    from khotool.lab.kernelfile import KernelFile
    from khotool.render.boot import NotBooted

EPILOG = """\
examples:
  khotool boot image.elf --kernel bzImage
  khotool boot *.elf --kernel bzImage-7.1 --kernel bzImage-7.3      a matrix
  khotool boot mutants/*.elf --kernel bzImage --expect prediction
  khotool boot image.elf --kernel Image.gz --memory 2G --console log.txt
  khotool boot image.elf --kernel bzImage --initrd mine.cpio.gz

The kernel starts in QEMU as kexec would have started it, without a first kernel and without root,
in a few seconds. Its messages and the files that user space retrieves are compared with the image
and with the prediction of 'khotool check --kernel'. Exit code 1: a boot was not accepted, or with
--expect prediction, did not end as predicted. See docs/howto/test-a-kernel.md.
"""
ARGUMENTS = """
images IMAGE...        captures, full dumps or manifests
--kernel FILE... (required)  bzImage, arm64 Image (also .gz, .xz, .zst) or vmlinux (repeatable)
--expect accept|prediction = accept
                       exit with 0 if all are accepted, or if all are as predicted (default: accept)
--against IMAGE        image whose contents should come back (default: this one, before any damage)
--no-scrub             do not overwrite free memory before files are retrieved
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_guest_options(parser)
    add_output_options(parser)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    refuse_same_file(args, [*args.images, *args.kernel])
    from khotool.lab.boot import Request
    from khotool.lab.kernelfile import open_kernel
    from khotool.render import boot as render

    kernels = [open_kernel(path) for path in args.kernel]
    with guest_settings(args) as settings:
        request = Request(settings, args.memory, args.append, own_initrd(args), not args.no_scrub)
        done = boot_all(args, kernels, request)
    booted = [item for item in done if not isinstance(item, render.NotBooted)]
    if args.json:
        write_json(render.document(done), args)
    else:
        verbose = getattr(args, "verbose", False)
        write_lines(render.text_lines(done, verbose=verbose), args)
    if len(booted) < len(done):
        return 3
    if args.expect == "prediction":
        return 0 if all(item.agree is not False for item in booted) else 1
    return 0 if all(item.judged.outcome == "accept" for item in booted) else 1


def boot_all(
    args: argparse.Namespace, kernels: list[KernelFile], request: Request
) -> list[Booted | NotBooted]:
    """Boot each kernel on each image; one of several that cannot be booted is a row of its own."""
    from khotool.render.boot import NotBooted

    done: list[Booted | NotBooted] = []
    with ProgressBar(args) as report:
        total = len(args.images) * len(kernels)
        for path in args.images:
            for kernel in kernels:
                if report is not None:
                    report("Booting", len(done), total)
                try:
                    done.append(boot_one(args, path, kernel, request))
                except KhotoolError as error:
                    if total == 1:
                        raise
                    done.append(NotBooted(path, kernel.path, str(error)))
    return done


def boot_one(args: argparse.Namespace, path: str, kernel: KernelFile, request: Request) -> Booted:
    """Boot a kernel on an image."""
    from khotool.lab import bridge
    from khotool.lab.boot import boot
    from khotool.lab.expect import Reference

    image = bridge.open_handover(path, options_from(args))
    image.info.path = path
    if args.against is not None:
        other = bridge.open_handover(args.against, options_from(args))
        # A damaged copy has what it has at the same places as before.
        same = bridge.captured(image) == bridge.captured(other)
        return boot(image, kernel, request, Reference(other, same_layout=same))
    before = bridge.reference_of(path)
    return boot(image, kernel, request, None if before is None else Reference(before))
