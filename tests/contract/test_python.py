"""The Python API: its pages run and type-check, and ``import khotool`` stays light."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import khotool
from khotool import api
from tests.contract.repository import ROOT

PAGES = ("docs/howto/use-from-python.md", "docs/reference/api.md")
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A block of a page: its code, and the lines that it prints."""

    line: int
    code: str
    prints: str | None


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, match.start(1)) + 1, match[1], match[2])
        for match in BLOCK.finditer(text)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_and_print_what_is_shown(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block of Python on a page runs, one after the other, and prints what is shown."""
    monkeypatch.chdir(tmp_path)
    os.symlink(ROOT / "fixtures", tmp_path / "fixtures")
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        printed = io.StringIO()
        code = compile("\n" * (block.line - 1) + block.code, page, "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == (block.prints or ""), f"{page}:{block.line}"


@pytest.mark.parametrize("page", PAGES)
def test_blocks_type_check(page: str, tmp_path: Path) -> None:
    """A user's strict type checker accepts the blocks: khotool's types reach it."""
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text("\n".join(block.code for block in blocks(page)), encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(script)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache/user")},
        capture_output=True,
        text=True,
        check=False,
    )
    mine = [line for line in child.stdout.splitlines() if "script.py" in line]
    assert (mine, child.stderr) == ([], "")


def test_import_is_light() -> None:
    """``import khotool`` loads nothing but itself; a name is loaded when it is used."""
    program = "import khotool, sys; print(*(m for m in sys.modules if m.startswith('khotool')))"
    child = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert child.stdout.split() == ["khotool"]


def test_names_are_the_same_everywhere() -> None:
    """What the package names is what the API has, and every name can be used."""
    assert khotool.__all__ == api.__all__
    for name in khotool.__all__:
        assert getattr(khotool, name) is getattr(api, name)
        assert name in dir(khotool)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = khotool.nothing_of_this_name  # type: ignore[attr-defined]


VIEWS = (
    api.OpenImage,
    api.Luo,
    api.Session,
    api.File,
    api.Flb,
    api.Subsystem,
    api.Entry,
    api.Region,
    api.Keyed,
    api.Record,
    api.Rows,
    api.Folios,
    api.Memory,
    api.PageRange,
)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_every_attribute_is_documented(view: type[object]) -> None:
    """The reference has each public attribute and method in the section of its type."""
    text = (ROOT / PAGES[1]).read_text(encoding="utf-8")
    found = re.search(rf"^##+ [^\n]*`{view.__name__}`.*?(?=^## |\Z)", text, re.M | re.S)
    assert found is not None, f"no section on {view.__name__}"
    public = {name for name in dir(view) if not name.startswith("_")}
    public |= {name for name in inspect.get_annotations(view) if not name.startswith("_")}
    missing = {name for name in public if not re.search(rf"`{name}\b", found[0])}
    assert missing == set()
