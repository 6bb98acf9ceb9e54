"""``khotool fuzz --boot``: damaged images, booted on a real kernel."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khotool.cli.guests import guest_settings
from khotool.cli.output import ProgressBar, note

if TYPE_CHECKING:
    from collections.abc import Callable

    from khotool.lab.fuzzing import Trial
    from khotool.limits import Progress
    from khotool.model.image import Image

    Opener = Callable[[argparse.Namespace, Progress | None], Image]


def run_boots(args: argparse.Namespace, open_it: Opener) -> int:
    """Boot damaged copies; write what harms the kernel or was not predicted, and the list.

    Args:
        open_it: gives the image to damage.
    """
    from khotool.lab.boot import Request
    from khotool.lab.fuzzing import of_interest, trials
    from khotool.lab.kernelfile import open_kernel
    from khotool.memory.atomic import made_folder

    kernel = open_kernel(args.boot)
    folder = made_folder(args.output, "-o")
    rows: list[dict[str, Any]] = []
    kept = 0
    with ProgressBar(args) as report, guest_settings(args) as settings:
        image = open_it(args, report)
        request = Request(settings, args.memory, args.append)
        for trial in trials(image, kernel, request, args.count, args.seed, args.most):
            if report is not None:
                report("Booting", trial.number, args.count)
            row = row_of(trial)
            if of_interest(trial.done):
                kept += 1
                row["file"] = keep(folder, trial)
            rows.append(row)
    write_manifest(folder, args, kernel.release, rows)
    note(args, f"booted {len(rows)} images, kept {kept} in {folder}")
    return 1 if kept else 0


def row_of(trial: Trial) -> dict[str, Any]:
    """One boot in the list."""
    return {
        "file": None,
        "mutations": trial.mutations,
        "smallest": trial.smallest,
        "verdict": trial.done.predicted,
        "outcome": str(trial.done.judged.outcome),
        "agree": trial.done.agree,
        "console": [line.text for line in trial.done.judged.lines],
    }


def keep(folder: Path, trial: Trial) -> str:
    """Write an image, the smallest change and the console; returns the image's name."""
    from khotool.encode.pack import pack_image
    from khotool.encode.segments import write_image
    from khotool.memory.atomic import replacing, write_json

    name = f"found-{trial.number:05}"
    write_image(folder / f"{name}.elf", pack_image(trial.image, payload=True))
    write_json(folder / f"{name}.recipe.json", {"mutate": trial.smallest})
    with replacing(folder / f"{name}.console.txt") as file:
        file.write(trial.done.run.console.encode("utf-8", "replace"))
    return f"{name}.elf"


def write_manifest(
    folder: Path, args: argparse.Namespace, kernel: str | None, rows: list[dict[str, Any]]
) -> None:
    """Write the list of the images."""
    from khotool.document.dump import head
    from khotool.memory.atomic import write_json

    found = {"image": args.image, "seed": args.seed, "kernel": kernel, "images": rows}
    write_json(folder / "manifest.json", {**head("fuzz"), **found})
