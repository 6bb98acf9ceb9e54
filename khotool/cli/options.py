"""Options that several commands share, and their value types."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TypeVar

from khotool.cli.arguments import declare
from khotool.limits import Limits, OpenOptions
from khotool.records import fields

T = TypeVar("T")

PAGE_SIZES = "4K, 16K or 64K"
LEAST_MEMORY = 64 << 20
"""Bytes that the interpreter and the libraries need before an image is opened."""


def number(text: str) -> int:
    """A number of at least 0 as ``parse_size`` reads it.

    Raises:
        ValueError: the text is not such a number.
    """
    from khotool.structured.numbers import parse_size

    value = parse_size(text)
    if value < 0:
        raise ValueError(text)
    return value


def address(text: str) -> int:
    """A physical address below 2**64, hexadecimal with 0x or decimal."""
    try:
        value = number(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected an address such as 0x4de000"
        ) from None
    if value >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text}: an address has at most 64 bits")
    return value


def root(text: str) -> int | str:
    """A physical address, or the name of a tree in a debugfs copy."""
    try:
        return address(text)
    except argparse.ArgumentTypeError:
        if "0" <= text[:1] <= "9":
            raise
        return text


def page_size(text: str) -> int:
    """Bytes of a page, of the sizes that kernels with KHO can have."""
    try:
        value = number(text)
    except ValueError:
        value = 0
    if value not in (4096, 16384, 65536):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a page size of {PAGE_SIZES}")
    return value


def area(text: str) -> tuple[int, int]:
    """``ADDR+LEN``: physical address and bytes."""
    start, plus, size = text.partition("+")
    try:
        found = address(start), number(size)
    except (ValueError, argparse.ArgumentTypeError):
        plus = ""
        found = 0, 0
    if not plus or found[1] <= 0 or sum(found) > 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r}: expected ADDR+LEN such as 0xdc00000+16M")
    return found


def abi(text: str) -> tuple[str, str | None]:
    """``ID`` or ``ID=LAYOUT``."""
    identifier, equals, layout = text.partition("=")
    if not identifier or (equals and not layout):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected ID or ID=LAYOUT, as 'khotool formats list' shows them"
        )
    return identifier, layout if equals else None


def named_numbers(text: str, names: Sequence[str]) -> dict[str, int]:
    """``NAME=N,...`` with positive numbers below 2**63."""
    chosen: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            chosen[name] = number(value)
        except ValueError:
            chosen[name] = 0
        if name not in names or not 0 < chosen[name] < 1 << 63:
            raise argparse.ArgumentTypeError(
                f"{part!r}: expected NAME=N with a number above 0; names: {', '.join(names)}"
            )
    return chosen


def limits(text: str) -> Limits | None:
    """Any of the names of ``Limits`` with a number, such as ``nodes=1M,seconds=60``."""
    if text == "show":
        return None
    chosen = named_numbers(text, [field.name for field in fields(Limits)])
    if chosen.get("memory", LEAST_MEMORY) < LEAST_MEMORY:
        raise argparse.ArgumentTypeError(
            f"memory={chosen['memory']}: khotool itself needs {LEAST_MEMORY >> 20}M"
        )
    return Limits(**chosen)


class LimitAction(argparse.Action):
    """Store the limits, or print the defaults for ``show``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Print the defaults and exit if there are no values."""
        if values is None:
            for field in fields(Limits):
                print(f"{field.name:8} {getattr(Limits(), field.name) or 'no limit'}")
            parser.exit()
        setattr(namespace, self.dest, values)


class CompactAction(argparse.Action):
    """Ask for JSON, on one line."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Set both."""
        namespace.json = namespace.compact = True


def checked(convert: Callable[[str], T], text: str, flag: str) -> T:
    """Convert a value outside of argparse, such as part of a positional argument."""
    from khotool.errors import UsageError

    try:
        return convert(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{flag} {error}") from None


READING = f"""
reading the image:
--root ADDR            address of the KHO root, or the name of a tree in a debugfs copy
--page-size N          page size of the kernel: {PAGE_SIZES}
--endian le|be         byte order of the kernel
--base ADDR            physical address of the first byte of a raw file
--scratch ADDR+LEN...  a scratch area (repeatable)
--debugfs DIR          copy of /sys/kernel/debug/kho taken at the same moment
"""
JSON = """
--json                 print JSON instead of text
"""
OUTPUT = """
-o, --output FILE      write to FILE; it is replaced only when complete
"""
STYLE = """
--color auto|always|never = auto  use colours (default: auto); NO_COLOR and FORCE_COLOR are honoured
--ascii                draw trees with ASCII characters
"""
NOTES = """
--progress auto|never = auto  show progress on a terminal (default: auto)
-q, --quiet            do not print notes on stderr
-v, --verbose          print more notes on stderr
"""


def add_page_size_option(parser: argparse._ActionsContainer) -> None:
    """Add the option for the page size that a definition is laid out for."""
    table = f"--page-size N = 4K  page size: {PAGE_SIZES} (default: 4K)"
    declare(parser, table, page_size=page_size)


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for reading a capture."""
    types = {"root": root, "page_size": page_size, "base": address, "scratch": area}
    add_decoding_options(declare(parser, READING, **types))


def add_decoding_options(group: argparse._ActionsContainer) -> None:
    """Add the options that select definitions and bound decoding."""
    text = "use this definition or layout instead of the detected one (repeatable)"
    declare(group, f"--abi ID[=LAYOUT]...  {text}", abi=abi)
    add_formats_option(group)
    add_limit_option(group)
    declare(group, "--strict  exit with 1 if there are warnings or ambiguities")


def add_formats_option(parser: argparse._ActionsContainer) -> None:
    """Add the option for directories of further definitions."""
    declare(parser, "--formats DIR...  directory with additional ABI definitions (repeatable)")


def add_limit_option(parser: argparse._ActionsContainer) -> None:
    """Add the option that bounds decoding and the command as a whole."""
    parser.add_argument(
        "--limit",
        type=limits,
        action=LimitAction,
        metavar="NAME=N,...",
        default=Limits(),
        help="bound decoding (nodes, depth, chain, bytes, scan) or the command (seconds, memory, "
        "written); 'show' prints the defaults",
    )


def add_output_options(
    parser: argparse.ArgumentParser,
    *,
    json: bool | str = True,
    compact: bool = False,
    output: bool = True,
) -> None:
    """Add the options for the destination and the style of the output."""
    group = parser.add_argument_group("output")
    if json:
        declare(group, f"--json  {json}" if isinstance(json, str) else JSON)
    if compact:
        text = "print JSON on one line; implies --json"
        group.add_argument("--compact", action=CompactAction, help=text)
    declare(group, OUTPUT + STYLE if output else STYLE)
    text = "do not use a pager for long output on a terminal"
    group.add_argument("--no-pager", dest="pager", action="store_false", help=text)
    declare(group, NOTES)


def options_from(args: argparse.Namespace) -> OpenOptions:
    """The values of the options of ``add_image_options``."""
    return OpenOptions(
        root=args.root,
        page_size=args.page_size,
        byteorder={"le": "little", "be": "big", None: None}[args.endian],
        base=args.base,
        scratch=list(args.scratch),
        debugfs=args.debugfs,
        abi=dict(args.abi),
        formats=list(args.formats),
        limits=args.limit,
    )
