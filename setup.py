"""Build step: the wheel has the definitions compiled, as khotool/abi/cache.py describes."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithDefinitions(build_py):
    """Compiles the definitions into the folder that becomes the wheel."""

    def run(self) -> None:
        """Copy the modules, then compile from the copy's own source."""
        super().run()
        if self.editable_mode:
            return
        sys.path.insert(0, str(ROOT))
        from khotool.abi.cache import FILE, write_compiled

        write_compiled(Path(self.build_lib, "khotool", "formats", FILE))


setup(cmdclass={"build_py": BuildWithDefinitions})
