"""Structured input: TOML and JSON documents with file, line and key of every value.

A document is read through `Table` and `Value`, whose getters note what is wrong, return a harmless
value and go on, so that one run finds every mistake. `Document.finish` raises all of them as one
`StructuredError`. Definitions, manifests and full dumps are read this way.

The room imports only `khotool.errors` and `khotool.records`.
"""

from khotool.structured.document import Document, read_document
from khotool.structured.mistake import MAX_MISTAKES, Mistake, StructuredError, suggestion
from khotool.structured.numbers import MAX_BITS, parse_integer, parse_size
from khotool.structured.positions import Path
from khotool.structured.values import Table, Value, key_text

__all__ = [
    "MAX_BITS",
    "MAX_MISTAKES",
    "Document",
    "Mistake",
    "Path",
    "StructuredError",
    "Table",
    "Value",
    "key_text",
    "parse_integer",
    "parse_size",
    "read_document",
    "suggestion",
]
