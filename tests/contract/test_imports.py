"""Imports point one way, and a command pays only for what it needs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.repository import ROOT, modules

LAYERS = (
    ("errors", "absent", "findings", "limits", "version", "plugins"),
    ("memory", "structured"),
    ("fdt",),
    ("abi",),
    ("pages", "authoring"),
    ("maps",),
    ("model",),
    ("view", "handover"),
    ("codec", "extract"),
    ("handlers", "discovery"),
    ("decode",),
    ("check", "diff", "document", "host"),
    ("encode",),
    ("manifest",),
    ("render",),
    ("opening",),
    ("fixture",),
    ("lab",),
    ("api", "tui"),
    ("cli",),
    ("__main__",),
)
"""Packages from the bottom up; a package may import those of earlier rows."""

ALLOWED = {
}
"""Imports by file and package that do not point down, and why."""

TEXTUAL_ONLY = ("tui",)
HEAVY = ("numpy", "rich", "construct", "textual", "pyfdt", "hexdump", "importlib.metadata")


@dataclass(frozen=True)
class Import:
    """An import of a module.

    Args:
        lazy: it stands in a function.
        typing: it stands under ``if TYPE_CHECKING``.
    """

    path: Path
    line: int
    module: str
    lazy: bool
    typing: bool

    @property
    def package(self) -> str:
        return package_of(self.path)


def package_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "khotool").with_suffix("").parts
    return parts[0]


def imports(path: Path) -> Iterator[Import]:
    """Every import of a module, wherever it stands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stack: list[tuple[ast.AST, bool, bool]] = [(tree, False, False)]
    while stack:
        node, lazy, typing = stack.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, lazy, typing)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            base = node.module or ""
            names = [f"{base}.{a.name}" for a in node.names] if base == "khotool" else [base]
            for name in names:
                yield Import(path, node.lineno, name, lazy, typing)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            under = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            stack.append((child, lazy, typing or under))


def every_import() -> list[Import]:
    return [found for path in modules() for found in imports(path)]


def layer(package: str) -> int:
    for number, row in enumerate(LAYERS):
        if package in row:
            return number
    raise AssertionError(f"khotool/{package} has no place in LAYERS")


def test_every_package_has_a_layer() -> None:
    """A new package takes its place in the order of imports."""
    for path in modules():
        if path != ROOT / "khotool/__init__.py":
            layer(package_of(path))


def crossings() -> dict[tuple[str, str], list[str]]:
    """Imports that do not point down, by file and package."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in every_import():
        if not one.module.startswith("khotool.") or one.path.parent == ROOT / "khotool":
            continue
        target = one.module.split(".")[1]
        if one.package != target and layer(target) >= layer(one.package):
            name = one.path.relative_to(ROOT).as_posix()
            found.setdefault((name, target), []).append(f"{name}:{one.line}: {one.module}")
    return found


def test_imports_point_downwards() -> None:
    """A package imports only from rows below its own; lazily or for types makes no difference."""
    wrong = [line for key, lines in crossings().items() if key not in ALLOWED for line in lines]

    assert wrong == []


def test_exceptions_are_needed() -> None:
    """An exception that nothing uses any more goes."""
    assert set(ALLOWED) - set(crossings()) == set()


def test_only_the_tui_imports_textual() -> None:
    """Textual is imported nowhere but in khotool/tui."""
    wrong = [
        f"{found.path.relative_to(ROOT)}:{found.line}"
        for found in every_import()
        if found.module.split(".")[0] == "textual" and found.package not in TEXTUAL_ONLY
    ]

    assert wrong == []


def test_memory_and_fdt_know_nothing_of_kho() -> None:
    """The two lowest packages could serve another tool: they import no definitions."""
    for found in every_import():
        if found.package in ("memory", "fdt") and found.module.startswith("khotool."):
            target = found.module.split(".")[1]
            assert target in (*LAYERS[0], "memory", "fdt"), found


def loaded_by(*words: str) -> set[str]:
    """Heavy modules in the interpreter after a command."""
    program = (
        "import json, sys\n"
        "from khotool.cli.main import main\n"
        "main(sys.argv[1:])\n"
        "print('\\n' + json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, check=True
    )
    names = json.loads(child.stderr.decode().splitlines()[-1])
    return {heavy for heavy in HEAVY if heavy in names}


def test_help_imports_nothing_heavy() -> None:
    """``khotool --help`` imports none of the libraries."""
    assert loaded_by("--help") == set()


@pytest.mark.parametrize("command", ["dump", "encode", "formats"])
def test_help_of_a_command_imports_nothing_heavy(command: str) -> None:
    """So does the help of a command."""
    assert loaded_by(command, "--help") == set()


def test_formats_list_needs_no_numpy() -> None:
    """The table of definitions is text; it needs neither numpy nor Textual."""
    assert not loaded_by("formats", "list") & {"textual"}
