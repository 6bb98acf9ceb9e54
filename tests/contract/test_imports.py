"""Imports point one way, without circles, and a command pays only for what it needs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.contract.repository import ROOT, modules

ROOMS = (
    ("records",),
    ("errors", "absent", "findings", "limits", "version", "installed", "plugins"),
    ("structured",),
    ("memory",),
    ("fdt",),
    ("abi",),
    ("pages",),
    ("maps",),
    ("model",),
    ("view",),
    ("extract",),
    ("handlers",),
    ("handover",),
    ("codec",),
    ("discovery",),
    ("decode",),
    ("document",),
    ("host", "encode"),
    ("manifest",),
    ("opening",),
    ("check", "diff"),
    ("fixture", "authoring", "api", "config"),
    ("lab", "fleet", "drgn"),
    ("render",),
    ("schema",),
    ("tui",),
    ("cli",),
    ("__main__",),
)
"""Rooms from the bottom up; a room may import those in rows above its own in this list."""

ALLOWED: dict[tuple[str, str], str] = {}
"""Imports by file and room that do not point down, and why."""

TEXTUAL_ONLY = ("tui",)
HEAVY = ("numpy", "rich", "construct", "textual", "pyfdt", "hexdump", "importlib.metadata")


@dataclass(frozen=True)
class Import:
    """An import of a module: where it is, and whether it is in a function or for types alone."""

    path: Path
    line: int
    module: str
    lazy: bool
    typing: bool

    @property
    def room(self) -> str:
        return room_of(self.path)


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "khotool").with_suffix("").parts
    return parts[0]


def module_of(path: Path) -> str:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


@cache
def known() -> frozenset[str]:
    """Dotted names of all modules."""
    return frozenset(module_of(path) for path in modules())


def imports(path: Path) -> Iterator[Import]:
    """Every import of a module, wherever it is."""
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
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield Import(path, node.lineno, name if name in known() else base, lazy, typing)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            under = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            stack.append((child, lazy, typing or under))


@cache
def every_import() -> tuple[Import, ...]:
    return tuple(found for path in modules() for found in imports(path))


def row(room: str) -> int:
    for number, rooms in enumerate(ROOMS):
        if room in rooms:
            return number
    raise AssertionError(f"khotool/{room} has no place in ROOMS")


def test_every_room_has_a_row() -> None:
    """A new room takes its place in the order of imports."""
    for path in modules():
        if path != ROOT / "khotool/__init__.py":
            row(room_of(path))


def test_every_room_says_what_lives_there() -> None:
    """The docstring of a room's ``__init__.py`` says what lives there."""
    rooms = [path for path in modules() if path.name == "__init__.py"]
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in rooms
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert silent == []


def crossings() -> dict[tuple[str, str], list[str]]:
    """Imports that do not point down, by file and room."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in every_import():
        if one.module not in known() or one.path.parent == ROOT / "khotool":
            continue
        parts = one.module.split(".")
        if len(parts) < 2:
            continue
        target = parts[1]
        if one.room != target and row(target) >= row(one.room):
            name = one.path.relative_to(ROOT).as_posix()
            found.setdefault((name, target), []).append(f"{name}:{one.line}: {one.module}")
    return found


def test_imports_point_downwards() -> None:
    """A room imports only from rows below its own; lazily or for types makes no difference."""
    wrong = [line for key, lines in crossings().items() if key not in ALLOWED for line in lines]

    assert wrong == []


def test_exceptions_are_needed() -> None:
    """An exception that nothing uses any more goes."""
    assert set(ALLOWED) - set(crossings()) == set()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other: strongly connected components above one module."""
    order: list[str] = []
    seen: set[str] = set()
    for start in graph:
        stack = [(start, iter(graph[start]))] if start not in seen else []
        seen.add(start)
        while stack:
            module, following = stack[-1]
            step = next((m for m in following if m not in seen), None)
            if step is None:
                order.append(module)
                stack.pop()
            else:
                seen.add(step)
                stack.append((step, iter(graph[step])))
    backwards: dict[str, set[str]] = {module: set() for module in graph}
    for module, targets in graph.items():
        for target in targets:
            backwards[target].add(module)
    placed: set[str] = set()
    groups = []
    for start in reversed(order):
        group, waiting = [], [start] if start not in placed else []
        placed.add(start)
        while waiting:
            module = waiting.pop()
            group.append(module)
            fresh = backwards[module] - placed
            placed |= fresh
            waiting.extend(fresh)
        if len(group) > 1:
            groups.append(sorted(group))
    return groups


def test_a_circle_is_found() -> None:
    """Two modules that import each other are a circle; a chain is none."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_no_module_imports_itself_around_a_corner() -> None:
    """No circle among modules, whatever the imports are for."""
    graph: dict[str, set[str]] = {module: set() for module in known()}
    for one in every_import():
        source = module_of(one.path)
        if one.module in known() and one.module != source:
            graph[source].add(one.module)

    assert circles(graph) == []


def test_only_the_tui_imports_textual() -> None:
    """Textual is imported nowhere but in khotool/tui."""
    wrong = [
        f"{found.path.relative_to(ROOT)}:{found.line}"
        for found in every_import()
        if found.module.split(".")[0] == "textual" and found.room not in TEXTUAL_ONLY
    ]

    assert wrong == []


def test_memory_and_fdt_know_nothing_of_kho() -> None:
    """The two lowest rooms could serve another tool: they import no definitions."""
    for found in every_import():
        if found.room in ("memory", "fdt") and found.module.startswith("khotool."):
            target = found.module.split(".")[1]
            assert target in (*ROOMS[0], *ROOMS[1], "memory", "fdt"), found


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
