"""``khotool check``: findings, and what a kernel would do."""

from __future__ import annotations

import argparse
import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from khotool.cli.arguments import declare
from khotool.cli.kernels import add_kernel_options, asked_kernels, known_memory
from khotool.cli.options import add_image_options, add_output_options, options_from
from khotool.cli.output import (
    ProgressBar,
    note,
    refuse_same_file,
    write_document,
    write_json,
    write_lines,
    write_text,
)
from khotool.errors import KhotoolError, UsageError
from khotool.records import dataclass

if TYPE_CHECKING:
    from khotool.check.kernels.asked import AskedKernel
    from khotool.check.kernels.policy import Policy
    from khotool.check.known import Suppression
    from khotool.limits import Progress
    from khotool.render.findings import Checked
    from khotool.render.lines import Line

EPILOG = """\
examples:
  khotool check image.elf.xz
  khotool check vmcore --kernel 7.3               would 7.3 accept it, and what is lost?
  khotool check vmcore --kernel 7.1 --kernel 7.3 --kernel next      upgrade and rollback
  khotool check vmcore --kernel arch/x86/boot/bzImage --assume-handler acme-nic-v1
  khotool check vmcore --kernel 7.3 --policy policy.toml
  khotool check *.elf --output-format sarif -o findings.sarif
  khotool check vmcore --ignore MEM305 --fail-on warning
  khotool check vmcore --write-baseline known.json; khotool check vmcore --baseline known.json

'khotool explain RULE' explains a rule. Exit code 0: no finding at or above --fail-on, and every
verdict is accept or allowed by --policy. 1: otherwise. 3: an image could not be read; the other
images are still checked.
"""
ARGUMENTS = """
images IMAGE...        captures, full dumps or manifests
what to report:
"""
ARGUMENTS2 = """
--select RULES...      apply only these rules: ids, id prefixes or slugs, separated by commas
--ignore RULES...      do not apply these rules
--fail-on error|warning|note|never = error
                       lowest severity that exits with 1 (default: error); never: verdicts do not
                       either
--baseline FILE        hide the findings that FILE lists
--write-baseline FILE  write the current findings to FILE
--suppress FILE...     hide findings that FILE (TOML) excuses with a reason and an end date
                       (repeatable)
--jobs N = 1           images to check in parallel (default: 1)
"""
FORMAT = """
--output-format text|concise|json|sarif|github|junit|markdown = text
                       format of the output (default: text)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = declare(parser, ARGUMENTS)
    add_kernel_options(group)
    declare(group, ARGUMENTS2, jobs=int)
    declare(parser, FORMAT)
    add_output_options(parser)
    add_image_options(parser)


def run(args: argparse.Namespace) -> int:
    refuse_same_file(args, args.images)
    if args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs}: expected a number of at least 1")
    from khotool.check.known import baseline_document
    from khotool.memory.atomic import write_json as write_json_file

    plan = plan_of(args)
    checked = list(check_all(args, plan))
    for one in checked:
        for text in one.error:
            note(args, f"error: {text}")
    if args.write_baseline is not None:
        document = baseline_document(one.findings for one in checked)
        write_json_file(args.write_baseline, document)
        note(args, f"wrote {args.write_baseline}")
    show(args, checked)
    return exit_code(args, checked)


def exit_code(args: argparse.Namespace, checked: list[Checked]) -> int:
    """The worst of all images: one that could not be read, then findings and verdicts."""
    from khotool.check.select import fails

    unread = max((one.exit_code for one in checked), default=0)
    if unread or args.fail_on == "never":
        return unread
    level = "warning" if args.strict and args.fail_on == "error" else args.fail_on
    failed = any(fails(one.findings, level) for one in checked)
    refused = any(not acceptable(verdict) for one in checked for verdict in one.verdicts)
    return 1 if (failed and args.write_baseline is None) or refused else 0


def acceptable(verdict: dict[str, Any]) -> bool:
    """True if a policy allows it; without one, if everything is accepted."""
    if "policy" in verdict:
        return bool(verdict["policy"]["decision"] == "proceed")
    return bool(verdict["outcome"] == "accept")


@dataclass(frozen=True, slots=True)
class Plan:
    """What every image is checked for; read before the images, which may take long.

    Args:
        alone: there is one image, and the command ends if it cannot be read.
    """

    kernels: tuple[AskedKernel, ...]
    policy: Policy | None
    known: Counter[str]
    suppressions: list[Suppression]
    today: date
    alone: bool


def plan_of(args: argparse.Namespace) -> Plan:
    """Read every file that the flags name."""
    from khotool.abi.registry import load_registry
    from khotool.check.catalogue import check_patterns
    from khotool.check.kernels.policy import read_policy
    from khotool.check.known import read_baseline, read_suppressions

    args.select, args.ignore = patterns(args.select), patterns(args.ignore)
    check_patterns([*args.select, *args.ignore])
    today = date.today()
    suppressions = [item for path in args.suppress for item in read_suppressions(path)]
    for item in suppressions:
        if item.until < today:
            text = f"a suppression of {item.rule} ended on {item.until}: {item.reason}"
            note(args, f"warning: {text}")
    return Plan(
        asked_kernels(args, load_registry(args.formats)) if args.kernel else (),
        read_policy(args.policy) if args.policy is not None else None,
        read_baseline(args.baseline) if args.baseline is not None else Counter(),
        suppressions,
        today,
        len(args.images) == 1 and (args.json or args.output_format in ("text", "json")),
    )


def patterns(values: list[str]) -> list[str]:
    """Patterns separated by commas."""
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


def check_all(args: argparse.Namespace, plan: Plan) -> Iterator[Checked]:
    """Results of all images, in the order of the command line."""
    from khotool.abi.registry import load_registry

    # Also here, so that mistakes in definitions are reported, and only once.
    load_registry(args.formats)
    if args.jobs == 1 or len(args.images) == 1:
        with ProgressBar(args) as report:
            for path in args.images:
                yield check_one(path, args, plan, report)
        return
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
    from multiprocessing import get_context

    from khotool.render.findings import Checked

    # Not fork: a copy of a process keeps every lock that some other thread holds at that moment.
    pool = ProcessPoolExecutor(min(args.jobs, len(args.images)), get_context("spawn"))
    try:
        # Ctrl-C reaches every process of a terminal; those of the pool inherit that it is blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            running = [pool.submit(check_one, path, args, plan) for path in args.images]
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for path, future in zip(args.images, running, strict=True):
            try:
                yield future.result()
            except BrokenExecutor:
                text = f"{path}: a process of the batch was killed; lower --jobs, or check it alone"
                yield Checked(path, error=(text,), exit_code=3)
    finally:
        # After an interrupt, images that no process has begun are not begun.
        pool.shutdown(cancel_futures=True)


def check_one(
    path: str, args: argparse.Namespace, plan: Plan, report: Progress | None = None
) -> Checked:
    """Check one image; of several, one that fails is a result with its error."""
    from khotool.cli.main import bug_line
    from khotool.render.findings import Checked

    try:
        return _checked(path, args, plan, report)
    except Exception as error:
        if plan.alone or isinstance(error, BrokenPipeError):
            raise
        if isinstance(error, KhotoolError):
            return Checked(path, error=error.lines, exit_code=error.exit_code)
        if isinstance(error, MemoryError):
            return Checked(path, error=(f"{path}: out of memory",), exit_code=3)
        if os.environ.get("KHOTOOL_DEBUG") == "1":
            raise
        return Checked(path, error=(f"{path}: {bug_line(error)}",), exit_code=4)


def _checked(path: str, args: argparse.Namespace, plan: Plan, report: Progress | None) -> Checked:
    from khotool.check.kernels import verdict_document
    from khotool.check.known import new_findings, suppress
    from khotool.check.run import check_with_skips
    from khotool.check.select import chosen
    from khotool.opening.load import load_image
    from khotool.render.findings import Checked

    image = load_image(path, options_from(args), report)
    findings, skipped = check_with_skips(image)
    findings = chosen(findings, args.select, args.ignore)
    left, suppressed = suppress(findings, plan.suppressions, plan.today)
    new = new_findings(left, plan.known)
    verdicts = [
        verdict_document(image, kernel, plan.policy, known_memory(args)) for kernel in plan.kernels
    ]
    return Checked(path, new, skipped, verdicts, len(left) - len(new), suppressed)


def show(args: argparse.Namespace, checked: list[Checked]) -> None:
    """Write the results in the wanted form."""
    style = "json" if args.json else args.output_format
    {
        "json": _show_json,
        "sarif": _show_sarif,
        "junit": _show_junit,
        "text": _show_text,
    }.get(style, _show_lines)(args, checked)


def _show_json(args: argparse.Namespace, checked: list[Checked]) -> None:
    from khotool.render import findings as render

    if len(checked) == 1:
        write_document("check", render.checked_json(checked[0]), args)
        return
    images = [render.checked_json(one) for one in checked]
    totals = render.totals_json(checked)
    write_document("check", {"images": images, "totals": totals}, args)


def _show_sarif(args: argparse.Namespace, checked: list[Checked]) -> None:
    from khotool.cli.main import project_url
    from khotool.render.sarif import sarif_document

    write_json(sarif_document(checked, project_url("Homepage")), args)


def _show_junit(args: argparse.Namespace, checked: list[Checked]) -> None:
    from khotool.findings import Severity
    from khotool.render.junit import junit_text

    level = None if args.fail_on == "never" else Severity(args.fail_on)
    write_text(junit_text(checked, level), args)


def _show_text(args: argparse.Namespace, checked: list[Checked]) -> None:
    from khotool.render.findings import text_lines, totals_line

    verbose = getattr(args, "verbose", False)

    def lines() -> Iterator[Line]:
        for one in checked:
            yield from text_lines(one, verbose=verbose)
        if len(checked) > 1:
            yield totals_line(checked)

    write_lines(lines(), args)


def _show_lines(args: argparse.Namespace, checked: list[Checked]) -> None:
    from khotool.render import annotations

    if args.output_format == "markdown":
        lines = annotations.markdown_lines(checked)
    elif args.output_format == "github":
        lines = (line for one in checked for line in annotations.github_lines(one))
    else:
        lines = (line for one in checked for line in annotations.concise_lines(one))
    write_text("\n".join(lines), args)
