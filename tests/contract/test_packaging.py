"""What is installed: the program and its definitions, and nothing else."""

from __future__ import annotations

import os
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.contract.repository import ROOT


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_listed() -> None:
    """pyproject.toml lists each folder of the program; a forgotten one is missing in the wheel."""
    here = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "khotool").rglob("__init__.py")
    }
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "khotool").rglob("*.py")
    }
    listed = set(project()["tool"]["setuptools"]["packages"])

    assert folders == here
    assert listed == here | {"khotool.formats"}


def test_formats_hold_data_only() -> None:
    """formats/ is not a Python package."""
    assert list((ROOT / "formats").rglob("*.py")) == []


def test_dependencies_have_bounds() -> None:
    """Each dependency says from which version on it works."""
    for name in project()["project"]["dependencies"]:
        assert any(mark in name for mark in (">=", "==")), name


def wheel() -> Path:
    """The wheel that .ci/run built.

    It is not built here: that needs build tools, and they may need the network.
    """
    named = os.environ.get("KHOTOOL_WHEEL")
    if not named:
        pytest.skip("KHOTOOL_WHEEL names no wheel; .ci/run builds one")
    return Path(named)


def test_wheel_holds_the_definitions() -> None:
    """Every file of formats/ is in the wheel, below khotool."""
    with zipfile.ZipFile(wheel()) as archive:
        names = set(archive.namelist())
    wanted = {
        f"khotool/formats/{path.relative_to(ROOT / 'formats').as_posix()}"
        for path in (ROOT / "formats").rglob("*.toml")
    }

    assert wanted <= names
    assert "khotool/py.typed" in names


def test_wheel_holds_every_module_and_no_test() -> None:
    """The wheel installs one top-level name, without tests, fixtures or documentation."""
    with zipfile.ZipFile(wheel()) as archive:
        names = archive.namelist()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "khotool").rglob("*.py")}
    data = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "khotool").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }

    assert modules <= set(names)
    assert data <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"khotool"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
