"""Commands that write, over images that are damaged on purpose, and damaged further.

The first byte names the command, the second a recipe of ``fixtures/bad``; edits follow as in
``damage``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from khotool.encode.reopen import image_of
from khotool.encode.segments import write_image
from khotool.opening.models import build_model, read_model
from tests.builders import REGISTRY
from tests.fuzz.damage import EDIT, EDITS, MOST_EDITS, Base, base_of, edit
from tests.fuzz.harness_commands import run

KIND = "command"
RUNS = 400

BAD = Path(__file__).parents[2] / "fixtures" / "bad"
#: IN is the damaged file, OUT a file that is not there, DUMP the full dump of the image.
COMMANDS = (
    "convert --to 7.3 -o OUT IN",
    "convert --to 6.19 -o OUT IN",
    "convert --to 6.16 -o OUT IN",
    "encode --mode fresh -o OUT DUMP",
    "encode -o OUT DUMP",
    "report -o OUT IN",
    "pack --payload -o OUT IN",
    "pack --anonymize -o OUT IN",
    "check --kernel 7.3 IN",
    "dump --dts IN",
    "hex --plain IN 0x0+0xffffffffffffffff",
    "hex IN /LUO",
    "hex --json IN /",
)


@cache
def recipes() -> list[Path]:
    """Every recipe of damage."""
    return sorted(BAD.glob("*/recipe.toml"))


@cache
def whole(number: int) -> Base:
    """The image of a recipe by number, with the places of its metadata."""
    image = image_of(build_model(read_model(recipes()[number]), REGISTRY), REGISTRY)
    return base_of(image)


def seeds() -> Iterator[bytes]:
    """Every recipe, with a command each in turn."""
    for number in range(len(recipes())):
        for command in range(number % 3, len(COMMANDS), 3):
            yield bytes([command, number])


def one_input(data: bytes) -> None:
    """The exit code is 0 to 3 and the last line says why."""
    command, number, rest = (*data[:2], 0, 0)[0], (*data[1:2], 0)[0], data[2:]
    recipe = number % len(recipes())
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        image, out = Path(folder) / "image", Path(folder) / "out"
        write_damaged(image, recipe, rest)
        words = COMMANDS[command % len(COMMANDS)].split()
        given = {"IN": str(image), "OUT": str(out), "DUMP": str(image.with_suffix(".json"))}
        if "DUMP" in words:
            code, stdout, _ = run(["dump", "--json", "--full", str(image)])
            if code > 1:
                return
            image.with_suffix(".json").write_text(stdout, encoding="utf-8")
        code, _, stderr = run([given.get(word, word) for word in words])
        assert code in (0, 1, 2, 3, 5), (code, stderr)
        assert "out of memory" not in stderr
        if code in (2, 3):
            assert stderr.splitlines()[-1].startswith("khotool: error: "), stderr


def write_damaged(path: Path, recipe: int, edits: bytes) -> None:
    """The image of a recipe as a core, with further edits."""
    base = whole(recipe)
    built = build_model(read_model(recipes()[recipe]), REGISTRY)
    order = base.image.geometry.byteorder
    last = min(len(edits) - EDIT, MOST_EDITS * EDIT)
    for at in range(0, last + 1, EDIT):
        kind, where, value = EDITS.unpack_from(edits, at)
        built.segments.extend(edit(base, kind, where, value, order))
    write_image(path, built)
