"""What asks the live update orchestrator later: FLBs, the first open, retrieve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from khotool.abi.definition import Kind
from khotool.check.kernels.boot import Boot
from khotool.check.kernels.luo_state import EINVAL, FDT_STATE, Fault, block_fault
from khotool.check.kernels.memfd import FAULT, NOT_JUDGED, OK, Retrieved, retrieve_memfd
from khotool.check.kernels.verdict import FileResult, Outcome, SessionResult, Unseen, Verdict
from khotool.check.rules.devices import device_name, devices
from khotool.check.rules.sessions import session_nodes
from khotool.model.image import Image, Node
from khotool.records import replace

ENOENT, EEXIST = -2, -17
FLB_FAULTS = frozenset({"MEM301", "REC402", "REC403", "REC415"})
"""A block that is not there, a list with a cycle, a wrong count, a different version."""
UNKNOWN = "unknown"
"""A file whose handler khotool cannot judge."""


def refuse_sessions(image: Image, verdict: Verdict) -> None:
    """No session comes back."""
    verdict.sessions = [
        SessionResult(str(session.value_of("name")), False)
        for session in session_nodes(image.entry("LUO"))
        if not is_blank(session)
    ]


def is_blank(session: Node) -> bool:
    """True for a record of zeros: an extra session that nothing asks for."""
    return not any(session.value_of(name) for name in ("name", "files", "count"))


def judge_devices(boot: Boot) -> None:
    """What asks LUO later: FLBs when their owners come up, sessions at the first open."""
    entry = boot.image.entry("LUO")
    if entry is None or not boot.kernel.luo:
        return
    if boot.unseen is not None:
        boot.verdict.not_judged("sessions", *boot.unseen)
        return
    if not boot.verdict.accepts("luo"):
        # What the state leads to hangs on the state.
        return
    _flbs(boot, entry)
    if not boot.verdict.stopped:
        _first_open(boot, entry)


def _flbs(boot: Boot, entry: Node) -> None:
    """liveupdate_flb_get_incoming: by exact name, at the first use of each object."""
    flbs = entry.get("flbs")
    if flbs is None or boot.panics_beyond("flbs", flbs.path, flbs.value):
        return
    unseen = _unseen_flbs(boot, flbs.value)
    if unseen is not None:
        boot.verdict.not_judged("flbs", *unseen)
        return
    elements = flbs.elements()
    if boot.something_lost and not any(_is_asked(boot, flb.value_of("name")) for flb in elements):
        _no_flb(boot, flbs, elements)
        return
    if boot.kernel.does.flb_faults_panic and (broken := _broken_flb(boot, elements)):
        boot.verdict.add("flbs", Outcome.PANIC, why=broken)
        return
    lost = [why for why in _lost_flbs(boot, elements) if why]
    if flbs.path in boot.cut:
        lost.append("records beyond the count are not read")
    outcome = Outcome.PARTIAL if lost else Outcome.ACCEPT
    boot.verdict.add("flbs", outcome, why="; ".join(lost))


def _unseen_flbs(boot: Boot, address: object) -> tuple[Unseen, str] | None:
    """Why the list of objects cannot be judged, and the same in words; None where it can be."""
    if (gap := boot.gap(address)) is not None:
        return gap, f"the objects at {address:#x} are not in the image"
    if not isinstance(address, int) or not address or boot.blocks is None:
        return None
    if boot.blocks.block_of(address) is None:
        why = f"the objects at {address:#x} are in memory that is not preserved"
        return Unseen.NOT_CAPTURED, why
    return None


def _is_asked(boot: Boot, name: object) -> bool:
    """True if something in this kernel asks for an object of a name."""
    definition = boot.image.registry.handler(Kind.FLB, name) if isinstance(name, str) else None
    return definition is not None and (
        definition.status == "merged" or definition.id in boot.kernel.abi.flbs
    )


def _no_flb(boot: Boot, flbs: Node, elements: list[Node]) -> None:
    """A list with none of the objects that this kernel asks for: it is searched to its end."""
    header = flbs.get("header")
    count = header.value_of("count") if header is not None else None
    span = elements[0].span if elements else None
    record = span.size if span is not None else 0
    if isinstance(count, int) and boot.beyond(flbs.value + count * record):
        why = f"{flbs.path} counts {count} objects, beyond the end of memory"
        boot.verdict.add("flbs", Outcome.PANIC, why=why)
    elif isinstance(count, int) and count > len(elements):
        why = f"{flbs.path} counts {count} objects, more than its page holds"
        boot.verdict.not_judged("flbs", Unseen.NOT_CAPTURED, why)
    else:
        boot.verdict.add("flbs", Outcome.PARTIAL, why="no object is found")


def _lost_flbs(boot: Boot, elements: list[Node]) -> Iterator[str]:
    """Why objects do not come back."""
    seen: set[str] = set()
    for flb in elements:
        name = flb.value_of("name") or ""
        if not name and not flb.value_of("data") and not flb.value_of("count"):
            # A record of zeros is the rest of the page, and nothing asks for it.
            continue
        definition = boot.image.registry.handler(Kind.FLB, name)
        if definition is None or not _is_asked(boot, name):
            yield f"nothing asks for '{name}'"
        elif name in seen:
            yield f"only the first '{name}' is found"
        elif name in definition.literals and flb.value_of("data") != definition.literals[name]:
            yield f"data of '{name}' is not what its owner expects"
        seen.add(name)


def _broken_flb(boot: Boot, elements: list[Node]) -> str:
    """Why the owner of an object stops the boot, or nothing."""
    for flb in elements:
        name = flb.value_of("name") or ""
        definition = boot.image.registry.handler(Kind.FLB, name)
        if definition is None or definition.id not in boot.kernel.abi.flbs:
            continue
        data = flb.get("data")
        for node in data.walk() if data is not None else ():
            if rules := boot.rules_at(node.path) & FLB_FAULTS:
                return f"'{name}' is refused: {node.path} ({', '.join(sorted(rules))})"
            if node.name == "devices":
                found = Counter(devices(boot.context, node))
                if twice := [device for device, count in found.items() if count > 1]:
                    return f"'{name}' is refused: {device_name(*twice[0])} is listed twice"
    return ""


def _first_open(boot: Boot, entry: Node) -> None:
    """luo_session_deserialize at the first open: one fault fails every open with EIO."""
    verdict = boot.verdict
    seen: set[str] = set()
    sessions = session_nodes(entry)
    freed = next((n for n in _lists(boot, entry, sessions) if _is_freed(boot, n)), None)
    if freed is not None:
        why = f"{freed.path} is in memory that is not preserved"
        verdict.not_judged("sessions", Unseen.NOT_CAPTURED, why)
        return
    for session in sessions:
        name = str(session.value_of("name"))
        fault = _session_fault(boot, session, name, name in seen)
        seen.add(name)
        if fault is not None:
            _open_fails(boot, fault)
            return
    top = entry.get("sessions")
    if top is not None and (gap := boot.gap(top.value)) is not None:
        verdict.not_judged("sessions", gap, f"the sessions at {top.value:#x} are not in the image")
        return
    if top is not None and top.path in boot.cut:
        verdict.add("sessions", Outcome.PARTIAL, why="records beyond the count are not read")
    elif not sessions and boot.something_lost:
        why = "no session is listed, but memory is preserved"
        verdict.add("sessions", Outcome.PARTIAL, why=why)
    else:
        verdict.add("sessions", Outcome.ACCEPT)
    _retrieve(boot, sessions)


def _session_fault(boot: Boot, session: Node, name: str, taken: bool) -> Fault | None:
    """Why a session cannot be read, or nothing."""
    files = session.get("files")
    if taken:
        return Fault((f"luo: Failed to insert session [{name}] {EEXIST}",))
    if files is not None and _is_followed(boot, session) and boot.beyond(files.value):
        why = f"{files.path} is {files.value:#x}, where there is no memory"
        return Fault(why=why, stops=True)
    return _files_fault(boot, session, name) if boot.kernel.does.keeps_file_errors else None


def _open_fails(boot: Boot, fault: Fault) -> None:
    """Record an open that runs into a fault; the kernel keeps the error for every later open."""
    if fault.unseen is not None:
        boot.verdict.not_judged("sessions", fault.unseen, fault.why)
    elif fault.stops:
        boot.verdict.add("sessions", Outcome.PANIC, why=fault.why)
    else:
        why = "opening /dev/liveupdate fails with EIO, now and later"
        boot.verdict.add("sessions", Outcome.PARTIAL, *fault.console, why=why)
        refuse_sessions(boot.image, boot.verdict)


def _is_followed(boot: Boot, session: Node) -> bool:
    """False for a session of no files up to 7.1, which counts rows and never looks at the first."""
    return boot.kernel.luo != FDT_STATE or session.value_of("count") != 0


def _lists(boot: Boot, entry: Node, sessions: list[Node]) -> Iterator[Node]:
    """The list of sessions, and that of each session's files."""
    read = (session.get("files") for session in sessions if _is_followed(boot, session))
    for node in (entry.get("sessions"), *read):
        if node is not None:
            yield node


