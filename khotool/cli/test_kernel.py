"""``khotool test-kernel``: the live update conformance of a kernel."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from khotool.cli.arguments import declare
from khotool.cli.guests import add_guest_options, guest_settings
from khotool.cli.options import add_output_options
from khotool.cli.output import refuse_same_file, write_text
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.lab.conformance import Result

EPILOG = """\
examples:
  khotool test-kernel bzImage
  khotool test-kernel bzImage --previous bzImage-7.1 --previous bzImage-6.19
  khotool test-kernel bzImage --recipes fixtures/bad --mutants 100 --keep faults/
  khotool test-kernel bzImage --selftests tools/testing/selftests/liveupdate

The groups: capture (an image of this kernel is clean, and is what the guest saw), definitions
(those of khotool are the kernel's), self (it takes over from itself, with every byte), encode
(khotool makes the same), previous, synthetic, recipes and mutants (accepted, or refused without an
oops, a hang, or overwritten memory). A fault that 'khotool check --kernel' predicts is an XFAIL.
Exit code 1: a test failed.
"""
ARGUMENTS = """
kernel FILE            bzImage, arm64 Image or vmlinux
tests:
--previous FILE...     kernel to take over from (repeatable)
--recipes DIR...       directory with recipes of damaged images (repeatable)
--mutants N = 10       number of damaged copies of the capture (default: 10)
--seed N = 0           seed of the damage (default: 0)
--no-synthetic         do not boot a synthetic image of every ABI set
--selftests DIR        run the live update selftests of a kernel tree from DIR
--keep DIR             keep consoles and recipes of what harms the kernel
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS, mutants=int, seed=int)
    add_guest_options(parser, initrd=False)
    add_output_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    """Run the tests, and show each as it ends."""
    if args.mutants < 0:
        raise UsageError(f"--mutants {args.mutants}: expected a number of at least 0")
    refuse_same_file(args, [args.kernel, *args.previous])
    from khotool.lab.conformance import Conformance, Plan, State
    from khotool.lab.kernelfile import open_kernel
    from khotool.lab.selftests import find_programs
    from khotool.render.ktap import ktap_lines
    from khotool.version import version

    kernel = open_kernel(args.kernel)
    previous = tuple(open_kernel(path) for path in args.previous)
    if args.selftests is not None:
        list(find_programs(args.selftests, kernel.machine))
    states: list[State] = []

    def noted(results: Iterable[Result]) -> Iterator[Result]:
        for result in results:
            states.append(result.state)
            yield result

    with guest_settings(args) as settings:
        plan = Plan(
            settings,
            args.memory,
            args.append,
            previous,
            tuple(args.recipes),
            args.mutants,
            args.seed,
            args.keep,
            not args.no_synthetic,
            args.selftests,
        )
        head = [f"khotool {version()}", f"kernel {kernel.release} {kernel.machine} {kernel.path}"]
        lines = ktap_lines(noted(Conformance(kernel, plan).run()), head)
        if args.output in (None, "-"):
            for line in lines:
                print(line, flush=True)
        else:
            write_text("".join(f"{line}\n" for line in lines), args)
    return 1 if State.FAIL in states else 0
