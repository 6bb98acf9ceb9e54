"""Pieces of DTS text that dtc reads back as the same bytes."""

from __future__ import annotations

import re

# Letters of dtc's PROPNODECHAR; anything else is a syntax error in a name.
_LEGAL = re.compile(r"[a-zA-Z0-9,._+*#?@-]+\Z")
_ILLEGAL = re.compile(r"[^a-zA-Z0-9,._+*#?@-]")
_TEXT = re.compile(rb"(?:[\x20-\x7e]+\0)+\Z")


def value_text(value: bytes) -> str:
    """DTS value of a property: strings where it is printable NUL-terminated text, else bytes.

    Returns:
        ``"a", "b"`` or ``[00 20 4d 00]``; ``""`` for an empty value.
    """
    if not value:
        return ""
    if _TEXT.match(value):
        pieces = value[:-1].decode("ascii").replace("\\", "\\\\").replace('"', '\\"').split("\0")
        return ", ".join(f'"{piece}"' for piece in pieces)
    return f"[{value.hex(' ')}]"


def legal_name(name: str, fallback: str) -> str:
    """``name`` if dtc can express it, else a stand-in with ``_XX`` for each illegal byte.

    Args:
        name: latin-1 view of the name bytes.
        fallback: the stand-in for an empty name.
    """
    if _LEGAL.match(name):
        return name
    return _ILLEGAL.sub(lambda found: f"_{ord(found[0]):02x}", name) or fallback


def comment(text: str) -> str:
    """``text`` as one DTS comment on one line, whatever it holds."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    # A slash next to an asterisk could end the comment early.
    shown = shown.replace("*/", "* /")
    return f"/* {shown} */"
