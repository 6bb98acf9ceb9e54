"""Packages of the extra ``khotool[fleet]``: imported when they are needed, asked for by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from khotool.errors import UsageError


def require(module: str) -> Any:
    """A module of a package that the extra brings.

    Raises:
        UsageError: it is not installed; says how to install it.
    """
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise UsageError(
            f"khotool fleet needs {package}, which is not installed; "
            "install it with: pip install 'khotool[fleet]'"
        ) from None
