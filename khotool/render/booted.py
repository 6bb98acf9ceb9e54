"""How a host was booted, as text and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from khotool.host.booted import Boot
from khotool.render.lines import Line
from khotool.render.text import visible


def booted_json(boot: Boot) -> dict[str, Any]:
    """The member ``booted`` of ``khotool.live/1``."""
    return {
        "live_update": boot.live_update,
        "handover": boot.handover,
        "liveupdate_number": boot.number,
        "previous_release": boot.previous_release,
        "kexec_count": boot.kexec_count,
        "sessions": list(boot.sessions) if boot.sessions is not None else None,
    }


def booted_lines(boot: Boot) -> Iterator[Line]:
    """The answer, and below it what is known of the handover."""
    if not boot.live_update:
        without = "a kexec with a handover, without live update" if boot.handover else "no handover"
        yield Line([("live update  ", "key"), ("no", "name"), (f"  {without}", "dim")])
    else:
        yield Line([("live update  ", "key"), ("yes", "name")])
    rows = (
        ("number", boot.number),
        ("previous", boot.previous_release),
        ("kexecs", boot.kexec_count),
    )
    for label, value in rows:
        if value is not None:
            yield Line([(f"{label:<13}", "key"), (visible(str(value)), "")])
    if not boot.live_update:
        return
    line = Line([(f"{'sessions':<13}", "key")], hang=" " * 13)
    if boot.sessions is None:
        yield line.add("their records cannot be read any more", "absent")
    else:
        yield line.add(", ".join(visible(name) for name in boot.sessions) or "none")
