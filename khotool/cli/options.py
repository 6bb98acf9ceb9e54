"""Flags that commands share, and what they mean."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from khotool.limits import Limits
from khotool.records import fields

if TYPE_CHECKING:
    from khotool.discovery.options import OpenOptions

T = TypeVar("T")

SUFFIXES = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
PAGE_SIZES = "4K, 16K or 64K"


def number(text: str) -> int:
    """A decimal or 0x number, with an optional suffix K, M, G or T of powers of 1024.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(?i)(0x[0-9a-f_]+|[0-9][0-9_]*)([kmgt]?)(?:i?b)?", text.strip())
    if match is None:
        raise ValueError(text)
    return int(match[1], 0 if match[1][:2].lower() == "0x" else 10) << SUFFIXES[match[2].lower()]


def address(text: str) -> int:
    """A physical address below 2**64, hexadecimal with 0x or decimal.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
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
        if re.match(r"[0-9]", text):
            raise
        return text


def page_size(text: str) -> int:
    """Bytes of a page: a power of two from 4096 to 65536.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        value = number(text)
    except ValueError:
        value = 0
    if not 4096 <= value <= 1 << 16 or value & (value - 1):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a page size, {PAGE_SIZES}")
    return value


def area(text: str) -> tuple[int, int]:
    """``ADDR+LEN``: physical address and bytes.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
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


def limits(text: str) -> Limits | None:
    """Any of the names of ``Limits`` with a number, such as ``nodes=1M,seconds=60``.

    Raises:
        argparse.ArgumentTypeError: an unknown name, or no number.
    """
    names = [field.name for field in fields(Limits)]
    if text == "show":
        return None
    chosen: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            chosen[name.strip()] = number(value)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{part!r}: expected NAME=N such as nodes=1M"
            ) from None
        if name.strip() not in names or not 0 < chosen[name.strip()] < 1 << 63:
            raise argparse.ArgumentTypeError(
                f"{part!r}: expected one of {', '.join(names)} with a number above 0"
            )
    return Limits(**chosen)


class LimitAction(argparse.Action):
    """Keep the limits, or print those that hold by default."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Print and leave for ``show``."""
        if values is None:
            for field in fields(Limits):
                print(f"{field.name:8} {getattr(Limits(), field.name) or 'no limit'}")
            parser.exit()
        setattr(namespace, self.dest, values)


def checked(convert: Callable[[str], T], text: str, flag: str) -> T:
    """A value outside of argparse, such as a positional one.

    Raises:
        UsageError: as ``convert`` says.
    """
    from khotool.errors import UsageError

    try:
        return convert(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{flag} {error}") from None


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Flags that say how to read a capture."""
    group = parser.add_argument_group("reading the image")
    group.add_argument(
        "--root",
        type=root,
        metavar="ADDR",
        help="address of the KHO root, or name of a tree in a debugfs copy",
    )
    group.add_argument("--page-size", type=page_size, metavar="N", help=f"{PAGE_SIZES}")
    group.add_argument("--endian", choices=("le", "be"), help="byte order of the kernel")
    group.add_argument(
        "--base", type=address, metavar="ADDR", help="address of a raw file's first byte"
    )
    group.add_argument(
        "--scratch",
        type=area,
        metavar="ADDR+LEN",
        action="append",
        default=[],
        help="a scratch area (repeat)",
    )
    group.add_argument(
        "--debugfs", metavar="DIR", help="copy of /sys/kernel/debug/kho of the same moment"
    )
    add_decoding_options(group)


def add_decoding_options(group: argparse._ArgumentGroup) -> None:
    """Flags that say by which definitions, and how far, an image is decoded."""
    group.add_argument(
        "--abi",
        type=abi,
        metavar="ID[=LAYOUT]",
        action="append",
        default=[],
        help="read with this definition or layout (repeat)",
    )
    group.add_argument(
        "--formats",
        metavar="DIR",
        action="append",
        default=[],
        help="folder of further definitions (repeat)",
    )
    group.add_argument(
        "--limit",
        type=limits,
        action=LimitAction,
        metavar="NAME=N,...",
        default=Limits(),
        help="nodes, depth, chain, bytes, scan; seconds, memory, written of the command; "
        "'show' prints them all",
    )
    group.add_argument(
        "--strict", action="store_true", help="exit 1 if there is a warning or an ambiguity"
    )


def add_output_options(
    parser: argparse.ArgumentParser, *, json: bool | str = True, output: bool = True
) -> None:
    """Flags that say where the answer goes and how it looks."""
    group = parser.add_argument_group("output")
    if json:
        text = json if isinstance(json, str) else "JSON instead of text"
        group.add_argument("--json", action="store_true", help=text)
    if output:
        group.add_argument("-o", "--output", metavar="FILE", help="write to FILE, all or nothing")
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colours; NO_COLOR and FORCE_COLOR are honoured",
    )
    group.add_argument("--ascii", action="store_true", help="draw trees with ASCII characters only")
    group.add_argument(
        "--no-pager",
        dest="pager",
        action="store_false",
        help="do not show long output on a terminal with a pager",
    )
    group.add_argument("--progress", choices=("auto", "never"), default="auto")
    group.add_argument("-q", "--quiet", action="store_true", help="no notes on stderr")
    group.add_argument("-v", "--verbose", action="store_true", help="more notes on stderr")


def options_from(args: argparse.Namespace) -> OpenOptions:
    """What the flags of ``add_image_options`` say."""
    from khotool.discovery.options import OpenOptions

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
