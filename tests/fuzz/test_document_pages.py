import pytest

from khotool.document.full import preserved_segments
from khotool.structured import Document, StructuredError
from tests.builders import REGISTRY
from tests.documents import full_document
from tests.fuzz.damage import base
from tests.fuzz.test_budgets import bounded


def test_document_of_empty_pages() -> None:
    """A document cannot ask for gigabytes of pages in which nothing stands."""
    document = full_document(base(0).image)
    document["model"]["pages"].append(["0x100000000", 7 << 30])
    with bounded(32), pytest.raises(StructuredError, match=r"model\.pages"):
        preserved_segments(Document("dump", document), REGISTRY)
