"""Whether the running kernel was booted by a live update."""

from __future__ import annotations

from khotool.absent import Absent
from khotool.errors import InputError
from khotool.host.live import open_live
from khotool.host.survey import Survey
from khotool.limits import OpenOptions
from khotool.model.image import Image
from khotool.records import dataclass, replace
from khotool.view.luo import Luo

METADATA = "kexec-metadata"


@dataclass(frozen=True, slots=True)
class BootOrigin:
    """How the running kernel was booted.

    Args:
        live_update: the previous kernel handed over the state of its live update orchestrator.
        handover: the previous kernel handed over anything at all.
        number: live updates in a row; None where the format has no count, or it is not readable.
        previous_release: of the previous kernel; untrusted text, None where it is not recorded.
        kexec_count: kexecs in a row; None where it is not recorded.
        sessions: names of the sessions that were handed over, untrusted text; None where their
            records cannot be read. Memory does not record which of them were taken back.
    """

    live_update: bool
    handover: bool
    number: int | None = None
    previous_release: str | None = None
    kexec_count: int | None = None
    sessions: tuple[str, ...] | None = None


def boot_of(survey: Survey, options: OpenOptions, *, scan: bool = False) -> BootOrigin:
    """How the running kernel was booted.

    Args:
        scan: look through all of memory for lists whose head the kernel has reused.

    Raises:
        InputError: the host does not show it.
    """
    trees = survey.copy.trees if survey.copy is not None else []
    handed = any(tree.direction == "in" and (tree.fdt or tree.subtrees) for tree in trees)
    if not handed and survey.copy is not None:
        # Debugfs would show an incoming handover.
        return BootOrigin(live_update=False, handover=False)
    if not handed and survey.space is None:
        gone = next((check for check in survey.checks if check.name == "trees"), None)
        text = f"{gone.found}; {gone.remedy}" if gone is not None else "debugfs cannot be read"
        raise InputError(f"whether this boot was a live update is not known: {text}")
    return _described(open_live(survey, replace(options, root="in"), scan=scan))


def _described(image: Image) -> BootOrigin:
    luo = Luo(image)
    metadata = image.entry(METADATA)
    release = count = None
    if metadata is not None:
        release = metadata.value_of("previous_release")
        count = metadata.value_of("kexec_count")
    number = luo.liveupdate_number
    return BootOrigin(
        live_update=bool(luo),
        handover=True,
        number=number if isinstance(number, int) else None,
        previous_release=release if isinstance(release, str) else None,
        kexec_count=count if isinstance(count, int) else None,
        sessions=_names(luo) if luo else (),
    )


def _names(luo: Luo) -> tuple[str, ...] | None:
    if luo.absent is not None or luo.sessions.absent is not None:
        return None
    names = [session.name for session in luo.sessions]
    return tuple(str(name.reason) if isinstance(name, Absent) else name for name in names)
