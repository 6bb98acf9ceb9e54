"""``khotool fixture``: build and check synthetic images from their recipes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khotool.cli.arguments import declare
from khotool.cli.options import add_formats_option, add_limit_option, add_output_options
from khotool.cli.output import note, write_text
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.model.image import Image

VOLATILE = ("khotool", "path", "findings")
"""Keys of a dump that depend on the program or on where the file is, not on the image."""
EPILOG = """\
examples:
  khotool fixture build fixtures/good/7.2-two-sessions/recipe.toml -o image.elf
  khotool fixture build fixtures/good          writes image.elf next to every recipe
  khotool fixture check fixtures               builds all in memory and compares
  khotool fixture check fixtures --update      accepts the results as expected

A recipe is a manifest that may damage its image with [[mutate]]; docs/reference/manifest.md
explains the keys. The expected results are next to it: expect/image.sha256, expect/dump.json and,
for a damaged image, expect/rules.txt with lines 'must RULE' and 'may RULE'.
"""
ARGUMENTS = """
action build|check     build images, or check that they are as expected
places RECIPE|DIR...   recipes, or directories that contain them
--update               with check: update the expected results
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    declare(parser, ARGUMENTS)
    add_formats_option(parser)
    add_limit_option(parser)
    add_output_options(parser, json=False)


def run(args: argparse.Namespace) -> int:
    if args.update and args.action == "build":
        raise UsageError("--update needs check")
    from khotool.abi.registry import load_registry
    from khotool.fixture.recipe import find_fixtures

    registry = load_registry(args.formats)
    fixtures = find_fixtures([Path(place) for place in args.places])
    if args.action == "check":
        from khotool.fixture.recipe import check_fixture
        from khotool.render.text import plural

        problems = []
        for fixture in fixtures:
            problems += check_fixture(fixture, registry, dump_text, args.update)
        write_text("".join(f"{line}\n" for line in problems), args)
        lines = plural(len(problems), "line")
        note(args, f"{plural(len(fixtures), 'fixture')}, {lines} of differences")
        return 1 if problems else 0
    if args.output is not None and len(fixtures) > 1:
        raise UsageError(f"-o {args.output}: {len(fixtures)} recipes; one file takes one image")
    from khotool.cli.output import refuse_same_file
    from khotool.cli.written import describe_written, image_output
    from khotool.encode.segments import write_image
    from khotool.fixture.recipe import build_fixture

    for fixture in fixtures:
        if args.output is None:
            output = str(fixture.recipe.with_name("image.elf"))
        else:
            refuse_same_file(args, [str(fixture.recipe)])
            output = image_output(args)
        built = build_fixture(fixture, registry)
        write_image(output, built)
        describe_written(args, output, built)
    return 0


def dump_text(image: Image) -> str:
    """The dump of an image as JSON text, without what depends on the program."""
    from khotool.document.dump import dump_document
    from khotool.render.json import json_chunks

    document: dict[str, Any] = dump_document(image)
    for part in (document, document["image"]):
        for key in VOLATILE:
            part.pop(key, None)
    return "".join(json_chunks(document))
