"""Full documents: what is wrong with them is one error with its place."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.document import slack as slack_module
from khotool.document.full import metadata_pages, render
from khotool.document.slack import slack
from khotool.errors import KhotoolError
from khotool.limits import SHORT_ROWS
from khotool.opening.models import Model, build_model
from khotool.structured import StructuredError
from tests.builders import REGISTRY, capture
from tests.documents import full_document
from tests.strategies import change_some, share

VALUES = [None, True, -1, 0, 3, 1 << 64, 1.5, "", "x", "0x10", [], [1], {}, {"a": 1}, [[1, 2]]]


@cache
def dumped(name: str) -> str:
    return json.dumps(full_document(capture(name)))


@settings(max_examples=share(1))
@given(st.data())
def test_any_change_of_a_dump(data: st.DataObject) -> None:
    """Whatever stands at any key of a full dump: an image, or one declared error."""
    name = data.draw(st.sampled_from(["linux-6.17.8", "linux-6.19.11", "linux-7.3.4"]))
    document = json.loads(dumped(name))
    change_some(data, document["model"], VALUES)
    mode = data.draw(st.sampled_from(["preserve", "fresh"]))
    try:
        build_model(Model.of(Path("m.json"), document), REGISTRY, mode=mode)
    except KhotoolError as error:
        message = str(error)
    else:
        message = "fine"
    assert message


@pytest.mark.parametrize("wrong", [[1, 2], [1.5], [True], [-1], [1 << 64], ["x"], [[1]], "x", None])
def test_columns_of_a_table_are_numbers(wrong: Any) -> None:
    """Another length, a fraction, a list inside: an error with the path of the column."""
    document = json.loads(dumped("linux-6.19.11"))
    regions = document["model"]["regions"]
    table = next(r for r in regions if "table" in r and r["columns"]["pfn"])
    table["columns"]["index"] = wrong
    table["columns"]["pfn"] = [1]
    table["columns"]["flags"] = [0]
    key = f"model.regions[{regions.index(table)}].columns"
    with pytest.raises(StructuredError, match=re.escape(key)):
        build_model(Model.of(Path("m.json"), document), REGISTRY)


def test_few_words_make_few_rows() -> None:
    """Columns of one value and a count are made up to a limit, over all tables together."""
    document = json.loads(dumped("linux-7.3.4"))
    tables = [region for region in document["model"]["regions"] if "table" in region]
    rows = sum(sum(size for _, size in table["extents"]) // 16 for table in tables)
    for table in tables[:2]:
        for column in table["columns"]:
            table["columns"][column] = {"count": SHORT_ROWS // 2 + 1, "all": 1}
    for most in (SHORT_ROWS, rows):
        with pytest.raises(StructuredError, match=f"at most {most} are made"):
            build_model(Model.of(Path("m.json"), document), REGISTRY, short_rows=most)


@pytest.mark.parametrize("window", [512, 4096, 4 << 20])
@pytest.mark.parametrize("name", ["linux-6.17.8", "linux-6.19.11", "linux-7.3.4"])
def test_slack_is_what_all_writes_leave(
    name: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Laid over zeros with the regions, slack gives the memory back, whatever is one window."""
    monkeypatch.setattr(slack_module, "WINDOW", window)
    image = capture(name)
    pages = metadata_pages(image)
    found = list(slack(image, pages))
    writes = (write for region in image.regions for write in region.writes())
    made = render(pages, chain(writes, iter(found)))
    given = [bytes(image.space.read(low, high - low)) for low, high in pages.tolist()]
    assert [bytes(part) for part in made] == given
    monkeypatch.setattr(slack_module, "WINDOW", 1 << 30)
    assert found == list(slack(image, pages))
    ends = pairwise(found)
    starts = {low for low, _ in pages.tolist()}
    assert all(b - (a + len(data)) >= 16 or b in starts for (a, data), (b, _) in ends)
