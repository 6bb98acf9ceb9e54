"""The cursor, its history, and every way to move it; without a terminal."""

from __future__ import annotations

from khotool.findings import Finding, Severity
from khotool.model.image import Span
from khotool.tui.find import Filtered
from khotool.tui.place import Place, labels_of, nearest, resolve
from khotool.tui.session import Change, Session
from tests.builders import decode
from tests.tui.conftest import goto

DATA = "/LUO/sessions[vm-alpha]/files[0x1]/data"


def path(session: Session) -> str:
    assert session.cursor.place is not None
    return session.cursor.place.path


def test_every_field_is_found_by_its_bytes(session: Session) -> None:
    """From a field to its bytes and back is the same field, or one with the same bytes."""
    assert session.index is not None
    for node in session.image.tree.walk():
        if node.span is None or node.value is None or node.span.size == 0:
            continue
        found = session.index.find(node.span.address)
        assert found is not None
        span = session.span(found)
        assert span is not None
        assert span.address <= node.span.address < span.end
        assert span.size <= node.span.size


def test_every_path_leads_back(session: Session) -> None:
    """The path of every node, row and field of a row names it again."""
    for node in session.image.tree.walk():
        assert resolve(session.image.tree, node.path) == Place(node)
        if node.table is not None and len(node.table):
            place = Place(node, len(node.table) - 1, labels_of(node.table)[-1])
            assert resolve(session.image.tree, place.path) == place


def test_rows_are_found_by_their_bytes(session: Session) -> None:
    """A byte of an array belongs to its row and field; bit-field parts share their word."""
    place = resolve(session.image.tree, DATA.replace("0x1", "0x2") + "/folios[3]/index")
    assert place is not None
    span = session.span(place)
    assert span is not None
    session.select_address(span.address)

    assert session.cursor.place == place
    assert session.cursor.span == span


def test_follow_and_back(session: Session) -> None:
    """Following a pointer leads to the first field there; back and forward undo it."""
    place = resolve(session.image.tree, DATA)
    assert place is not None
    session.select(place)
    target = place.node.target
    assert target is not None

    assert session.follow()
    assert path(session) == f"{DATA}/pos"
    assert session.cursor.address == target.address
    assert session.back()
    assert path(session) == DATA
    assert session.forward()
    assert path(session) == f"{DATA}/pos"
    assert not session.forward()


def test_follow_a_token_to_its_file() -> None:
    """Following a token leads to the file that it names; the address of a record, to the record."""
    image = decode(
        {
            "abi": "7.4-frontier",
            "session": [
                {
                    "name": "vm",
                    "file": [
                        {"token": 1, "handler": "tmpfs-mnt-v1", "fields": {"mode": 0o755}},
                        {
                            "token": 2,
                            "handler": "tmpfs-file-v1",
                            "fields": {"mnt_token": 1, "mode": 0o644, "name": "ring"},
                        },
                    ],
                }
            ],
        }
    )
    session = Session(image)
    place = resolve(image.tree, "/LUO/sessions[vm]/files[0x2]/data/mnt_token")
    assert place is not None
    session.select(place)

    assert session.follow()
    assert path(session) == "/LUO/sessions[vm]/files[0x1]"
    assert session.back()
    assert path(session) == place.path


def test_follow_a_row_to_its_page(session: Session) -> None:
    """A page frame number in a row leads to the page; from there, enter leads to the owner."""
    place = resolve(session.image.tree, f"{DATA}/folios[0]/pfn")
    assert place is not None
    session.select(place)
    assert session.follow()

    assert session.cursor.address == place.value << 12
    assert session.cursor.place is None
    assert session.follow()
    assert path(session) == "/LUO/sessions[vm-alpha]/files[0x1]"


def test_steps_leave_no_trace(session: Session) -> None:
    """Moving line by line is not history; jumps are."""
    start = path(session)
    session.select(Place(session.image.tree.children[0]))
    session.select(Place(session.image.tree.children[1]))
    assert not session.back()
    session.select(Place(session.image.tree.children[2]), jump=True)
    assert session.back()
    assert path(session) == session.image.tree.children[1].path != start


def test_history_is_bounded(session: Session) -> None:
    """A session of any length keeps the last thousand jumps."""
    for number in range(2500):
        session.select_address(0x4DE000 + number, jump=True)
    assert len(session.history.behind) == 1000


