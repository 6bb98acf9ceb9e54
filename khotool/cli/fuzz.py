"""``khotool fuzz``: damaged images to test a parser with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khotool.cli.arguments import declare
from khotool.cli.fuzz_boot import run_boots, write_manifest
from khotool.cli.guests import add_guest_options
from khotool.cli.options import add_image_options, add_output_options, options_from
from khotool.cli.output import ProgressBar, note
from khotool.cli.streams import Terminated
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.fixture.fuzz import Mutant
    from khotool.limits import Progress
    from khotool.model.image import Image

EPILOG = """\
examples:
  khotool fuzz image.elf.xz -n 100 --seed 1 -o mutants/
  khotool fuzz manifest.toml -n 20 -o mutants/
  khotool fuzz --abi 7.2 -n 20 --kernel 7.3 -o mutants/
  khotool fuzz image.elf.xz -n 100 --boot bzImage -o found/

mutants/manifest.json lists for each image its mutations, in the syntax of a recipe, the rules that
fire on it and not on the original, and the verdict of a kernel. The same seed gives the same
images. Without IMAGE, --abi names the ABI set of a synthetic image to damage. With --boot each
image is booted on a real kernel under QEMU; only images that harm the kernel or contradict the
prediction are written, each reduced to the smallest change that does so.
"""
ARGUMENTS = """
image [IMAGE]          capture, full dump or manifest; or give --abi
-n, --count N = 10     number of images to write (default: 10)
--seed N = 0           seed of the random choices (default: 0)
--most N = 1           maximum number of mutations per image (default: 1)
--kernel RELEASE       kernel whose verdict is listed (default: the image's own)
--boot FILE            boot each image on this kernel and compare with the verdict
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS, count=int, seed=int, most=int)
    add_guest_options(parser, initrd=False)
    add_output_options(parser, json=False)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    if args.output is None or args.output == "-":
        raise UsageError("the images go into a folder: give -o DIR")
    if not 0 < args.count <= 100_000:
        raise UsageError(f"-n {args.count}: expected 1 to 100000 images")
    from khotool.encode.pack import pack_image
    from khotool.encode.segments import write_image
    from khotool.fixture.fuzz import mutants, release_of
    from khotool.memory.atomic import made_folder

    if args.boot is not None:
        return run_boots(args, image_to_damage)
    folder = made_folder(args.output, "-o")
    rows = []
    _remove_earlier(folder)
    with ProgressBar(args) as report:
        image = image_to_damage(args, report)
        base = pack_image(image)
        kernel = args.kernel or release_of(image)
        made = mutants(base, image.registry, args.count, args.seed, args.most, kernel)
        try:
            for number, mutant in enumerate(made):
                if report is not None:
                    report("Writing", number, args.count)
                name = f"mutant-{number:05}.elf"
                write_image(folder / name, mutant.built)
                rows.append(_row(name, mutant))
        except (KeyboardInterrupt, Terminated):
            # Without the manifest, nothing would record what was changed in the images so far.
            write_manifest(folder, args, kernel, rows)
            raise
    write_manifest(folder, args, kernel, rows)
    note(args, f"wrote {len(rows)} images and manifest.json to {folder}")
    return 0


def _remove_earlier(folder: Path) -> None:
    """Remove the images of an earlier run, which the new manifest would not describe."""
    manifest = folder / "manifest.json"
    if manifest.is_file():
        for image in folder.glob("mutant-[0-9][0-9][0-9][0-9][0-9].elf"):
            image.unlink()
        manifest.unlink()


def _row(name: str, mutant: Mutant) -> dict[str, Any]:
    return {
        "file": name,
        "mutations": mutant.mutations,
        "rules": mutant.rules,
        "verdict": mutant.verdict,
        "error": mutant.error or None,
    }


def image_to_damage(args: argparse.Namespace, report: Progress | None) -> Image:
    """The given image, or one generated for the set that ``--abi`` names."""
    from khotool.decode.open import load_definitions
    from khotool.encode.reopen import image_of
    from khotool.encode.sets import named_set
    from khotool.fixture.fuzz import sample
    from khotool.opening.load import load_image
    from khotool.opening.models import Model, build_model

    options = options_from(args)
    if args.image is not None:
        return load_image(args.image, options, report)
    if len(options.abi) != 1:
        raise UsageError("nothing to damage: give an image, or --abi SET for a generated one")
    (name,) = options.abi
    options.abi = {}
    registry = load_definitions(options)
    document = sample(named_set(name, registry), registry)
    return image_of(build_model(Model.of(Path("sample.toml"), document), registry), registry)
