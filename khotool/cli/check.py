"""``khotool check``: findings, and what a kernel would do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from khotool.cli.options import add_image_options, add_output_options, options_from
from khotool.cli.output import note, progress, refuse_same_file, write_json, write_lines, write_text
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.discovery.options import Progress
    from khotool.render.findings import Checked

NAME = "check"
HELP = "look for faults, and say what a kernel would do"
EPILOG = """\
examples:
  khotool check image.elf.xz
  khotool check vmcore --kernel 7.3               will 7.3 take it, and what is lost?
  khotool check *.elf --output-format sarif -o findings.sarif
  khotool check vmcore --ignore MEM305 --fail-on warning
  khotool check vmcore --write-baseline known.json; khotool check vmcore --baseline known.json

'khotool explain RULE' says what a rule means. Exit code 1: a finding at or above --fail-on, or a
verdict that is not accept.
"""

FORMATS = ("text", "concise", "json", "sarif", "github", "junit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and flags."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="captures, dumps or manifests")
    group = parser.add_argument_group("what counts")
    group.add_argument("--kernel", metavar="RELEASE", help="add the verdict of this kernel")
    group.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="RULES",
        help="only these: ids, beginnings of ids, slugs, separated by commas",
    )
    group.add_argument(
        "--ignore", action="append", default=[], metavar="RULES", help="all but these"
    )
    group.add_argument(
        "--fail-on",
        choices=("error", "warning", "note", "never"),
        default="error",
        help="lowest severity that gives exit code 1 (error)",
    )
    group.add_argument("--baseline", metavar="FILE", help="leave out findings that it lists")
    group.add_argument("--write-baseline", metavar="FILE", help="list today's findings in FILE")
    group.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="images checked at the same time (1)"
    )
    parser.add_argument(
        "--output-format", choices=FORMATS, default="text", help="how findings are shown (text)"
    )
    add_output_options(parser)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check every image."""
    refuse_same_file(args, args.images)
    if args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs}: expected a number of at least 1")
    from khotool.abi.registry import load_registry
    from khotool.abi.releases import set_of
    from khotool.check.catalogue import check_patterns
    from khotool.check.select import baseline_document, fails
    from khotool.memory.atomic import replacing

    args.select, args.ignore = patterns(args.select), patterns(args.ignore)
    check_patterns([*args.select, *args.ignore])
    if args.kernel is not None:
        # Before images are read, which takes a while.
        set_of(args.kernel, load_registry(args.formats).sets)
    checked = list(check_all(args))
    if args.write_baseline is not None:
        document = baseline_document([f for one in checked for f in one.findings])
        with replacing(args.write_baseline) as file:
            file.write(json.dumps(document, indent=1).encode() + b"\n")
        note(args, f"wrote {args.write_baseline}")
    show(args, checked)
    failed = any(fails(one.findings, args.fail_on) for one in checked)
    refused = any(one.verdict is not None and one.verdict["outcome"] != "accept" for one in checked)
    return 1 if (failed and args.write_baseline is None) or refused else 0


def patterns(values: list[str]) -> list[str]:
    """Patterns separated by commas."""
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


def check_all(args: argparse.Namespace) -> Iterator[Checked]:
    """Results of all images, in the order of the command line."""
    if args.jobs == 1 or len(args.images) == 1:
        with progress(args) as report:
            for path in args.images:
                yield check_one(path, args, report)
        return
    from concurrent.futures import ProcessPoolExecutor
    from functools import partial

    from khotool.abi.registry import load_registry

    # Here too, so that what is wrong with definitions is said, and once.
    load_registry(args.formats)
    with ProcessPoolExecutor(min(args.jobs, len(args.images))) as pool:
        yield from pool.map(partial(check_one, args=args), args.images)


def check_one(path: str, args: argparse.Namespace, report: Progress | None = None) -> Checked:
    """Check one image."""
    from khotool.check.kernels import verdict_document
    from khotool.check.run import check_with_skips
    from khotool.check.select import chosen, fingerprint, read_baseline
    from khotool.opening.load import load_image
    from khotool.render.findings import Checked

    image = load_image(path, options_from(args), report)
    findings, skipped = check_with_skips(image)
    findings = chosen(findings, args.select, args.ignore)
    known = read_baseline(args.baseline) if args.baseline is not None else set()
    left = [finding for finding in findings if fingerprint(finding) not in known]
    verdict = verdict_document(image, args.kernel) if args.kernel is not None else None
    return Checked(path, left, skipped, verdict, len(findings) - len(left))


def show(args: argparse.Namespace, checked: list[Checked]) -> None:
    """Write the results in the wanted form."""
    from khotool.render import findings as render

    style = "json" if args.json else args.output_format
    if style == "json":
        from khotool.document.dump import head

        if len(checked) == 1:
            write_json({**head("check"), **render.checked_json(checked[0])}, args)
        else:
            images = [render.checked_json(one) for one in checked]
            write_json({**head("check"), "images": images}, args)
    elif style == "sarif":
        write_json(render.sarif_document(checked), args)
    elif style == "junit":
        from khotool.findings import Severity

        level = None if args.fail_on == "never" else Severity(args.fail_on)
        write_text(render.junit_text(checked, level), args)
    elif style == "github":
        write_text("\n".join(line for one in checked for line in render.github_lines(one)), args)
    else:
        write_lines(
            (
                line
                for one in checked
                for line in render.text_lines(
                    one, concise=style == "concise", verbose=getattr(args, "verbose", False)
                )
            ),
            args,
        )
