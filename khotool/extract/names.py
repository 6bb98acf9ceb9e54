"""File names made of text that an image chose."""

from __future__ import annotations

import hashlib
import re
import string

SAFE = frozenset((string.ascii_letters + string.digits + "._-").encode())
LONGEST = 200
"""Bytes of a name; file systems take 255."""
_PLAIN = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{LONGEST - 1}}}")


def file_name(text: str) -> str:
    """A name that cannot leave its folder, hide, or do anything to a terminal.

    Bytes outside of ``A-Za-z0-9._-`` and a leading dot become %XX; an empty name becomes
    ``~empty``; a name that is too long ends with a hash of the whole.
    """
    if _PLAIN.fullmatch(text):
        return text
    data = text.encode("utf-8", "surrogatepass")
    name = "".join(
        chr(byte) if byte in SAFE and not (index == 0 and byte == ord(".")) else f"%{byte:02X}"
        for index, byte in enumerate(data[: LONGEST + 1])
    )
    if len(name) > LONGEST:
        return f"{name[: LONGEST - 20]}~{hashlib.sha256(data).hexdigest()[:16]}"
    return name or "~empty"


class Names:
    """Names that are taken in one folder, also where the case of letters does not count."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, text: str) -> str:
        """A free name for ``text``; the second of a name gets the suffix ``~2``."""
        name = file_name(text)
        folded = name.lower()
        number = self._next.get(folded, 1)
        self._next[folded] = number + 1
        # A name from the image holds no tilde, except the two made here, which no number follows.
        return name if number == 1 else f"{name}~{number}"
