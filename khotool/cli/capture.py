"""``khotool capture``: a real image, taken from a kernel."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from khotool.cli.arguments import declare
from khotool.cli.guests import add_guest_options, guest_settings, own_initrd
from khotool.cli.options import add_output_options
from khotool.cli.output import note, refuse_same_file
from khotool.cli.written import image_output
from khotool.errors import InputError

if TYPE_CHECKING:
    from khotool.lab.capture import Captured

EPILOG = """\
examples:
  khotool capture --kernel bzImage -o image.elf                  a small scenario
  khotool capture manifest.toml --kernel bzImage -o image.elf --truth truth.json
  khotool capture --kernel Image --full -o vmcore.elf            all of RAM
  khotool capture --kernel bzImage --initrd mine.cpio.gz -o image.elf

The kernel boots in QEMU, preserves what the manifest describes, and hands over to a stop kernel;
the image is what the next kernel would have found. The manifest is that of 'khotool encode'. With
--initrd, your own programs preserve, and end the capture with a kexec of /khotool/stop. See
docs/howto/test-a-kernel.md.
"""
ARGUMENTS = """
manifest [MANIFEST]    what to preserve (default: a small scenario)
--kernel FILE (required)  bzImage, arm64 Image (also .gz, .xz, .zst) or vmlinux
--truth FILE           write what the guest itself saw to FILE, as JSON
--full                 capture all of RAM, not only what is handed over
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_guest_options(parser)
    add_output_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    output = image_output(args)
    refuse_same_file(args, [path for path in (args.manifest, args.kernel) if path])
    from khotool.lab import bridge
    from khotool.lab.capture import Wish, capture
    from khotool.lab.kernelfile import open_kernel

    kernel = open_kernel(args.kernel)
    with guest_settings(args) as settings:
        wish = Wish(args.manifest, args.full, args.memory, args.append, own_initrd(args), settings)
        taken = capture(kernel, wish)
    tell_lost(args, taken)
    bridge.write_image(
        output, iter(taken.segments), kernel.machine.value, taken.release, taken.page_size
    )
    if args.truth is not None:
        data = json.dumps(truth_document(taken), indent=1).encode() + b"\n"
        bridge.write_file(args.truth, data)
    size = sum(len(data) for _, data in taken.segments)
    note(
        args,
        f"wrote {output}: {size} bytes of memory of {taken.release}, root at {taken.root:#x}, in "
        f"{taken.run.seconds:.1f} s; khotool dump {output}",
    )
    return 0


def tell_lost(args: argparse.Namespace, taken: Captured) -> None:
    """Report what of the manifest the kernel did not preserve."""
    from khotool.lab.outcome import error_name
    from khotool.render.text import visible

    for where, code in taken.lost:
        note(args, f"not taken over: {visible(where)}: {LOST[code]}")
    facts = taken.facts
    if facts.liveupdate:
        note(
            args,
            f"no sessions: /dev/liveupdate gives {error_name(facts.liveupdate)}; build the kernel "
            "with CONFIG_LIVEUPDATE=y and CONFIG_DEVTMPFS=y",
        )
        return
    for session in facts.sessions:
        name = visible(session.name)
        if session.error:
            note(args, f"not taken over: session {name}: {error_name(session.error)}")
        for file in session.files:
            if file.kept and not session.error:
                why = error_name(file.kept)
                note(args, f"not taken over: session {name} file {file.token:#x}: {why}")
    for command, number in facts.errors:
        if command == "garbled":
            raise InputError("a line of the guest's agent was garbled; run it again")
        note(args, f"the agent's command {command} failed: {error_name(number)}")


LOST = {
    "kernel-chooses": "a kernel chooses it itself",
    "not-a-memfd": "the agent makes memfds only",
}
"""Why a part of a manifest was not preserved, by code."""


def truth_document(taken: Captured) -> dict[str, Any]:
    """What the guest saw, as JSON."""
    from khotool.document.dump import head

    return {
        **head("truth"),
        "kernel": taken.release,
        "machine": taken.kernel.machine.value,
        "page_size": taken.page_size,
        "command_line": taken.command_line,
        "root": hex(taken.root),
        "regions": [
            {
                "name": region.name,
                "start": None if region.start is None else hex(region.start),
                "size": region.size,
                "sha256": taken.digests.get(region.name),
            }
            for region in taken.regions
        ],
        "sessions": [
            {
                "name": session.name,
                "error": session.error,
                "files": [
                    {
                        "token": hex(file.token),
                        "size": file.size,
                        "pos": file.position,
                        "seals": file.seals,
                        "sha256": file.sha256,
                        "error": file.kept,
                    }
                    for file in session.files
                ],
            }
            for session in taken.facts.sessions
        ],
    }
