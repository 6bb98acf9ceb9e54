"""Branch coverage of the packages that read images: ``python -m tests.coverage_gate``.

Runs the tests that concern them, prints a line for each package, and fails below ``LEAST``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LEAST = 95.0
"""Percent of branches; of statements as well."""
PACKAGES = ("memory", "fdt", "abi", "maps", "codec", "model", "discovery", "decode")
TESTS = (
    *(f"tests/unit/{name}" for name in (*PACKAGES, "pages", "authoring", "encode", "check", "cli")),
    "tests/property",
    "tests/fuzz/test_fuzz.py",
    "tests/fuzz/test_budgets.py",
)
WORST = 5
"""Files named for a package that is below."""


def main(arguments: list[str] | None = None) -> int:
    """Measure and judge; 1 below the least."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage_gate", description=__doc__)
    parser.add_argument("--read", type=Path, metavar="FILE", help="judge this JSON report instead")
    parser.add_argument("--jobs", default=str(os.cpu_count() or 1), help="processes of pytest")
    options = parser.parse_args(arguments)
    if options.read is not None:
        return judge(json.loads(options.read.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory(prefix="khotool-coverage-") as folder:
        report = Path(folder) / "coverage.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            options.jobs,
            *TESTS,
            *(f"--cov=khotool/{name}" for name in PACKAGES),
            "--cov-branch",
            "--cov-config=tests/coverage.ini",
            f"--cov-report=json:{report}",
        ]
        environment = {**os.environ, "COVERAGE_FILE": str(Path(folder) / "data")}
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        judged = judge(json.loads(report.read_text(encoding="utf-8"))) if report.exists() else 1
        return code or judged


def judge(report: dict[str, Any]) -> int:
    """Print a line for each package of a JSON report of coverage; 1 if one is below."""
    failed = False
    for package in PACKAGES:
        files = {
            name: entry["summary"]
            for name, entry in report["files"].items()
            if Path(name).parts[:2] == ("khotool", package)
        }
        branches = percent(files, "covered_branches", "num_branches")
        lines = percent(files, "covered_lines", "num_statements")
        low = min(branches, lines) < LEAST
        failed |= low
        verdict = f"below {LEAST:g} %" if low else "ok"
        sys.stdout.write(
            f"{package:8} branches {branches:5.1f} %  statements {lines:5.1f} %  {verdict}\n"
        )
        if low:
            for missing, name in sorted(
                (
                    (entry["num_branches"] - entry["covered_branches"], name)
                    for name, entry in files.items()
                ),
                reverse=True,
            )[:WORST]:
                sys.stdout.write(f"         {missing:3} branches missing in {name}\n")
    return 1 if failed else 0


def percent(files: dict[str, dict[str, int]], covered: str, total: str) -> float:
    """Share of all files together; 0 where there is nothing to cover."""
    whole = sum(entry[total] for entry in files.values())
    return 100 * sum(entry[covered] for entry in files.values()) / whole if whole else 0.0


if __name__ == "__main__":
    sys.exit(main())