def _is_freed(boot: Boot, node: Node) -> bool:
    """True for a list with a block in memory that the boot frees before the list is read."""
    if boot.blocks is None or not node.children:
        return False
    places = [c.span.address for c in node.children if c.name == "blocks" and c.span is not None]
    found = [node.value, *places] if node.value else []
    return any(not boot.beyond(p) and boot.blocks.block_of(p) is None for p in found)


def _files_fault(boot: Boot, session: Node, name: str) -> Fault | None:
    """luo_file_deserialize: why the files of a session cannot be read, or nothing."""
    files = session.get("files")
    if files is None or not files.value or not _is_followed(boot, session):
        return None
    failed = f"luo: Failed to deserialize files for session [{name}]"
    records = boot.kernel.luo != FDT_STATE
    if records and (fault := block_fault(boot, files)) is not None:
        return replace(fault, console=(*fault.console, f"{failed} {EINVAL}"))
    if (gap := boot.gap(files.value)) is not None:
        return Fault(why=f"the files at {files.value:#x} are not in the image", unseen=gap)
    elements = files.elements()
    for file in elements:
        handler = file.value_of("handler")
        if handler not in boot.kernel.handlers:
            missing = f"luo: No registered handler for compatible '{handler}'"
            return Fault((missing, f"{failed} {ENOENT}"))
    count = session.value_of("count")
    if records and count != len(elements):
        line = f"luo: File count mismatch: expected {count}, found {len(elements)}"
        return Fault((line, f"{failed} {EINVAL}"))
    return None


