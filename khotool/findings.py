"""One thing that is wrong, or worth saying, about an image."""

from __future__ import annotations

import re
from enum import StrEnum

from khotool.records import dataclass, field


class Severity(StrEnum):
    """How bad a finding is; ``error`` is the default threshold of ``--fail-on``."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of a rule at a place.

    Args:
        rule: stable id, such as ``MEM302``; its text lives in the rule catalogue.
        path: path of the value in the model, ``/`` for the image as a whole.
        message: one sentence with the numbers of this case; may quote text from the image.
        address: physical address in bytes, or None where the place has none.
        data: numbers and strings for machines.
    """

    rule: str
    path: str
    message: str
    address: int | None = None
    data: dict[str, int | str] = field(default_factory=dict)

    @property
    def sort_key(self) -> tuple[str, tuple[object, ...], int, str]:
        """By rule, then by place; equal for two findings that say the same of one place."""
        return self.rule, natural(self.path), self.address or 0, self.message


def natural(text: str) -> tuple[object, ...]:
    """A key that sorts numbers in a text by their value: ``[vm~2]`` before ``[vm~10]``."""
    parts = re.split(r"([0-9]+)", text)
    # Longer numbers are larger; those of an image have any length.
    return tuple((len(part), part) if at % 2 else part for at, part in enumerate(parts))
