"""Views read the same from every version of the format, and say of everything why it is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from khotool.absent import Absent, Reason
from khotool.document.dump import dump_document
from khotool.model.image import Image, Node, NodeKind
from khotool.opening.load import load_image
from khotool.view.entries import Entry, Region
from khotool.view.folios import Folios
from khotool.view.image import ImageView
from khotool.view.keyed import Keyed
from khotool.view.luo import File, Flb, Session
from khotool.view.memory import Memory
from khotool.view.values import Record, Rows, Value, value_of

FIXTURES = Path(__file__).parents[3] / "fixtures"
RECIPES = sorted(FIXTURES.glob("good/*/recipe.toml"))
CAPTURES = sorted([*FIXTURES.glob("real/*/*.xz"), *FIXTURES.glob("verdicts/*/*.xz")])
BAD = sorted(FIXTURES.glob("bad/*/recipe.toml"))
ALPHA = FIXTURES / "real" / "linux-7.3.4" / "image.elf.xz"


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def absent_json(value: Absent) -> dict[str, str]:
    return {"absent": str(value.reason), "detail": value.detail}


def hexed(value: object) -> object:
    """A number as the JSON has addresses and tokens."""
    if isinstance(value, Absent):
        return absent_json(value)
    return f"{value:#x}" if isinstance(value, int) else value


def listed(found: Keyed[Any, Any], row: Any) -> object:
    """A list as the JSON has it."""
    if found.absent is not None and not found:
        return absent_json(found.absent)
    return [row(one) for one in found]


def file_row(file: File) -> dict[str, object]:
    return {"token": hexed(file.token), "handler": hexed(file.handler), "data": hexed(file.data)}


def flb_row(flb: Flb) -> dict[str, object]:
    return {"name": hexed(flb.name), "data": hexed(flb.data), "count": flb.count}


def session_row(session: Session) -> dict[str, object]:
    return {"name": hexed(session.name), "files": listed(session.files, file_row)}


def pruned(rows: object, *keys: str) -> object:
    """Rows of the JSON with the keys that views have under the same name."""
    if not isinstance(rows, list):
        return rows
    return [{key: row[key] for key in keys if key in row} for row in rows]


@pytest.mark.parametrize("path", [*RECIPES, *CAPTURES], ids=name)
def test_views_agree_with_the_json(path: Path) -> None:
    """Sessions, files, objects, entries and totals are those that ``dump --json`` has."""
    image = load_image(path)
    view = ImageView(image)
    document = dump_document(image)
    luo = document.get("luo")
    assert bool(view.luo) == (luo is not None)
    if luo is not None and "absent" not in luo:
        assert listed(view.luo.flbs, flb_row) == pruned(luo["flbs"], "name", "data", "count")
        assert listed(view.luo.files, file_row) == pruned(
            luo.get("files", []), "token", "handler", "data"
        )
        subsystems = [{"name": one.name, "data": hexed(one.data)} for one in view.luo.subsystems]
        assert subsystems == luo.get("subsystems", [])
        sessions = luo["sessions"]
        if isinstance(sessions, list):
            sessions = [
                {
                    "name": row["name"],
                    "files": pruned(row["files"], "token", "handler", "data"),
                }
                for row in sessions
            ]
        assert listed(view.luo.sessions, session_row) == sessions
        assert view.luo.liveupdate_number == luo.get("liveupdate_number")
    elif luo is not None:
        for found in (view.luo.sessions, view.luo.flbs):
            assert found.absent is not None
            assert absent_json(found.absent) == luo
    assert [(e.name, e.format or None, hexed(e.address)) for e in view.entries] == [
        (row["name"], row["format"], row["address"]) for row in document["entries"]
    ]
    memory = view.memory
    if isinstance(memory, Absent):
        assert absent_json(memory) == document["memory"]
    else:
        assert memory.pages == document["memory"]["preserved_pages"]
        assert sum(found.pages for found in memory) == memory.pages
        assert sum(memory.pages_by_owner.values()) == memory.pages
        owned = memory.ownership
        assert sum(found.pages for found in memory.leaks) == owned.unowned_pages
        assert memory.pages_of("/") == owned.owned_pages


def touch(value: Value, seen: int = 0) -> int:
    """Read everything in a value; how much there was."""
    if isinstance(value, Record):
        repr(value)
        return sum((touch(below) for _, below in value.items()), len(value.names))
    if isinstance(value, Rows):
        return sum(len(column) for column in value.columns().values())
    if isinstance(value, Keyed):
        return sum(touch(one) for one in value)
    return 1


def read_all(image: Image) -> int:
    """Read every property of every view of an image."""
    view = ImageView(image)
    things: list[object] = [view, view.luo, view.memory]
    things += [*view.entries, *view.reserve_mem, *view.luo.sessions, *view.luo.flbs]
    things += [*view.luo.subsystems, *view.luo.all_files()]
    count = touch(value_of(image.tree))
    for thing in things:
        repr(thing)
        for attribute in dir(type(thing)):
            if attribute.startswith("_") or callable(getattr(type(thing), attribute)):
                continue
            found = getattr(thing, attribute)
            if isinstance(found, Folios):
                assert len(found.address) == len(found.pfn) == len(found.index) == len(found)
            elif isinstance(found, Record | Rows):
                count += touch(found)
    return count


@pytest.mark.parametrize("path", [*RECIPES, *CAPTURES, *BAD], ids=name)
def test_anything_can_be_read(path: Path) -> None:
    """Whatever is wrong with an image, every property of every view gives a value."""
    image = load_image(path)
    assert read_all(image) > 0


@pytest.fixture(scope="module")
def view() -> ImageView:
    return ImageView(load_image(ALPHA))


def test_keys(view: ImageView) -> None:
    """Elements are found by their natural key; a wrong one names what there is."""
    sessions = view.luo.sessions
    assert sessions["vm-alpha"] is sessions.at(0)
    assert sessions.get("vm-gamma") is None
    assert "vm-beta" in sessions
    assert sessions["vm-alpha"].files[0x10].path == "/LUO/sessions[vm-alpha]/files[0x10]"
    with pytest.raises(KeyError, match="no session 'vm-alpa'; there is 'vm-alpha'"):
        sessions["vm-alpa"]
    with pytest.raises(KeyError, match="no file 0x11; there is 0x1, 0x10"):
        sessions["vm-alpha"].files[0x11]
    with pytest.raises(KeyError, match="the list is empty"):
        sessions["empty"].files[1]
    with pytest.raises(IndexError):
        sessions.at(9)
    consumed = ImageView(load_image(ALPHA.with_name("debugfs.tar.xz"))).luo.sessions
    with pytest.raises(KeyError, match="the list is consumed"):
        consumed["vm-alpha"]


def test_repeated_keys() -> None:
    """Of two sessions with one name, the first is found; iterating gives both."""
    image = load_image(FIXTURES / "bad" / "LUO501-two-sessions-vm" / "recipe.toml")
    sessions = ImageView(image).luo.sessions
    assert [session.name for session in sessions] == ["vm", "vm"]
    assert sessions["vm"] is sessions.at(0)


def test_three_kinds_of_nothing(view: ImageView) -> None:
    """A value that the format lacks is None, one that is not captured Absent, and 0 is 0."""
    file = view.luo.sessions["vm-alpha"].files[3]
    assert isinstance(file.payload, Record)
    assert file.payload.number("seals") == 0
    assert file.payload.number("mode") is None
    with pytest.raises(KeyError, match="has no 'mode'; it has pos, size"):
        file.payload["mode"]
    older = ImageView(load_image(ALPHA.parents[1] / "linux-6.19.11" / "image.elf.xz"))
    payload = older.luo.sessions["vm-alpha"].files[3].payload
    assert isinstance(payload, Record)
    assert "seals" not in payload
    assert not older.luo.flbs
    assert older.luo.flbs.absent is None
    copy = ImageView(load_image(ALPHA.with_name("debugfs.tar.xz")))
    assert isinstance(copy.memory, Absent)
    assert copy.luo.absent is not None
    assert copy.luo.absent.reason is Reason.CONSUMED
    assert isinstance(copy.entries["LUO"].value, Absent)


def test_unknown_handlers_have_no_payload() -> None:
    """A file that no definition reads says so; its handle is still there."""
    image = load_image(FIXTURES / "bad" / "MEM307-unknown-handler" / "recipe.toml")
    unknown = [file for file in ImageView(image).luo.all_files() if not file.definitions]
    assert unknown
    for file in unknown:
        assert isinstance(file.payload, Absent)
        assert file.payload.reason is Reason.UNPARSABLE
        assert file.size == file.payload
        assert file.folios is None
        assert file.definition is None
        assert isinstance(file.data, int)


def test_a_session_owns_what_its_files_own(view: ImageView) -> None:
    """Pages below a session are those of its files and its lists, and of no session beside it."""
    memory = view.memory
    assert isinstance(memory, Memory)
    alpha = view.luo.sessions["vm-alpha"]
    files = sum(memory.pages_of(file) for file in alpha.files)
    own = memory.pages_by_owner.get(alpha.path, 0)
    assert memory.pages_of(alpha) == files + own
    assert memory.bytes_of(alpha) == memory.pages_of(alpha) * view.page_size
    assert memory.owners_of(0xEE00000) == ("/memblock/regions[trace]",)
    assert memory.is_preserved(0xEE00000)
    assert not memory.is_preserved(0)


def test_kinds(view: ImageView) -> None:
    """What a path leads to has the type of its value."""
    assert view["/LUO/liveupdate_number"] == 1
    assert view["/kexec-metadata/previous_release"] == "7.3.4"
    assert isinstance(view["/LUO/sessions"], Keyed)
    assert isinstance(view["/LUO/sessions[vm-alpha]"], Record)
    rows = view["/LUO/sessions[vm-alpha]/files[0x10]/data/folios"]
    assert isinstance(rows, Rows)
    assert rows.names == ("pfn", "flags", "index")
    assert rows[3]["index"] == int(rows.column("index")[3])
    with pytest.raises(KeyError, match="no column 'order'; it has pfn"):
        rows.column("order")


def test_reprs_are_short(view: ImageView) -> None:
    """A view shows what it is, and not the whole model behind it."""
    shown = [view, view.luo, view.luo.sessions, view.luo.sessions.at(0), view.memory]
    shown += [view.entries.at(0), view.reserve_mem.at(0), view["/LUO/sessions[vm-alpha]"]]
    assert all(len(repr(one)) < 100 for one in shown)


def test_a_key_that_is_no_number() -> None:
    """A file that a device tree names by something else than a number has no token."""
    node = Node("", NodeKind.FDT_NODE, key="seven")
    file = File(node, load_image(ALPHA))
    assert isinstance(file.token, Absent)
    assert file.token.reason is Reason.UNPARSABLE
    assert isinstance(file.handler, Absent)


def test_views_of_one_node_are_equal(view: ImageView) -> None:
    """Views compare by what they are a view of, and can be keys."""
    session = view.luo.sessions.at(0)
    assert Session(session.node, session.image) == session
    assert len({session, Session(session.node, session.image)}) == 1
    assert Region(view.reserve_mem.at(0).node) == view.reserve_mem.at(0)
    assert Entry(view.entries.at(0).node, view.model) == view.entries.at(0)
