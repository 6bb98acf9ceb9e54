"""Validate what khotool writes against its own schemas, with nothing undeclared."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema

from khotool.schema.documents import DOCUMENTS


@cache
def validator(name: str, *, closed: bool = True) -> Any:
    """A validator of a document by name."""
    return jsonschema.Draft202012Validator(DOCUMENTS[name].schema(closed=closed))


def validate(name: str, document: object) -> None:
    """Fail with the place and reason of what the schema does not allow."""
    wrong = [f"{e.json_path}: {e.message[:300]}" for e in validator(name).iter_errors(document)]

    assert not wrong, "\n".join(wrong)


def validate_output(text: str) -> str | None:
    """Validate the output of a command, if it is a document; its name."""
    if not text.startswith("{"):
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    identifier = document.get("schema", "") if isinstance(document, dict) else ""
    named = {one.identifier: name for name, one in DOCUMENTS.items() if one.identifier}
    name = named.get(identifier)
    if name is not None:
        validate(name, document)
    return name