def _retrieve(boot: Boot, sessions: list[Node]) -> None:
    """Each session by name, each file by token."""
    verdict = boot.verdict
    whole = True
    for session in sessions:
        if is_blank(session):
            continue
        whole = _retrieve_session(boot, session) and whole
        if verdict.stopped:
            return
    if whole and sessions and boot.blocks is None:
        why = "whether the folios are preserved is not in the image"
        verdict.accept_unseen("files", boot.map_unseen(), why)
    elif whole and sessions:
        verdict.add("files", Outcome.ACCEPT)


def _retrieve_session(boot: Boot, session: Node) -> bool:
    """One session and its files; True if all come back."""
    verdict, name = boot.verdict, str(session.value_of("name"))
    files, elements = session.get("files"), session.elements_of("files")
    result = SessionResult(name, bool(name))
    verdict.sessions.append(result)
    if not name:
        verdict.add(
            "files", Outcome.PARTIAL, why=f"{session.path} has no name, so nothing can ask for it"
        )
        return False
    whole = True
    listed = session.value_of("count") or session.value_of("files")
    if not elements and listed and boot.something_lost:
        whole = False
        verdict.add("files", Outcome.PARTIAL, why=f"{session.path} is restored without files")
    if files is not None and files.path in boot.cut and boot.kernel.luo == FDT_STATE:
        whole = False
        why = f"{session.path}: files beyond the count are not read"
        verdict.add("files", Outcome.PARTIAL, why=why)
    return _retrieve_files(boot, elements, result) and whole


def _retrieve_files(boot: Boot, elements: list[Node], result: SessionResult) -> bool:
    """Every file of a session; True if all come back."""
    tokens: set[int] = set()
    dropped, whole = False, True
    for file in elements:
        token = file.value_of("token")
        if not isinstance(token, int):
            continue
        dropped = dropped or file.value_of("handler") not in boot.kernel.handlers
        if token in tokens and not dropped:
            whole = False
            boot.verdict.add("files", Outcome.PARTIAL, why=f"{file.path}: its token is taken")
            continue
        # 6.19 forgets the error, and with it the rest of the session's files.
        found = Retrieved("ENOENT") if dropped else _retrieve_file(boot, file)
        if found.status == FAULT:
            why = f"{file.path}: {found.why}"
            boot.verdict.add("files", Outcome.PANIC, why=why, path=file.path)
            return False
        tokens.add(token)
        shown = NOT_JUDGED if found.status == UNKNOWN else found.status
        result.files.append(FileResult(f"{token:#x}", shown))
        if found != OK:
            whole = False
            _file_lost(boot, file, found)
    return whole


def _retrieve_file(boot: Boot, file: Node) -> Retrieved:
    """What retrieving a file gives, by its handler; only that of memfds is known in full."""
    handler = str(file.value_of("handler"))
    if handler in boot.kernel.assumed:
        boot.verdict.accept_unseen("files", Unseen.ASSUMED, f"{file.path}: {handler} is assumed")
        return OK
    if not handler.startswith("memfd-"):
        return Retrieved(UNKNOWN, f"what {handler} makes of its state is not known")
    return retrieve_memfd(boot, file)


def _file_lost(boot: Boot, file: Node, found: Retrieved) -> None:
    """Record a file that does not come back as it was."""
    if found.status in (NOT_JUDGED, UNKNOWN):
        unseen = Unseen.NOT_CAPTURED if found.status == NOT_JUDGED else Unseen.HANDLER
        boot.verdict.not_judged("files", unseen, f"{file.path}: {found.why}", file.path)
        return
    outcome = Outcome.CORRUPT if found.status == "other-data" else Outcome.PARTIAL
    printed = (found.console,) if found.console else ()
    why = f"{file.path}: {found.status}" + (f", {found.why}" if found.why else "")
    boot.verdict.add("files", outcome, *printed, why=why, path=file.path)
