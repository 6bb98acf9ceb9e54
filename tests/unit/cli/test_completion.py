"""Completion of a command line, in the shells themselves."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from khotool.cli.complete import complete
from khotool.cli.completion import SCRIPTS
from khotool.cli.main import main

ROOT = Path(__file__).parents[3]
IMAGE = "fixtures/real/linux-7.3.4/image.elf.xz"
RECIPE = "fixtures/good/7.2-everything/recipe.toml"
ASK = {
    # The functions of a shell that show candidates only while a line is edited are printed here.
    "bash": """
compopt() {{ :; }}
source {script}
COMP_WORDS=({words}) COMP_CWORD=$(({count} - 1))
_khotool
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    "zsh": """
compdef() {{ :; }}
_files() {{ print -l -- *(N) }}
compadd() {{
  local seen=0 word
  for word; do (( seen )) && print -r -- $word; [[ $word = -- ]] && seen=1; done
  return 0
}}
source {script}
words=({words}) CURRENT={count}
_khotool
""",
    "fish": "source {script}; complete -C {line}\n",
}


def names(words: str) -> list[str]:
    """Candidates for a line that ends in what is typed."""
    return [word for word, _ in complete(words.split(" "))[1]]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("du", ["dump"]),
        ("dump --summ", ["--summary"]),
        ("formats sho", ["show"]),
        ("formats show --page", ["--page-size"]),
        ("check x --output-format js", ["json"]),
        ("diff x y --output-format mark", ["markdown"]),
        ("explain MEM302", ["MEM302"]),
        ("explain referenced-n", ["referenced-not-preserved"]),
        ("check x --select MEM302,LUO504", ["MEM302,LUO504"]),
        ("formats show memfd-v2", ["memfd-v2", "memfd-v2-draft", "memfd-v2-vmalloc-v1"]),
        ("check x --kernel 6.1", ["6.16", "6.18", "6.19"]),
        ("schema man", ["manifest"]),
        ("help du", ["dump"]),
        ("dump nothing.elf /LU", []),
    ],
)
def test_words(line: str, expected: list[str]) -> None:
    """Each place of a command line has its own words."""
    assert names(line) == expected


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("dump ", "file"),
        ("dump x --formats ", "folder"),
        ("dump --depth 2 -o ", "file"),
        ("diff a ", "file"),
        ("check a b ", "file"),
        (f"dump {RECIPE} ", "path"),
        ("formats diff memfd-v1 memf", ""),
    ],
)
def test_kinds(line: str, kind: str) -> None:
    """Where names of files fit, the shell completes them."""
    assert complete(line.split(" "))[0] == kind


def test_paths_grow() -> None:
    """Paths are completed level by level; a whole one shows what it has."""
    assert names(f"dump {RECIPE} /LUO/sess") == ["/LUO/sessions"]
    inner = names(f"dump {RECIPE} /LUO/sessions")
    assert {"/LUO/sessions[vm-alpha]", "/LUO/sessions[vm-beta]"} <= set(inner)
    one = "/LUO/sessions[vm-alpha]/files"
    assert names(f"dump {RECIPE} {one[:-3]}") == [one]


@pytest.mark.parametrize("shell", SCRIPTS)
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["dum"], "dump"),
        (["dump", "--summ"], "--summary"),
        (["explain", "MEM302"], "MEM302"),
        (["dump", RECIPE, "/LUO/sess"], "/LUO/sessions"),
    ],
    ids=["command", "option", "rule", "path"],
)
def test_in_the_shell(shell: str, typed: list[str], expected: str, tmp_path: Path) -> None:
    """A script that a shell reads asks khotool, and the shell takes the answer."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell}")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell])
    tool = tmp_path / "bin" / "khotool"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m khotool "$@"\n')
    tool.chmod(0o755)
    line = shlex.join(["khotool", *typed])
    text = ASK[shell].format(
        script=script, words=line, count=len(typed) + 1, line=shlex.quote(line)
    )
    environment = {
        **os.environ,
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [program, *(["--norc"] if shell == "bash" else []), "/dev/stdin"],
        input=text.encode(),
        capture_output=True,
        env=environment,
        cwd=ROOT,
        check=True,
        timeout=60,
    )

    assert expected in [row.split("\t")[0] for row in done.stdout.decode().splitlines()]
    assert done.stderr == b""


@pytest.mark.parametrize("shell", SCRIPTS)
def test_files_in_the_shell(shell: str, tmp_path: Path) -> None:
    """Names of files come from the shell."""
    (tmp_path / "some-image.elf").touch()
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell}")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell])
    tool = tmp_path / "khotool"
    tool.write_text("#!/bin/sh\necho file\n")
    tool.chmod(0o755)
    text = ASK[shell].format(
        script=script, words="khotool dump some", count=3, line="'khotool dump some'"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(
        [program, "/dev/stdin"],
        input=text.encode(),
        capture_output=True,
        env=environment,
        cwd=tmp_path,
        check=True,
        timeout=60,
    )

    assert "some-image.elf" in done.stdout.decode()


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The scripts and what they ask are one command."""
    assert main(["completion", "words", "--", "dump", "--summ"]) == 0
    assert capsys.readouterr().out == "\n--summary\tshow about ten lines\n"
    assert main(["completion", "bash", "x"]) == 2
