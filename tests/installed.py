"""Packages that are installed for the length of a test."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from khotool import handlers, plugins
from khotool.abi import registry
from khotool.installed import folders


def forget() -> None:
    """What khotool has found out about installed packages and folders is found out again."""
    plugins.plugins.cache_clear()
    folders.cache_clear()
    registry._installed_registry.cache_clear()
    handlers.installed_handlers.cache_clear()
    plugins.take_problems()


class Site:
    """A folder on ``sys.path`` with installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, entry_points: str, files: dict[str, str]) -> None:
        """Write what an installer would: the files of a package, and its metadata."""
        info = self.folder / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(content))


@contextmanager
def installed(folder: Path) -> Iterator[Site]:
    """A new folder of packages; it has to be on ``sys.path``. Its modules are gone at the end."""
    folder.mkdir(exist_ok=True)
    forget()
    try:
        yield Site(folder)
    finally:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(folder)):
                del sys.modules[name]
        forget()
