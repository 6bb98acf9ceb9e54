"""Definitions of packages and of the user: what may give them, and who is blamed for what."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from khotool import plugins
from khotool.abi.load import load_definition
from khotool.abi.registry import Origin, Registry, load_registry
from khotool.abi.sources import installed as with_sources
from tests.installed import Site, forget, installed


def text(identifier: str, uses: str = "", layout: str = "u64 a;", struct: str = "") -> str:
    """A structure of 8 bytes, called like its id."""
    return (
        f'id = "{identifier}"\ntitle = "X"\nkind = "structure"\ncontent = "none"\n'
        f'status = "local"\nuses = [{uses}]\n'
        f"[struct.{struct or identifier}]\nsize = 8\nlayout = '{layout}'\n"
    )


def known(*texts: str) -> Registry:
    return Registry([load_definition(one.encode(), "known.toml") for one in texts])


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    forget()
    yield
    forget()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path / "site")
    with installed(tmp_path / "site") as folder:
        yield folder


LOST = """
import zipfile
class Lost(zipfile.Path):
    def is_dir(self):
        raise OSError("it is lost")
def f():
    return Lost(__file__.replace("__init__.py", "all.zip"))
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f():\n    return 7\n", "returned int, which is no path; not used"),
        ("def f():\n    return [b'x', None]\n", "returned bytes, which is no path; not used"),
        (LOST, "all.zip/: OSError: it is lost; not used"),
    ],
)
def test_what_is_no_path(code: str, reason: str, site: Site) -> None:
    """One value counts as a list of it; what cannot be read is told in the words of its error."""
    site.install("bad", "[khotool.formats]\nx = bad:f\n", {"bad/__init__.py": code})
    with zipfile.ZipFile(site.folder / "bad" / "all.zip", "w"):
        pass
    load_registry()
    problems = plugins.take_problems()
    assert problems
    assert problems[0].startswith("package bad 1.0: ")
    assert problems[0].endswith(reason)


def test_resources_that_are_no_files(site: Site) -> None:
    """A folder inside an archive is read as any other."""
    code = (
        "import zipfile\ndef f():\n"
        '    return zipfile.Path(__file__.replace("__init__.py", "all.zip"), "in/")\n'
    )
    site.install("zipped", "[khotool.formats]\nx = zipped:f\n", {"zipped/__init__.py": code})
    with zipfile.ZipFile(site.folder / "zipped" / "all.zip", "w") as archive:
        archive.writestr("in/deep/one.toml", text("one"))
        archive.writestr("two.toml", text("two"))
    registry = load_registry()
    assert plugins.take_problems() == []
    assert registry.origin("one") == Origin("package", "zipped 1.0")
    assert "two" not in registry.definitions


USER = text("user", '"a", "b", "c"', "struct b_ser b;")
A, B, C = text("a"), text("b", struct="b_ser"), text("c")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"b": text("b", struct="other")}, ["b.toml: user needs the one it replaces: "]),
        (
            {"a": A, "b": text("b", struct="other")},
            [
                "a.toml: user needs the one it replaces: ",
                "b.toml: user needs the one it replaces: ",
            ],
        ),
        ({"b": text("b", struct="other"), "c": C}, ["b.toml: user needs the one it replaces: "]),
        ({"b": text("b", struct="other"), "user": text("user", '"b"')}, []),
        ({"b": B, "user": USER.replace('"X"', '"Y"')}, []),
        ({"c": text("c", struct="other")}, []),
    ],
)
def test_one_that_others_need(files: dict[str, str], told: list[str], tmp_path: Path) -> None:
    """Of what a folder replaces, one after another goes until what others use is there again."""
    for name, content in files.items():
        (tmp_path / f"{name}.toml").write_text(content)
    registry = with_sources(known(A, B, C, USER), (str(tmp_path),))
    problems = plugins.take_problems()
    assert [
        line.startswith(f"{tmp_path}: {begin}") for line, begin in zip(problems, told, strict=True)
    ] == [True] * len(told)
    gone = {line.split(".toml")[0] for line in told}
    assert {i for i in files if registry.origin(i).kind == "user"} == set(files) - gone
