"""``khotool fuzz``: damaged images for somebody else's parser."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from khotool.cli.options import add_image_options, add_output_options, options_from
from khotool.cli.output import note, progress
from khotool.errors import InputError, UsageError

NAME = "fuzz"
HELP = "write damaged copies of an image, with what was changed"
EPILOG = """\
examples:
  khotool fuzz image.elf.xz -n 100 --seed 1 -o mutants/
  khotool fuzz manifest.toml -n 20 -o mutants/

mutants/manifest.json lists for each image the mutations, as a recipe has them, and the rules of
khotool check that fire on it. The same seed gives the same images.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument("image", metavar="IMAGE", help="capture, full dump or manifest")
    parser.add_argument("-n", "--count", type=int, default=10, metavar="N", help="images to write")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choices (0)")
    parser.add_argument(
        "--most", type=int, default=1, metavar="N", help="mutations in one image at most (1)"
    )
    add_output_options(parser, json=False)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    """Write the images and their list."""
    if args.output is None or args.output == "-":
        raise UsageError("the images go into a folder: give -o DIR")
    if not 0 < args.count <= 100_000:
        raise UsageError(f"-n {args.count}: expected 1 to 100000 images")
    from khotool.encode.fuzz import mutants
    from khotool.encode.load import load_image
    from khotool.encode.pack import pack_image
    from khotool.encode.segments import write_image
    from khotool.memory.atomic import replacing
    from khotool.version import version

    folder = Path(args.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"-o {folder}: {error.strerror}; name a folder to write to") from None
    rows = []
    with progress(args) as report:
        image = load_image(args.image, options_from(args), report)
        base = pack_image(image)
        made = mutants(base, image.registry, args.count, args.seed, args.most)
        for number, mutant in enumerate(made):
            if report is not None:
                report("Writing", number, args.count)
            name = f"mutant-{number:05}.elf"
            write_image(folder / name, mutant.built)
            rows.append({"file": name, "mutations": mutant.mutations, "rules": mutant.rules,
                         "error": mutant.error or None})  # fmt: skip
    document = {"schema": "khotool.fuzz/1", "khotool": version(), "image": args.image,
                "seed": args.seed, "images": rows}  # fmt: skip
    with replacing(folder / "manifest.json") as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")
    note(args, f"wrote {len(rows)} images and manifest.json to {folder}")
    return 0