def test_goto_understands_every_form(session: Session) -> None:
    """Addresses, page frames, relative moves, selections, paths."""
    assert goto(session, "0x4de000")
    assert session.cursor.address == 0x4DE000
    assert goto(session, "+0x10")
    assert session.cursor.address == 0x4DE010
    assert goto(session, "-16")
    assert session.cursor.address == 0x4DE000
    assert goto(session, "#0x4de")
    assert session.cursor.address == 0x4DE000
    assert goto(session, "#4df")
    assert session.cursor.address == 0x4DF000
    assert goto(session, "0x4de000+64")
    assert session.cursor.span == Span(0x4DE000, 64)
    assert goto(session, "5103616")
    assert session.cursor.address == 5103616
    assert goto(session, DATA)
    assert path(session) == DATA
    assert goto(session, "vm-beta/files[0x1]/data/folios[12]")
    assert path(session) == "/LUO/sessions[vm-beta]/files[0x1]/data/folios[12]"
    assert goto(session, "lunumb")
    assert path(session) == "/LUO/liveupdate_number"
    assert not goto(session, "nothing of the kind")
    assert not goto(session, "0x1ffffffffffffffff")
    assert not goto(session, "   ")


def test_goto_offers_what_a_prefix_can_mean(session: Session) -> None:
    """An open bracket offers the rows that begin with the number."""
    found = [item.text for item in session.candidates("vm-beta/files[0x1]/data/folios[12")]
    base = "/LUO/sessions[vm-beta]/files[0x1]/data/folios"
    assert found[:3] == [f"{base}[12]", f"{base}[120]", f"{base}[121]"]


def test_findings_are_visited_worst_first(session: Session) -> None:
    """Next finding goes round from the worst; badges show on what is above."""
    session.set_findings(
        [
            Finding("ABI904", "/LUO/flbs[liveupdate-test-flb-v0]/data", "unknown handler"),
            Finding("MEM301", f"{DATA}/nowhere", "not captured", 0xC66000),
        ]
    )
    assert [item.severity for item in session.findings] == [Severity.ERROR, Severity.WARNING]
    first = session.next_finding(1)
    assert first is not None
    assert first.finding.rule == "MEM301"
    assert path(session).startswith(DATA)
    session.next_finding(1)
    assert path(session) == "/LUO/flbs[liveupdate-test-flb-v0]/data"
    session.next_finding(1)
    assert session.finding == 0
    session.next_finding(-1)
    assert session.finding == 1
    top = Place(session.image.tree)
    assert session.badges.worst(top, below=True) is Severity.ERROR
    assert session.badges.worst(top, below=False) is None
    assert goto(session, "ABI904")
    assert session.counts()[Severity.WARNING] == 1


def test_bookmarks_are_kept_per_image(session: Session) -> None:
    """A bookmark with its note is there in the next session of the same image."""
    assert goto(session, DATA)
    assert session.toggle_mark("the first file")
    assert session.is_marked()
    other = Session(session.image)
    assert [(mark.path, mark.note) for mark in other.marks] == [(DATA, "the first file")]
    assert other.goto_mark(other.marks[0])
    assert path(other) == DATA
    assert not other.toggle_mark()
    assert Session(session.image).marks == []


def test_listeners_hear_of_moves(session: Session) -> None:
    """One cursor: every view hears of every move, and only of moves."""
    heard: list[Change] = []
    session.listen(heard.append)
    session.select_address(0x4DE060)
    session.select_address(0x4DE060)
    session.set_filter("x", Filtered([]))
    assert heard == [Change.CURSOR, Change.FILTER]
    session.forget(heard.append)
    session.clear_filter()
    assert heard == [Change.CURSOR, Change.FILTER]


def test_regions_are_stepped_through(session: Session) -> None:
    """Next region goes through all decoded stretches upwards, previous comes back."""
    session.select_address(0)
    seen = []
    while session.next_region(1):
        seen.append(session.cursor.address)
    assert seen == sorted(set(seen), key=lambda a: a or 0)
    assert len(seen) > 10
    assert session.next_region(-1)
    assert session.cursor.address == seen[-2]


def test_nearest_place_of_a_lost_path(session: Session) -> None:
    """Of a path that is gone the part that is left is shown."""
    assert nearest(session.image.tree, f"{DATA}/gone/for[good]").path == DATA
    assert nearest(session.image.tree, "no path").path == "/"
    assert resolve(session.image.tree, "/LUO/sessions[") is None
    assert resolve(session.image.tree, "/LUO/sessions/blocks") is None
