"""Values that could not be read are values: they carry the reason."""

from __future__ import annotations

from enum import StrEnum

from khotool.records import dataclass


class Reason(StrEnum):
    """Why a value is missing; the words of the JSON contract."""

    NOT_CAPTURED = "not-captured"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    UNPARSABLE = "unparsable"
    LIMIT = "limit"
    CONSUMED = "consumed"


@dataclass(frozen=True, slots=True)
class Absent:
    """Stands where a value would be.

    Args:
        reason: the class of the failure.
        detail: one sentence for a person; may quote text from the image.
    """

    reason: Reason
    detail: str = ""
