"""The rules that are raised while an image is decoded, and not by a function of ``rules``."""

from __future__ import annotations

from khotool.codec.problems import FDT_RULES, MAP_RULES, SHAPE_RULES

DECODED = frozenset(
    {
        *SHAPE_RULES.values(),
        *MAP_RULES.values(),
        *FDT_RULES.values(),
        "FDT103",
        "FDT105",
        "KHO201",
        "KHO202",
        "KHO205",
        "KHO206",
        "KHO207",
        "KHO208",
        "MEM319",
        "MEM322",
        "REC407",
        "REC408",
        "LUO510",
        "LUO511",
        "ABI901",
        "ABI903",
        "ABI904",
    }
)
"""Rules of the decoder: the tables of ``codec/problems.py``, and those it names where it reads."""
