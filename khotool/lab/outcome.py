"""What became of a handover: from what a kernel and its guest said, one word and the details."""

from __future__ import annotations

import errno
from enum import StrEnum

from khotool.lab.console import FATAL, Line, Said, Stage
from khotool.lab.facts import Facts, FileFact, SessionFact
from khotool.lab.qemu import End
from khotool.records import dataclass, field


class Outcome(StrEnum):
    """From best to worst; all but the last are those of ``check --kernel``."""

    ACCEPT = "accept"
    PARTIAL = "partial"
    IGNORE = "ignore"
    CORRUPT = "corrupt"
    PANIC = "panic"
    HANG = "hang"


HARM = frozenset({Said.BAD_PAGE, Said.MAP_REFUSED})
"""Memory is not what it is taken for: in use twice, or preserved and not reserved."""


class Contents(StrEnum):
    """Bytes that came back, beside those of the image."""

    SAME = "same"
    OTHER = "other-data"
    UNKNOWN = "not-captured"


class Region(StrEnum):
    """A region of reserve_mem."""

    REVIVED = "revived"
    LOST = "lost"


class KernelTest(StrEnum):
    """The kernel's own test, lib/test_kho.c."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "not-captured"
    NOT_ASKED = "not-asked"


class Object(StrEnum):
    """A file-lifecycle-bound object, as the kernel's test asks for it."""

    FOUND = "found"
    LOST = "lost"
    NOT_ASKED = "not-asked"


@dataclass(slots=True)
class FileOutcome:
    """A file that came back, or why it did not.

    Args:
        result: ``ok``, or the name of an errno.
        size: bytes.
        contents: None where there are none to compare.
    """

    token: int
    result: str
    size: int | None = None
    position: int | None = None
    seals: int | None = None
    sha256: str | None = None
    contents: Contents | None = None


@dataclass(slots=True)
class SessionOutcome:
    """A session that came back, or why it did not: ``ok``, or the name of an errno."""

    name: str
    result: str
    files: list[FileOutcome] = field(default_factory=list)


@dataclass(slots=True)
class Expected:
    """What an image hands over, as far as a boot can show that it arrives.

    Args:
        regions: names that the command line asked for.
        files: by number of the session and of the file in it: SHA-256, or None where the contents
            are not captured.
        filled: SHA-256 of contents that khotool made up for those that are not captured.
        test: whether the image has the kernel's test; ``NOT_ASKED`` without it.
        objects: names of FLBs.
        unasked: entries and objects that nothing in this kernel asks for.
        twice: two of something have one name.
        changed_regions: names of regions whose memory is not what it was.
    """

    regions: list[str] = field(default_factory=list)
    filled: dict[tuple[int, int], str | None] = field(default_factory=dict)
    twice: bool = False
    files: dict[tuple[int, int], str | None] = field(default_factory=dict)
    sessions: list[tuple[str, list[int]]] = field(default_factory=list)
    test: KernelTest = KernelTest.NOT_ASKED
    has_test: bool = True
    objects: list[str] = field(default_factory=list)
    luo: bool = False
    unasked: list[str] = field(default_factory=list)
    changed_regions: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Judged:
    """A boot, judged.

    Args:
        why: what decided the outcome, where that is not in the rest: ``reset``, ``timeout``,
            ``no-handover``, ``no-init``; empty else.
    """

    outcome: Outcome
    why: str
    lines: list[Line]
    regions: dict[str, Region] = field(default_factory=dict)
    test: KernelTest = KernelTest.NOT_ASKED
    objects: dict[str, Object] = field(default_factory=dict)
    sessions: list[SessionOutcome] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)


def judge(end: End, lines: list[Line], facts: Facts, expected: Expected) -> Judged:
    """What became of a handover.

    Args:
        end: how the guest ended.
        lines: what the kernel said.
        facts: what the agent saw.
    """
    said = {line.said for line in lines}
    judged = Judged(Outcome.ACCEPT, "", lines, unasked=list(expected.unasked))
    judged.regions = _regions(lines, expected)
    judged.test = _test(said, expected)
    judged.objects = _objects(lines, expected)
    judged.sessions = _sessions(facts, expected)
    stopped = _stopped(end, said, facts)
    if stopped is not None:
        judged.outcome, judged.why = stopped
    elif Said.GIVEN_UP in said or Said.FOUND not in said:
        judged.outcome = Outcome.IGNORE
        judged.why = "" if Said.GIVEN_UP in said else "no-handover"
    elif said & HARM or expected.changed_regions or _other_data(judged):
        judged.outcome = Outcome.CORRUPT
    elif _lost(judged, said, expected):
        judged.outcome = Outcome.PARTIAL
    return judged


