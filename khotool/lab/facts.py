"""What the agent reports: one fact per line of the console, marked, and nothing to interpret."""

from __future__ import annotations

import re

from khotool.records import dataclass, field

MARK = re.compile(r"@@kho ([a-z]+)((?: [!-~]+)*)\s*$")


@dataclass(frozen=True, slots=True)
class FileFact:
    """A file as the guest saw it.

    Args:
        error: errno of the retrieve, 0 where it succeeded.
        size: bytes.
        position: bytes.
        sha256: of its contents; empty where they could not be read.
        read_error: errno of reading them.
        kept: errno of the preserve, of a guest that preserves.
    """

    token: int
    error: int
    size: int = 0
    position: int = 0
    seals: int = 0
    sha256: str = ""
    read_error: int = 0
    kept: int | None = None


@dataclass(slots=True)
class SessionFact:
    """A session as the guest saw it.

    Args:
        error: errno of opening it, 0 where that succeeded.
        finished: errno of finishing it; None if it was not tried.
    """

    name: str
    error: int
    files: list[FileFact] = field(default_factory=list)
    finished: int | None = None


@dataclass(slots=True)
class Facts:
    """All that an agent reported.

    Args:
        release: ``uname -r``; None where no agent ran.
        page_size: bytes.
        liveupdate: errno of opening /dev/liveupdate; None if it was not tried.
        load: errno of loading the stop kernel.
        errors: commands that failed, with their errno.
        programs: exit status and path of programs that were run.
        ended: the scenario was followed to its end.
    """

    release: str | None = None
    machine: str | None = None
    page_size: int | None = None
    liveupdate: int | None = None
    load: int | None = None
    sessions: list[SessionFact] = field(default_factory=list)
    writes: dict[str, int] = field(default_factory=dict)
    errors: list[tuple[str, int]] = field(default_factory=list)
    programs: list[tuple[int, str]] = field(default_factory=list)
    scrubbed: int = 0
    ended: bool = False


def read_facts(console: str) -> Facts:
    """The facts in a console's text; a line that was garbled is left out."""
    facts = Facts()
    for line in console.splitlines():
        found = MARK.search(line)
        if found is not None:
            try:
                _take(facts, found[1], found[2].split())
            except (ValueError, IndexError):
                facts.errors.append(("garbled", 0))
    return facts


def is_fact(line: str) -> bool:
    """True for a line that the agent wrote."""
    return "@@kho " in line


def _take(facts: Facts, name: str, words: list[str]) -> None:
    if name == "hello":
        facts.release, facts.machine, facts.page_size = words[0], words[1], int(words[2])
    elif name == "liveupdate":
        facts.liveupdate = int(words[0])
    elif name == "load":
        facts.load = int(words[0])
    elif name == "write":
        facts.writes[words[0]] = int(words[1])
    elif name == "session":
        title = bytes.fromhex(words[0] if len(words) > 1 else "")
        facts.sessions.append(SessionFact(title.decode("utf-8", "surrogateescape"), int(words[-1])))
    elif name == "file":
        _session(facts).files.append(_file(words))
    elif name == "kept":
        _kept(_session(facts), int(words[0], 16), int(words[1]))
    elif name == "finish":
        _session(facts).finished = int(words[0])
    elif name == "ran":
        facts.programs.append((int(words[0]), words[1]))
    elif name == "scrub":
        facts.scrubbed = int(words[0])
    elif name == "end":
        facts.ended = True
    else:
        facts.errors.append((name, int(words[0])))


def _session(facts: Facts) -> SessionFact:
    if not facts.sessions:
        facts.sessions.append(SessionFact("", 0))
    return facts.sessions[-1]


def _file(words: list[str]) -> FileFact:
    token, error = int(words[0], 16), int(words[1])
    if error:
        return FileFact(token, error)
    size, position, seals = (int(word) for word in words[2:5])
    if words[5].startswith("-"):
        return FileFact(token, 0, size, position, seals, read_error=int(words[5][1:]))
    return FileFact(token, 0, size, position, seals, words[5])


def _kept(session: SessionFact, token: int, error: int) -> None:
    file = session.files[-1]
    if file.token == token:
        session.files[-1] = FileFact(
            file.token,
            file.error,
            file.size,
            file.position,
            file.seals,
            file.sha256,
            file.read_error,
            error,
        )
