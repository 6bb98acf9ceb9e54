"""Preserved memory in groups adds up to what is preserved."""

from __future__ import annotations

import json

import pytest

from khotool.cli.main import main
from khotool.view.usage import By, usage
from tests.builders import REAL, capture
from tests.schemas import validate_output

NEWEST = "linux-7.3.4"


@pytest.mark.parametrize("by", By)
def test_groups_are_everything(by: By) -> None:
    """Pages of all groups are all preserved pages, folios all blocks."""
    image = capture(NEWEST)
    groups = usage(image, by)
    ownership = image.ownership()
    assert groups is not None
    assert ownership is not None

    assert sum(group.pages for group in groups) == ownership.preserved_pages
    assert sum(group.folios for group in groups) == sum(ownership.blocks.orders().values())
    assert len({group.name for group in groups}) == len(groups)


def test_payload_of_files() -> None:
    """Payload of a file is its folios; its record and their list are metadata."""
    groups = {group.name: group for group in usage(capture(NEWEST), By.OWNER) or ()}
    file = groups["/LUO/sessions[vm-alpha]/files[0x1]"]

    assert (file.payload, file.metadata) == (512, 3)
    assert groups["/memblock/regions[trace]"].metadata == 0


def test_sessions_and_handlers() -> None:
    """A session's memory is that of its files and its own; a handler's that of its files."""
    sessions = {group.name: group.pages for group in usage(capture(NEWEST), By.SESSION) or ()}
    handlers = {group.name: group.pages for group in usage(capture(NEWEST), By.HANDLER) or ()}

    assert sessions["/LUO/sessions[vm-alpha]"] == 515 + 7 + 1 + 67 + 1
    assert handlers["memfd-v2"] == 858


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``pages --by`` has text, CSV and JSON."""
    image = str(REAL / NEWEST / "image.elf.xz")
    assert main(["pages", "--by", "entry", image]) == 0
    assert "total" in capsys.readouterr().out.splitlines()[-1]
    assert main(["pages", "--by", "entry", "--csv", image]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("LUO,321,864,")
    assert main(["pages", "--by", "session", "--json", image]) == 0
    out = capsys.readouterr().out
    assert validate_output(out) == "pages"
    assert json.loads(out)["groups"][0]["bytes"] == 842 * 4096
    assert main(["pages", "--by", "session", "--unowned", image]) == 2
