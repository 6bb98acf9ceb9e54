"""The version of this distribution."""

from __future__ import annotations


def version() -> str:
    """Version of the installed package; ``unknown`` in a source tree that is not installed."""
    from khotool.installed import version_of

    quick = version_of("khotool")
    if quick is not None:
        return quick
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("khotool")
    except PackageNotFoundError:
        return "unknown"