def _stopped(end: End, said: set[Said], facts: Facts) -> tuple[Outcome, str] | None:
    """A boot that did not come to its end."""
    if said & FATAL:
        return Outcome.PANIC, ""
    if Said.NO_INIT in said:
        return Outcome.PANIC, "no-init"
    if end is End.TIMEOUT:
        return Outcome.HANG, "timeout"
    if not facts.ended:
        return Outcome.PANIC, "reset"
    return None


def _regions(lines: list[Line], expected: Expected) -> dict[str, Region]:
    revived = {line.name for line in lines if line.said is Said.REVIVED}
    return {name: Region.REVIVED if name in revived else Region.LOST for name in expected.regions}


def _test(said: set[Said], expected: Expected) -> KernelTest:
    if expected.test is KernelTest.NOT_ASKED or not expected.has_test:
        return KernelTest.NOT_ASKED
    if Said.TEST_PASSED in said:
        return KernelTest.PASSED
    return expected.test if expected.test is KernelTest.UNKNOWN else KernelTest.FAILED


def _objects(lines: list[Line], expected: Expected) -> dict[str, Object]:
    """The kernel's test asks for its objects as it comes up, by name."""
    found = {line.name for line in lines if line.said is Said.FLB_FOUND}
    refused = {line.name for line in lines if line.said is Said.FLB_REFUSED}
    result = {}
    for name in expected.objects:
        lost = Object.NOT_ASKED if name in expected.unasked else Object.LOST
        result[name] = Object.FOUND if name in found - refused else lost
    return result


def _sessions(facts: Facts, expected: Expected) -> list[SessionOutcome]:
    """Sessions in the order in which they were asked for; those never reached are left out."""
    found = []
    for number, ((name, _), fact) in enumerate(
        zip(expected.sessions, facts.sessions, strict=False)
    ):
        session = SessionOutcome(name, _result(fact))
        if not fact.error:
            session.files = [
                _file(
                    file, expected.files.get((number, place)), expected.filled.get((number, place))
                )
                for place, file in enumerate(fact.files)
            ]
        found.append(session)
    return found


def _result(fact: SessionFact) -> str:
    return error_name(fact.error) if fact.error else "ok"


def _file(fact: FileFact, digest: str | None, filled: str | None) -> FileOutcome:
    if fact.error:
        return FileOutcome(fact.token, error_name(fact.error))
    contents = Contents.UNKNOWN
    if fact.read_error or fact.size < 0:
        contents = Contents.OTHER
    elif digest is not None:
        contents = Contents.SAME if digest == fact.sha256 else Contents.OTHER
    elif filled is not None and filled != fact.sha256:
        contents = Contents.OTHER
    return FileOutcome(
        fact.token, "ok", fact.size, fact.position, fact.seals, fact.sha256 or None, contents
    )


def _other_data(judged: Judged) -> bool:
    return any(
        file.contents is Contents.OTHER for session in judged.sessions for file in session.files
    )


def _lost(judged: Judged, said: set[Said], expected: Expected) -> bool:
    """True if something of the handover did not arrive."""
    sessions = judged.sessions
    return (
        Region.LOST in judged.regions.values()
        or judged.test is KernelTest.FAILED
        or Object.LOST in judged.objects.values()
        or (expected.luo and Said.LUO_TAKEN not in said)
        or bool(judged.unasked)
        or expected.twice
        or len(sessions) < len(expected.sessions)
        or any(session.result != "ok" for session in sessions)
        or any(file.result != "ok" for session in sessions for file in session.files)
    )


def error_name(number: int) -> str:
    """Name of an errno of Linux, the one that the kernel uses where it has two."""
    if number == errno.EOPNOTSUPP:
        return "EOPNOTSUPP"
    return errno.errorcode.get(number, f"errno-{number}")


def stages(judged: Judged) -> list[tuple[Stage, Line]]:
    """The kernel's lines by stage, in the order of a boot."""
    order = list(Stage)
    kept = [line for line in judged.lines if line.said not in (Said.BANNER, Said.RESTART)]
    return sorted(((line.stage, line) for line in kept), key=lambda pair: order.index(pair[0]))
