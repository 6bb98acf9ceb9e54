"""Manifests: a handover, and damage to it, in a page of TOML or JSON.

``read`` is the entry. Documents are read through ``khotool.structured``, so that every mistake is
noted with file, line and key; ``FieldReader`` gives codecs what they need to read values.
"""
