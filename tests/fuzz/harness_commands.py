"""The command line, run in this process over a damaged file.

The first byte names the command; a recipe of damage follows, or from ``FILES`` on a whole file.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from unittest import mock

from khotool.cli import main as entry
from khotool.decode.open import open_image
from khotool.encode.pack import pack_image
from khotool.encode.segments import page_segments
from khotool.memory.writer import write_elf
from tests.fuzz.containers import cores, kdumps, limes, tars
from tests.fuzz.damage import BASES, EDITS, base, writes_of
from tests.fuzz.harness_fdt import seeds as blobs

KIND = "command"
RUNS = 500

FILES = 0x80
SESSION = "/LUO/sessions[vm-alpha]"
#: IN is the damaged file, OUT a file or folder that is not there, ROOT the address of the root.
COMMANDS = (
    "dump IN",
    "dump --json --full IN",
    "dump --dts IN",
    "dump --summary --root ROOT IN",
    "dump --json --full --blobs OUT IN",
    f"dump --rows 3 IN {SESSION}",
    "pages IN",
    "pages --unowned --json IN",
    "pages --csv IN",
    "pages --summary IN",
    "check IN",
    "check --kernel 7.3 IN",
    "check --kernel 6.17 --json IN",
    "check --output-format sarif IN",
    "check --root ROOT --fail-on note IN",
    "diff --pages --contents --addresses IN IN",
    "diff --json IN IN",
    "identify IN ROOT 0x0",
    "identify --json IN ROOT",
    "hex IN ROOT+512",
    "hex --json IN /LUO",
    "hex --plain IN ROOT+64",
    "extract --all -o OUT IN",
    f"extract --raw -o OUT IN {SESSION}/files[0x1]",
    f"extract -o OUT --fill zero IN {SESSION}/files[0x2]",
    "pack -o OUT IN",
    "pack --payload --anonymize -o OUT IN",
    "convert --to 7.3 -o OUT IN",
    "convert --to 6.17 -o OUT IN",
    "convert --to 7.1 -o OUT IN",
    "report -o OUT IN",
    "fuzz -n 1 -o OUT IN",
)


def seeds() -> Iterator[bytes]:
    """Every command with a recipe of some damage, and files of every container."""
    for number in range(len(COMMANDS)):
        yield bytes([number, number % BASES]) + EDITS.pack(2, 40 * number, number)
    for number, data in enumerate(
        (*cores(), *tars(), *kdumps(), *limes(), *list(blobs())[::6]), FILES
    ):
        yield bytes([number]) + data


@cache
def packed(number: int) -> tuple[list[tuple[int, bytes]], dict[str, str], str, str | None]:
    """Pages, note, byte order and machine of an undamaged image without its payload."""
    built = pack_image(base(number).image)
    pages = page_segments(built.segments, built.geometry.page_size)
    kept = [(address, bytes(data)) for address, data in pages]
    return kept, built.vmcoreinfo, built.geometry.byteorder, built.machine


def write_damaged(path: Path, recipe: bytes) -> int:
    """The image of a recipe as a core; returns the address of its root."""
    whole, writes = writes_of(recipe)
    pages, note, order, machine = packed((recipe[0] if recipe else 0) % BASES)
    made = [(address, bytearray(data)) for address, data in pages]
    for address, data in writes:
        for start, page in made:
            at = address - start
            if 0 <= at < len(page):
                page[at : at + len(data)] = data[: len(page) - at]
    write_elf(
        path,
        made,
        endian="little" if order == "little" else "big",
        machine=machine or "x86_64",
        vmcoreinfo=note,
    )
    span = whole.image.tree.span
    return 0 if span is None else span.address


def one_input(data: bytes) -> None:
    """The exit code is 0 to 3, text is printable, JSON is JSON, and what is packed opens."""
    number = data[0] if data else 0
    words = COMMANDS[number % FILES % len(COMMANDS)].split()
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        image, out = Path(folder) / "image", Path(folder) / "out"
        if number < FILES:
            root = write_damaged(image, data[1:])
        else:
            root = 0
            image.write_bytes(data[1:])
        given = [
            word.replace("ROOT", hex(root))
            if word.startswith("ROOT")
            else {"IN": str(image), "OUT": str(out)}.get(word, word)
            for word in words
        ]
        code, stdout, stderr = run(given)
        assert code in (0, 1, 2, 3, 5), (code, stderr)
        if "out of memory" in stderr:
            raise MemoryError(stderr)
        if code in (2, 3):
            assert stderr.splitlines()[-1].startswith("khotool: error: "), stderr
        assert all(c.isprintable() or c in "\r\n\t" for c in stdout + stderr)
        if code in (0, 1, 5) and "--json" in words and stdout:
            json.loads(stdout)
        if words[0] == "diff":
            assert code != 1, stdout
        if words[0] == "pack" and code == 0:
            open_image(out)


def run(words: list[str]) -> tuple[int, str, str]:
    """Exit code, output and messages; what the command line would call a bug is raised."""
    stdout, stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with (
        mock.patch.object(entry, "_bug", _raise),
        mock.patch.object(sys, "stdin", io.StringIO()),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        code = entry.main(words)
    stdout.flush()
    text = stdout.buffer.getvalue()
    return code, text.decode("utf-8"), stderr.getvalue()


def _raise(error: Exception) -> int:
    raise error
