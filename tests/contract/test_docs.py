"""Documentation tells the truth: its blocks run, its links hold, its tables are current."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from khotool.cli.main import main
from khotool.manifest import contents, memory_file, mutate
from khotool.manifest import read as manifest
from tests.contract.repository import ROOT
from tests.schemas import validate_output

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "tests").glob("*.md"),
        *(ROOT / "fixtures").glob("*.md"),
    ]
)
FENCE = re.compile(r"^( *)```(\w*)$")
FILE = re.compile(r"^<!-- file: (\S+) -->$")


@dataclass
class Step:
    """A file to write, or a command with the lines it has to print."""

    line: int
    command: str = ""
    file: str = ""
    expected: list[str] = field(default_factory=list)


def steps(text: str) -> Iterator[Step]:
    """Files and commands of a page, in order."""
    name = ""
    inside: str | None = None
    indent = 0
    step: Step | None = None
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if inside is None and fence:
            inside, indent = fence[2] or "text", len(fence[1])
            step = Step(number, file=name) if name else None
            name = ""
        elif inside is not None and fence:
            if step is not None:
                yield step
            inside, step = None, None
        elif inside is None:
            named = FILE.match(line.strip())
            name = named[1] if named else (name if not line.strip() else "")
        elif step is not None and step.file:
            step.expected.append(line[indent:])
        elif inside == "console":
            if line[indent:].startswith("$ "):
                if step is not None:
                    yield step
                step = Step(number, command=line[indent + 2 :])
            else:
                assert step is not None, f"line {number}: output before a command"
                step.expected.append(line[indent:])


def occurs(expected: list[str], printed: list[str]) -> str | None:
    """The first line that is not printed, in order; one that ends in `` ...`` is a beginning."""
    at = 0
    for line in expected:
        while at < len(printed):
            found = printed[at].rstrip()
            at += 1
            if found == line.rstrip() or (
                line.endswith(" ...") and found.startswith(line[:-4].rstrip())
            ):
                break
        else:
            return line
    return None


@pytest.mark.parametrize("page", PAGES)
def test_console_blocks_run(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Every ``$ khotool`` line of a page runs, prints the lines shown, and ends as shown."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "KHOTOOL_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    os.symlink(ROOT / "fixtures", tmp_path / "fixtures")
    code, shown, last = 0, True, ""
    for step in steps((ROOT / page).read_text(encoding="utf-8")):
        where = f"{page}:{step.line}"
        if step.file:
            target = tmp_path / step.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("\n".join(step.expected) + "\n", encoding="utf-8")
            continue
        if step.command == "echo $?":
            assert step.expected == [str(code)], where
            shown = True
            continue
        assert shown or code == 0, f"{last}: ended with {code}"
        words = shlex.split(step.command)
        assert words[0] == "khotool", f"{where}: only khotool runs; show other commands as sh"
        code, shown, last = main(words[1:]), False, where
        out, err = capsysbinary.readouterr()
        validate_output(out.decode())
        printed = (out + err).decode().splitlines()
        missing = occurs(step.expected, printed)
        text = "\n".join(printed)
        assert missing is None, f"{where}: {missing!r} is not in what it prints:\n{text}"
    assert shown or code == 0, f"{last}: ended with {code}"


def anchors(text: str) -> set[str]:
    """Names that links may lead to, as code hosts make them of headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        plain = re.sub(r"[`*]", "", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link of a page names a file of the repository, and a heading in it."""
    path = ROOT / page
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


def test_generated_pages_are_current() -> None:
    """``python docs/generate.py`` would change nothing."""
    child = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (child.returncode, child.stdout) == (0, ""), "run python docs/generate.py"


def test_picture_fetches_nothing() -> None:
    """The picture of the README needs no font or style from elsewhere."""
    svg = (ROOT / "docs/pictures/dump.svg").read_text(encoding="utf-8")
    without_namespace = svg.replace('xmlns="http://www.w3.org/2000/svg"', "")

    assert "http" not in without_namespace
    assert "@import" not in svg


def test_readme_lines_are_single_and_run_by_ci() -> None:
    """README gives one line to install and one to test, and .ci/run takes both from there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    for heading in ("Install and first dump", "Tests"):
        block = re.search(rf"^## {heading}\n.*?```sh\n(.*?)```", text, re.M | re.S)
        assert block is not None
        assert len(block[1].splitlines()) == 1
        assert f'readme_line "{heading}"' in script
        assert block[1].strip() not in script
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_readme_has_its_order() -> None:
    """What it is, a picture, install, tests, three things to do, the table of kernels."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = [
        text.index(mark)
        for mark in (
            "# khotool",
            "docs/pictures/dump.svg",
            "## Install and first dump",
            "## Tests",
            "## Three things to do next",
            "## Kernels and formats",
        )
    ]

    assert places == sorted(places)


def test_manifest_page_has_every_key() -> None:
    """The reference of manifests names each key, kind of contents, and operation."""
    text = (ROOT / "docs/reference/manifest.md").read_text(encoding="utf-8")
    keys = [*manifest.TOP, *memory_file.MEMORY, *contents.KINDS, *mutate.OPERATIONS]
    missing = [key for key in keys if not re.search(rf"[`{{ ]{re.escape(key)}[`\s]", text)]

    assert missing == []


def test_sentences_stand_on_lines_of_their_own() -> None:
    """A line of prose holds one sentence, so that a change of one is a change of one line."""
    wrong = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S)
        for line in text.splitlines():
            if line.startswith(("|", "#", "<", "    ")):
                continue
            if re.search(r"[a-z`)]\. [A-Z]", re.sub(r"^\d+\. |\*\*.*?\*\*", "", line.strip())):
                wrong.append(f"{page}: {line.strip()[:80]}")

    assert wrong == []
