"""``khotool fleet``: many images as tables, and questions about all of them."""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from typing import TYPE_CHECKING, Any

from khotool.cli.arguments import declare
from khotool.cli.options import add_formats_option, add_output_options, named_numbers
from khotool.cli.output import note, write_document, write_text
from khotool.errors import UsageError

if TYPE_CHECKING:
    from khotool.fleet.query import Answer
    from khotool.fleet.scan import Progress
    from khotool.fleet.settings import Settings

EPILOG = """\
examples:
  khotool fleet scan /srv/images -o scan --kernel 7.3 --label 'host=([^/]+)/[^/]+$'
  khotool fleet ask scan refused-by
  khotool fleet query scan "SELECT release, count(*) AS images FROM images GROUP BY release"
  khotool fleet report scan -o report.html
  khotool fleet compare scan-tuesday scan-friday

A second scan into the same directory examines only what is new or changed. The tables are Parquet
files, see docs/reference/fleet.md. Needs: pip install 'khotool[fleet]'
"""

LIMITS = ("seconds", "memory")
REDRAW = 0.2
"""Seconds between two drawings of the progress line."""


SCAN = """
inputs INPUT...        files, directories, glob patterns, tars, URLs
-o, --output DIR (required)  directory for the tables
--kernel RELEASE...    predict what this kernel would do with each image (repeatable)
--label NAME=REGEX...  label from the image's name: first group of REGEX, or all of it (repeatable)
"""
WHERE = """
--workers N            number of processes (default: one per processor)
--cluster ADDRESS      use a running dask.distributed scheduler
"""
NOTES = """
--json                 print the totals as JSON
--progress auto|never = auto  show progress on a terminal (default: auto)
-q, --quiet            do not print notes on stderr
"""
FOLDER = """
folder DIR             directory of a scan
"""
QUERY = """
sql SQL                query; each table is a view of the same name
--csv                  print CSV
"""
ASK = """
question [QUESTION]    name of the question; without it, list them
--csv                  print CSV
"""
COMPARE = """
old OLD                directory of the older scan
new NEW                directory of the newer scan
"""
QUESTIONS = (
    ("query", "query the tables of a scan with SQL", FOLDER + QUERY),
    ("ask", "ask a named question", FOLDER + ASK),
    ("report", "write a self-contained HTML report of a scan", FOLDER),
    ("compare", "show what changed between two scans", COMPARE),
)
"""Sub-commands about scans: name, help and arguments."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    text = "examine images and write tables"
    _add_scan(actions.add_parser("scan", help=text, allow_abbrev=False))
    for name, text, table in QUESTIONS:
        inner = actions.add_parser(name, help=text, allow_abbrev=False)
        declare(inner, table)
        add_output_options(inner, json=name != "report")


def _add_scan(parser: argparse.ArgumentParser) -> None:
    declare(parser, SCAN)
    declare(parser.add_mutually_exclusive_group(), WHERE, workers=int)
    parser.add_argument(
        "--limit",
        metavar="NAME=N,...",
        help="bounds for one image (default: seconds=60,memory=4G)",
        type=lambda text: named_numbers(text, LIMITS),
        default={},
    )
    add_formats_option(parser)
    declare(parser, NOTES)


def run(args: argparse.Namespace) -> int:
    actions = {
        "scan": run_scan,
        "query": run_query,
        "ask": run_ask,
        "report": run_report,
        "compare": run_compare,
    }
    return actions[args.action](args)


# -- scan --------------------------------------------------------------------------------


def settings_from(args: argparse.Namespace) -> Settings:
    """The settings of a scan."""
    from khotool.abi.registry import load_registry
    from khotool.abi.releases import set_of
    from khotool.fleet.settings import Settings

    # Also here, so that mistakes in definitions and kernels are reported, and only once.
    sets = load_registry(args.formats).sets
    for kernel in args.kernel:
        set_of(kernel, sets)
    if args.workers is not None and args.workers < 1:
        raise UsageError(f"--workers {args.workers}: expected a number of at least 1")
    given: dict[str, Any] = dict(args.limit)
    return Settings(tuple(args.kernel), tuple(args.formats), **given)


def run_scan(args: argparse.Namespace) -> int:
    """Scan; exit code 1 where an image could not be examined."""
    from khotool.fleet.extra import require
    from khotool.fleet.inputs import Label, expand
    from khotool.fleet.scan import open_engine, scan
    from khotool.fleet.store import Store, require_folder

    for module in ("pyarrow", "dask", *(["distributed"] if args.cluster else [])):
        require(module)
    settings = settings_from(args)
    labels = [Label.parse(text) for text in args.label]
    require_folder(args.output)
    store = Store.at(args.output, create=True)
    begin = time.monotonic()
    with ProgressLine(args) as line:
        done = scan(
            expand(args.inputs, labels),
            store,
            settings,
            lambda found: open_engine(found, args.workers, args.cluster),
            line.show,
        )
    seconds = time.monotonic() - begin
    if args.json:
        totals = {
            "folder": args.output,
            "images": done.total,
            "examined": done.done - done.unchanged,
            "unchanged": done.unchanged,
            "errors": done.failed,
            "seconds": round(seconds, 3),
        }
        args.output = None
        write_document("fleet", {"scan": totals}, args)
    else:
        note(
            args,
            f"{done.total} images in {seconds:.1f} s: {done.done - done.unchanged} examined, "
            f"{done.unchanged} unchanged, {done.failed} with an error; ask: khotool fleet ask "
            f"{args.output}",
        )
    return 1 if done.failed else 0


class ProgressLine:
    """A progress line on a terminal: images done, rate, time left; erased at the end."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.shown = 0.0
        self.wanted = args.progress == "auto" and not args.quiet and sys.stderr.isatty()

    def __enter__(self) -> ProgressLine:
        return self

    def show(self, progress: Progress) -> None:
        """Draw it, unless it was drawn just now."""
        now = time.monotonic()
        done = progress.began and progress.done == progress.total
        if not self.wanted or (now - self.shown < REDRAW and not done):
            return
        self.shown = now
        minutes, seconds = divmod(round(progress.left), 60)
        text = f"{progress.total} images listed"
        if progress.began:
            text = (
                f"{progress.done} of {progress.total} images, {progress.rate:.1f}/s, "
                f"{minutes}:{seconds:02} left, {progress.failed} with an error"
            )
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# -- questions ---------------------------------------------------------------------------


