"""What a running host shows, and how it was booted, as text and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from khotool.absent import Absent, Reason
from khotool.document.dump import head
from khotool.host.booted import BootOrigin
from khotool.host.survey import Survey
from khotool.model.image import Image, Phase
from khotool.render.lines import Line
from khotool.render.text import visible

STYLES = {"ok": "good", "missing": "error", "unknown": "warning", "unused": "dim"}


def live_document(found: Survey, made: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The document ``khotool.live/1``: the host, then the keys of ``khotool dump --json``."""
    result = head("live")
    result["host"] = {
        "release": found.release,
        "read": found.sources,
        "liveupdate_state": found.state,
        "checks": [
            {
                "name": check.name,
                "state": check.state,
                "found": check.found,
                "why": check.why or None,
                "remedy": check.remedy or None,
            }
            for check in found.checks
        ],
    }
    return result | {key: value for key, value in (made or {}).items() if key not in result}


def why_lines(found: Survey) -> Iterator[Line]:
    """The checks as a table; below each that failed, why it matters and how to fix it."""
    yield Line([("kernel".ljust(9), "key"), (visible(found.release or "not known"), "name")])
    for check in found.checks:
        line = Line([(check.state.ljust(9), STYLES[check.state])], hang=" " * 27)
        yield line.add(check.title.ljust(18), "label").add(visible(check.found))
        if check.state == "missing":
            for title, text in (("why", check.why), ("do", check.remedy)):
                line = Line([(" " * 9 + title.rjust(4) + "  ", "dim")], hang=" " * 15)
                yield line.add(visible(text), "dim")


def hints(image: Image, found: Survey, *, scanned: bool) -> Iterator[str]:
    """What a running kernel does not show, and which options may find it."""
    luo = image.entry("LUO")
    if found.space is not None and not scanned:
        gone = luo.value if luo is not None else None
        if isinstance(gone, Absent) and gone.reason is Reason.CONSUMED:
            yield (
                "the kernel has reused the record of LUO; --scan finds its lists by their shape, "
                "which reads all memory"
            )
        if image.tree.span is None:
            yield (
                "a kernel that booted from a handover shows no root of the next one in debugfs; "
                "--scan finds it, which reads all memory"
            )
    owned = image.ownership()
    if image.phase is Phase.LIVE and luo is not None and owned is not None and owned.unowned_pages:
        yield (
            f"{owned.unowned_pages} preserved pages have no owner yet: sessions are "
            "serialised at the reboot into the next kernel"
        )


def booted_json(boot: BootOrigin) -> dict[str, Any]:
    """The member ``booted`` of ``khotool.live/1``."""
    return {
        "live_update": boot.live_update,
        "handover": boot.handover,
        "liveupdate_number": boot.number,
        "previous_release": boot.previous_release,
        "kexec_count": boot.kexec_count,
        "sessions": list(boot.sessions) if boot.sessions is not None else None,
    }


def booted_lines(boot: BootOrigin) -> Iterator[Line]:
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
