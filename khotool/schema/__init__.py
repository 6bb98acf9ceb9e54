"""JSON Schemas of every document that khotool writes or reads.

A document is declared once, as typed dictionaries in a module of this room; `schema_of` makes its
JSON Schema (2020-12) from them. `DOCUMENTS` has all of them by name. The room may be imported by
commands and tests.
"""