def run_query(args: argparse.Namespace) -> int:
    """Answer SQL."""
    from khotool.fleet.query import ask
    from khotool.fleet.store import Store

    store = Store.at(args.folder)
    _tell_journals(args, store)
    write_answer(ask(store, args.sql), args)
    return 0


def run_ask(args: argparse.Namespace) -> int:
    """Answer a named question, or list them."""
    from khotool.fleet.query import ask
    from khotool.fleet.questions import QUESTIONS
    from khotool.fleet.store import Store

    store = Store.at(args.folder)
    if args.question is None:
        width = max(map(len, QUESTIONS))
        write_text(
            "".join(f"{name:{width}}  {question.help}\n" for name, question in QUESTIONS.items()),
            args,
        )
        return 0
    if args.question not in QUESTIONS:
        from khotool.structured.mistake import suggestion

        hint = suggestion(args.question, QUESTIONS)
        raise UsageError(f"unknown question {args.question!r}{hint}")
    _tell_journals(args, store)
    write_answer(ask(store, QUESTIONS[args.question].sql), args)
    return 0


def _tell_journals(args: argparse.Namespace, store: Any) -> None:
    if store.interrupted:
        note(
            args,
            "a scan into this folder is running or was interrupted; run it again for the rest",
        )


def write_answer(answer: Answer, args: argparse.Namespace) -> None:
    """An answer as JSON, CSV or an aligned table."""
    if args.json and args.csv:
        raise UsageError("--json and --csv exclude each other")
    if args.json:
        document = {"columns": answer.columns, "rows": list(answer.records())}
        write_document("fleet", document, args)
    elif args.csv:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows(answer.rows)
        write_text(out.getvalue(), args)
    else:
        from khotool.render.fleet import answer_text

        write_text(answer_text(answer), args)


def run_report(args: argparse.Namespace) -> int:
    """Write the page."""
    from khotool.fleet.store import Store
    from khotool.fleet.summary import summarise
    from khotool.render.fleet_html import fleet_html

    if args.output is None:
        raise UsageError("give -o FILE, such as -o report.html")
    store = Store.at(args.folder)
    _tell_journals(args, store)
    write_text(fleet_html(args.folder, summarise(store)), args)
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """Compare two scans; exit code 1 where they differ."""
    from khotool.fleet.compare import compare
    from khotool.fleet.store import Store

    found = compare(Store.at(args.old), Store.at(args.new))
    if args.json:
        parts = {
            name: {"columns": answer.columns, "rows": list(answer.records())}
            for name, answer in found.answers.items()
        }
        write_document("fleet", {"equal": found.equal, **parts}, args)
    else:
        from khotool.render.fleet import comparison_text

        write_text(comparison_text(found), args)
    return 0 if found.equal else 1
