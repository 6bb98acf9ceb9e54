"""Definitions of khotool, of installed packages, of the user, and of ``--formats``."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from khotool import plugins
from khotool.abi.load import load_definition
from khotool.abi.registry import Origin, Registry, load_registry, shipped_registry
from khotool.abi.sources import installed as with_sources
from khotool.cli.main import main
from khotool.errors import DefinitionError
from khotool.handlers import handlers
from tests.installed import Site, forget, installed

ROOT = Path(__file__).parents[3]
CAPTURE = str(ROOT / "fixtures/real/linux-7.3.4/image.elf.xz")


def text(identifier: str, title: str = "X", more: str = "") -> str:
    return (
        f'id = "{identifier}"\ntitle = "{title}"\nkind = "file"\ncontent = "x_ser"\n'
        f'status = "local"\nmatch = {{ compatible = "{identifier}" }}\n{more}'
        "[struct.x_ser]\nsize = 8\nlayout = 'u64 a;'\n"
    )


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that one test installs is seen by another."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    forget()
    yield
    forget()


@pytest.fixture
def user(tmp_path: Path) -> Path:
    folder = tmp_path / "config" / "khotool" / "formats"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path / "site")
    with installed(tmp_path / "site") as folder:
        yield folder


def test_nothing_but_what_is_shipped() -> None:
    """Without packages and folders, all is shipped and nothing is reported."""
    assert load_registry() is not None
    assert {load_registry().origin(d.id) for d in shipped_registry()} == {Origin("shipped")}
    assert plugins.take_problems() == []


def test_folder_of_the_user(user: Path) -> None:
    """Files of the configuration folder are read without a flag."""
    (user / "mine-v1.toml").write_text(text("mine-v1"))
    registry = load_registry()
    assert registry.get("mine-v1").title == "X"
    assert registry.origin("mine-v1") == Origin("user", str(user))
    assert registry.origin("memfd-v2") == Origin("shipped")


def test_sets_of_the_user(user: Path) -> None:
    """A folder may bring ABI sets; a wrong one among them is left out alone."""
    (user / "mine-v1.toml").write_text(text("mine-v1"))
    row = '[[set]]\nid = "{}"\nroot = "kho-v4"\nfiles = ["{}"]\n'
    row += 'releases = {{ first = "99.{}", last = "" }}\n'
    rows = [row.format("bad", "gone-v1", 1), row.format("mine", "mine-v1", 2)]
    (user / "sets.toml").write_text("\n".join(rows))
    registry = load_registry()
    found = registry.set_for("mine")
    assert found is not None
    assert found.files == ("mine-v1",)
    assert "bad" not in registry.sets
    assert set(shipped_registry().sets) < set(registry.sets)
    assert plugins.take_problems() == [
        f"{user}: sets.toml.bad: names 'gone-v1', which is not defined; not used"
    ]


def test_folders_of_the_variable(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KHOTOOL_FORMATS adds folders behind that of the configuration; a missing one is told."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine-v1.toml").write_text(text("mine-v1", name))
    (user / "mine-v1.toml").write_text(text("mine-v1", "user"))
    gone = tmp_path / "gone"
    monkeypatch.setenv("KHOTOOL_FORMATS", f"{tmp_path}/a:{gone}::{tmp_path}/b")
    assert load_registry().get("mine-v1").title == "b"
    assert plugins.take_problems() == [f"KHOTOOL_FORMATS: {gone}: no such folder; not used"]


def test_relative_configuration_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative XDG_CONFIG_HOME means nothing; the home folder counts then."""
    folder = tmp_path / ".config" / "khotool" / "formats"
    folder.mkdir(parents=True)
    (folder / "home-v1.toml").write_text(text("home-v1"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_registry().origin("home-v1") == Origin("user", str(folder))


def test_order(user: Path, site: Site, tmp_path: Path) -> None:
    """Shipped, packages, the user's folder, --formats: each wins over those before it."""
    site.install(
        "demo",
        "[khotool.formats]\ndemo = demo\n",
        {
            "demo/__init__.py": "",
            "demo/deep/a.toml": text("a", "package"),
            "demo/b.toml": text("b", "package"),
            "demo/memfd-v2.toml": text("memfd-v2", "package"),
            "demo/notes.txt": "no definition",
        },
    )
    (user / "a.toml").write_text(text("a", "user"))
    (tmp_path / "flag").mkdir()
    (tmp_path / "flag" / "a.toml").write_text(text("a", "flag"))
    registry = load_registry()
    assert [registry.get(i).title for i in ("a", "b", "memfd-v2")] == ["user", "package", "package"]
    assert registry.origin("b") == Origin("package", "demo 1.0")
    assert shipped_registry().get("memfd-v2").title == "A memfd"
    registry = load_registry([tmp_path / "flag"])
    assert registry.get("a").title == "flag"
    assert registry.origin("a") == Origin("folder", str(tmp_path / "flag"))
    assert plugins.take_problems() == []


def test_callables_and_modules(site: Site) -> None:
    """An entry point may be a module of a package, or give paths and resources when called."""
    site.install(
        "calls",
        """
        [khotool.formats]
        one = calls.where:one
        several = calls.where:several
        module = calls.inner.where
        """,
        {
            "calls/__init__.py": "",
            "calls/where.py": """
                from importlib.resources import files
                from pathlib import Path
                def one():
                    return str(Path(__file__).parent / "one")
                def several():
                    yield files("calls") / "several"
                    yield Path(__file__).parent / "single.toml"
            """,
            "calls/one/a.toml": text("a"),
            "calls/several/b.toml": text("b"),
            "calls/single.toml": text("c"),
            "calls/inner/__init__.py": "",
            "calls/inner/where.py": "",
            "calls/inner/d.toml": text("d"),
        },
    )
    registry = load_registry()
    assert plugins.take_problems() == []
    assert {registry.origin(i) for i in "abcd"} == {Origin("package", "calls 1.0")}


BROKEN = {
    "no module": ("[khotool.formats]\nx = nothing_here\n", {}, "ModuleNotFoundError: No module"),
    "raises": ("[khotool.formats]\nx = bad\n", {"bad/__init__.py": "1/0"}, "ZeroDivisionError"),
    "leaves": (
        "[khotool.formats]\nx = bad\n",
        {"bad/__init__.py": "raise SystemExit('bye')"},
        "SystemExit: bye",
    ),
    "no function": ("[khotool.formats]\nx = bad:f\n", {"bad/__init__.py": ""}, "AttributeError"),
    "a number": (
        "[khotool.formats]\nx = bad:f\n",
        {"bad/__init__.py": "f = 7"},
        "expected a package or a callable, found int",
    ),
    "call raises": (
        "[khotool.formats]\nx = bad:f\n",
        {"bad/__init__.py": "def f():\n    raise OSError('lost\\nit')"},
        "OSError: lost it",
    ),
    "no path": (
        "[khotool.formats]\nx = bad:f\n",
        {"bad/__init__.py": "def f():\n    return [7]"},
        "returned int, which is not a path",
    ),
    "missing path": (
        "[khotool.formats]\nx = bad:f\n",
        {"bad/__init__.py": "def f():\n    return '/proc/nowhere/x'"},
        "/proc/nowhere/x: No such file or directory",
    ),
    "plain module": (
        "[khotool.formats]\nx = bad_module\n",
        {"bad_module.py": ""},
        "a module outside of a package has no files of its own",
    ),
    "wrong definition": (
        "[khotool.formats]\nx = bad\n",
        {"bad/__init__.py": "", "bad/a.toml": "id = 1"},
        "a.toml:1: id: expected a string",
    ),
    "wrong size": (
        "[khotool.formats]\nx = bad\n",
        {"bad/__init__.py": "", "bad/a.toml": text("a").replace("size = 8", "size = 9")},
        "the fields take 8 bytes, but the declared size is 9",
    ),
    "wrong use": (
        "[khotool.formats]\nx = bad\n",
        {"bad/__init__.py": "", "bad/a.toml": text("a", more='uses = ["b"]\n')},
        "a.toml: uses 'b', which is not defined",
    ),
    "takes away what others use": (
        "[khotool.formats]\nx = bad\n",
        {"bad/__init__.py": "", "bad/a.toml": text("kho_vmalloc")},
        "huge-memfd-v1 needs the one it replaces: struct",
    ),
    "wrong set": (
        "[khotool.formats]\nx = bad\n",
        {
            "bad/__init__.py": "",
            "bad/sets.toml": '[[set]]\nid = "s"\nroot = "nothing"\n'
            'releases = { first = "99.1", last = "" }\n',
        },
        "names 'nothing', which is not defined",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_package(case: str, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """A package with a fault costs one line that names it and the reason; work goes on."""
    entry_points, files, reason = BROKEN[case]
    site.install("broken", entry_points, files)
    site.install(
        "sound",
        "[khotool.formats]\nx = sound\n",
        {"sound/__init__.py": "", "sound/good.toml": text("good")},
    )
    assert main(["formats", "show", "good"]) == 0
    out, err = capsys.readouterr()
    assert "sound 1.0, good.toml" in out
    assert err.startswith("khotool: warning: package broken 1.0: ")
    assert reason in err
    assert len(err.splitlines()) == 1
    assert load_registry().get("kho_vmalloc").title == "A preserved vmalloc area"


def test_one_wrong_file_among_good_ones(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of a folder is used; -q keeps the warning back; --formats is strict."""
    (user / "a.toml").write_text(text("a", more='uses = ["b"]\n'))
    (user / "b.toml").write_text(text("b", more='uses = ["c"]\n'))
    (user / "d.toml").write_text(text("d"))
    (user / "e.toml").write_bytes(b"\xff")
    assert main(["dump", "--summary", CAPTURE]) == 0
    err = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[3] for line in err] == ["e.toml:1", "b.toml", "a.toml"]
    forget()
    assert main(["formats", "list", "-q"]) == 0
    out, err_text = capsys.readouterr()
    assert err_text == ""
    assert re.search(r"^d  .* file .* local .* user +X$", out, re.M)
    with pytest.raises(DefinitionError):
        load_registry([user])
    assert main(["formats", "list", "--formats", str(user)]) == 2


def test_check_looks_at_the_folder_of_the_user(
    user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a folder on the command line, the shipped files and the user's are checked."""
    (user / "a.toml").write_text(text("a").replace("u64", "u63"))
    assert main(["formats", "check"]) == 2
    out = capsys.readouterr().out.splitlines()
    assert out[:-1] == [f"{user}/a.toml:9: struct.x_ser.layout: unknown type 'u63'"]
    assert out[-1] == f"{len(shipped_registry().definitions) + 1} definitions checked, 1 mistake"


def test_list_and_show_say_from_where(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list has a column as soon as not all is shipped; JSON and show say it always."""
    main(["formats", "list"])
    assert " from " not in capsys.readouterr().out.splitlines()[0]
    (user / "sub").mkdir()
    (user / "sub" / "mine-v1.toml").write_text(text("mine-v1"))
    forget()
    main(["formats", "list"])
    assert " from " in capsys.readouterr().out.splitlines()[0]
    main(["formats", "list", "--json"])
    found = {row["id"]: row["from"] for row in json.loads(capsys.readouterr().out)["formats"]}
    assert found["mine-v1"] == {"kind": "user", "name": str(user), "file": "sub/mine-v1.toml"}
    assert found["memfd-v2"] == {"kind": "shipped", "name": None, "file": "memfd/memfd-v2.toml"}
    main(["formats", "show", "mine-v1"])
    shown = "".join(capsys.readouterr().out.split())
    assert f"from{user},sub/mine-v1.toml" in shown


HANDLER = """
    from khotool.extract.plan import plan_of
    from khotool.handlers import Handler

    class Demo(Handler):
        name = "demo"

        def annotate(self, image):
            for session in image.entry("LUO").get("sessions").elements():
                yield session, "seen"

        def payload(self, image, node):
            if node.key != "0x1":
                return None
            return plan_of(node.path, "demo", [(image.root.address, 16)])
"""


def test_handler_of_a_package(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installed handler names things and gives payload, also below --all."""
    site.install(
        "demo", "[khotool.handlers]\ndemo = demo_handler:Demo\n", {"demo_handler.py": HANDLER}
    )
    assert [handler.name for handler in handlers()] == ["systemd", "demo"]
    assert main(["dump", CAPTURE, "/LUO/sessions[vm-alpha]", "--depth", "1"]) == 0
    assert "seen" in capsys.readouterr().out
    path = "/LUO/sessions[vm-alpha]/files[0x1]"
    assert main(["extract", CAPTURE, path, "-o", str(tmp_path / "one")]) == 0
    assert (tmp_path / "one").read_bytes()[:4] == b"\xd0\x0d\xfe\xed"
    folder = tmp_path / "all"
    assert main(["extract", CAPTURE, "/LUO/sessions[vm-alpha]", "--all", "-o", str(folder)]) == 0
    rows = json.loads((folder / "manifest.json").read_text())["files"]
    assert {row["path"]: row["kind"] for row in rows}[path] == "demo"
    assert {row["kind"] for row in rows} == {"demo", "memfd"}


BROKEN_HANDLERS = {
    "no object": ("x = 7", "a handler has a method annotate"),
    "no name": (
        "class x:\n    def annotate(self, i): return ()\n    def payload(self, i, n): pass",
        "a handler has a name",
    ),
    "not made": (
        "class x:\n    def __init__(self):\n        raise ValueError('no')",
        "ValueError: no",
    ),
    "breaks": (
        "from khotool.handlers import Handler\nclass x(Handler):\n    name = 'x'\n"
        "    def annotate(self, image): raise KeyError('no')",
        "handler 'x': KeyError: 'no'; its answer is not used",
    ),
}


@pytest.mark.parametrize("case", BROKEN_HANDLERS)
def test_broken_handler(case: str, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """A handler that is none, or breaks, costs one line; the image is shown all the same."""
    source, reason = BROKEN_HANDLERS[case]
    site.install("broken", "[khotool.handlers]\nx = bad_handler:x\n", {"bad_handler.py": source})
    assert main(["dump", "--summary", CAPTURE]) == 0
    out, err = capsys.readouterr()
    assert "3 flbs" in out
    assert len(err.splitlines()) == 1
    assert reason in err


def test_handler_of_the_wrong_payload(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no plan is told about once, and the definition's own payload is written."""
    code = (
        "from khotool.handlers import Handler\nclass x(Handler):\n    name = 'x'\n"
        "    def payload(self, image, node): return 'text'\n"
    )
    path = "/LUO/sessions[vm-alpha]/files[0x1]"
    assert main(["extract", CAPTURE, path, "-o", str(tmp_path / "own")]) == 0
    site.install("bad", "[khotool.handlers]\nx = bad:x\n", {"bad.py": code})
    forget()
    capsys.readouterr()
    assert main(["extract", CAPTURE, path, "-o", str(tmp_path / "same")]) == 0
    line = "handler 'x': payload() gave str, expected a Plan or None; its answer is not used"
    assert capsys.readouterr().err.count(line) == 1
    assert (tmp_path / "same").read_bytes() == (tmp_path / "own").read_bytes()


def test_handler_replaces_built_in_one(site: Site) -> None:
    """The same name wins over khotool's own."""
    source = "from khotool.handlers import Handler\nclass x(Handler):\n    name = 'systemd'\n"
    site.install("mine", "[khotool.handlers]\nx = mine_handler:x\n", {"mine_handler.py": source})
    found = handlers()
    assert [type(handler).__name__ for handler in found] == ["x"]


def structure(identifier: str, uses: str = "", layout: str = "u64 a;", struct: str = "") -> str:
    """A structure of 8 bytes, called like its id."""
    return (
        f'id = "{identifier}"\ntitle = "X"\nkind = "structure"\ncontent = "none"\n'
        f'status = "local"\nuses = [{uses}]\n'
        f"[struct.{struct or identifier}]\nsize = 8\nlayout = '{layout}'\n"
    )


def known(*texts: str) -> Registry:
    return Registry([load_definition(one.encode(), "known.toml") for one in texts])


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
        ("def f():\n    return 7\n", "returned int, which is not a path; not used"),
        ("def f():\n    return [b'x', None]\n", "returned bytes, which is not a path; not used"),
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
        archive.writestr("in/deep/one.toml", structure("one"))
        archive.writestr("two.toml", structure("two"))
    registry = load_registry()
    assert plugins.take_problems() == []
    assert registry.origin("one") == Origin("package", "zipped 1.0")
    assert "two" not in registry.definitions


USER = structure("user", '"a", "b", "c"', "struct b_ser b;")
A, B, C = structure("a"), structure("b", struct="b_ser"), structure("c")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"b": structure("b", struct="other")}, ["b.toml: user needs the one it replaces: "]),
        (
            {"a": A, "b": structure("b", struct="other")},
            [
                "a.toml: user needs the one it replaces: ",
                "b.toml: user needs the one it replaces: ",
            ],
        ),
        (
            {"b": structure("b", struct="other"), "c": C},
            ["b.toml: user needs the one it replaces: "],
        ),
        ({"b": structure("b", struct="other"), "user": structure("user", '"b"')}, []),
        ({"b": B, "user": USER.replace('"X"', '"Y"')}, []),
        ({"c": structure("c", struct="other")}, []),
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
