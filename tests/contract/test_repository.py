"""What must be in the repository, and what must never be."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.contract.repository import ROOT, files, modules, texts

MOST_LINES = 500
MOST_BYTES = 400 << 10

# In two pieces, so that this file does not hold what it looks for.
UNWANTED = (
    "/" + "work/",
    "/" + "farm/",
    "/" + "tmp/" + "bash_jobs",
    "/" + "root/",
    "deb" + ".debian.org",
    "pypi" + ".org/simple",
    "files" + ".pythonhosted",
    "registry" + ".npmjs",
)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "AGENTS.md",
        "khotool/py.typed",
        "fixtures/README.md",
        "tests/README.md",
        "docs/README.md",
        ".ci/run",
    ],
)
def test_file_is_there(name: str) -> None:
    """Files that readers and tools look for exist."""
    assert (ROOT / name).is_file()


def test_license_is_apache() -> None:
    """LICENSE holds the whole Apache License 2.0."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")

    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text
    assert "9. Accepting Warranty or Additional Liability." in text


def test_changelog_has_this_version() -> None:
    """The version of pyproject.toml has an entry with at least one line."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entry = re.search(rf"^## \[{re.escape(version)}\].*?(?=^## |\Z)", text, re.M | re.S)

    assert entry is not None
    assert "\n- " in entry[0]


def test_modules_hold_one_idea() -> None:
    """No module of the program has more than 500 lines."""
    long = {
        path.relative_to(ROOT).as_posix(): count
        for path in modules()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }

    assert long == {}


def test_no_catch_all_module() -> None:
    """No module is called after the lack of an idea."""
    names = {path.stem for path in modules()}

    assert not names & {"utils", "util", "helpers", "misc", "common"}


def test_files_are_small() -> None:
    """No file is larger than 400 KiB."""
    large = {
        path.relative_to(ROOT).as_posix(): path.stat().st_size
        for path in files()
        if path.stat().st_size > MOST_BYTES
    }

    assert large == {}


def test_no_text_names_a_machine() -> None:
    """No file names a path or a package host of the machine it was written on."""
    found = [
        f"{name}:{number}: {unwanted}"
        for name, text in texts()
        for unwanted in UNWANTED
        if unwanted in text
        for number, line in enumerate(text.splitlines(), 1)
        if unwanted in line
    ]

    assert found == []


def test_offsets_of_the_kernel_are_in_formats() -> None:
    """Only the compiler of definitions and readers of containers spell out binary layouts.

    The laboratory spells out boot protocols and kernel files, and authoring reads BTF; neither has
    a structure of a handover.
    """
    allowed = {"memory", "fdt", "abi", "authoring", "lab"}
    wrong = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if path.relative_to(ROOT).parts[1] not in allowed
        and re.search(r"^(import struct|from struct import)", path.read_text(), re.M)
    ]

    assert wrong == []


def test_libraries_do_not_print() -> None:
    """Only commands print."""
    wrong = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if path.relative_to(ROOT).parts[1] != "cli"
        and re.search(r"^\s*print\(", path.read_text(encoding="utf-8"), re.M)
    ]

    assert wrong == []
