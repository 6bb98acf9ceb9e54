"""The live update orchestrator: early boot, first open of /dev/liveupdate, retrieve."""

from __future__ import annotations

from khotool.abi.definition import Kind
from khotool.absent import Absent
from khotool.check.kernels.boot import Boot
from khotool.check.kernels.entries import broken_entry, entry_faults
from khotool.check.kernels.memfd import FAULT, retrieve_memfd
from khotool.check.kernels.verdict import FileResult, Outcome, SessionResult, Verdict
from khotool.model.image import Image, Node

PANIC = (
    "Kernel panic - not syncing: The incoming tree failed to initialize properly [-22], "
    "disabling live update"
)
EINVAL, ENOENT, EEXIST = -22, -2, -17


def refuse_sessions(image: Image, verdict: Verdict) -> None:
    """No session comes back."""
    verdict.sessions = [
        SessionResult(str(session.value_of("name")), False)
        for session in _sessions(image)
        if not is_blank(session)
    ]


def is_blank(session: Node) -> bool:
    """True for a record of zeros: one session more, which nobody asks for."""
    return not any(session.value_of(name) for name in ("name", "files", "count"))


def _sessions(image: Image) -> list[Node]:
    luo = image.entry("LUO")
    sessions = luo.get("sessions") if luo is not None else None
    return sessions.elements() if sessions is not None else []


def judge_luo(boot: Boot) -> None:
    """luo_early_startup: any fault here stops the boot."""
    entry = boot.image.entry("LUO")
    if entry is None or not boot.kernel.luo:
        return
    if boot.unseen and not isinstance(entry.value_of("compatible"), str):
        boot.verdict.add("luo", Outcome.ACCEPT, "", boot.unseen)
        return
    if not broken_entry(boot, entry) and entry_faults(boot, entry, "luo"):
        return
    message = _early(boot, entry)
    sessions = entry.get("sessions")
    if not message and sessions is not None and boot.beyond(sessions.value):
        why = f"sessions is {sessions.value:#x}, where there is no memory"
        boot.verdict.add("luo", Outcome.PANIC, "", why)
        return
    if message:
        boot.verdict.add("luo", Outcome.PANIC, message, PANIC)
        return
    number = entry.value_of("liveupdate_number")
    text = f"luo: Retrieved live update data, liveupdate number: {number}"
    boot.verdict.add("luo", Outcome.ACCEPT, text)
    _free_records(boot, entry)


def judge_devices(boot: Boot) -> None:
    """What asks LUO later: FLBs when their owners come up, sessions at the first open."""
    entry = boot.image.entry("LUO")
    if entry is None or not boot.kernel.luo:
        return
    if boot.unseen:
        boot.verdict.add("sessions", Outcome.ACCEPT, "", boot.unseen)
        return
    _flbs(boot, entry)
    if not boot.verdict.stopped:
        _first_open(boot, entry)


def _free_records(boot: Boot, entry: Node) -> None:
    """Pages that LUO gives back before any file is retrieved: its record, blocks of lists."""
    pages = [entry.value_of("address")] if boot.kernel.luo == "luo-v5" else []
    for node in [entry, *_sessions(boot.image)]:
        for name in ("sessions", "files"):
            lists = node.get(name)
            for child in lists.children if lists is not None else []:
                if child.name == "blocks" and child.span is not None:
                    pages.append(child.span.address)
    boot.take_pages(pages)


def _early(boot: Boot, entry: Node) -> str:
    """The line before the panic, or nothing."""
    message = broken_entry(boot, entry)
    if message:
        return message
    kernel = boot.kernel
    compatible = entry.value_of("compatible")
    if entry.format != kernel.luo or compatible != kernel.luo:
        return f"luo: LUO state is incompatible with '{kernel.luo}'"
    sessions = entry.get("sessions")
    if not isinstance(entry.value_of("liveupdate_number"), int):
        return "luo: Unable to get live update number"
    if sessions is None or isinstance(sessions.value, Absent):
        return "luo: Unable to get the session header"
    if kernel.luo == "luo-v1":
        flbs = entry.get("flbs")
        if entry.value_of("session_compatible") != "luo-session-v2":
            return "luo: session state is incompatible with 'luo-session-v2'"
        if kernel.needs_flb and (
            flbs is None
            or isinstance(flbs.value, Absent)
            or entry.value_of("flb_compatible") != "luo-flb-v1"
        ):
            return "luo: FLB state is missing or incompatible with 'luo-flb-v1'"
        return "" if sessions.value else "luo: the session header is at address 0"
    return block_fault(boot, sessions)


def block_fault(boot: Boot, node: Node) -> str:
    """kho_block_set_restore: the line for a list it refuses, or nothing."""
    for finding in boot.image.findings:
        if finding.path != node.path:
            continue
        if finding.rule in ("REC402", "LIM001"):
            return "luo: Block set is corrupted"
        if finding.rule == "REC403":
            count = finding.message.removeprefix("count is ").partition(";")[0]
            return f"luo: Block contains invalid entry count: {count}"
        if finding.rule == "MEM301":
            return f"luo: {finding.message}"
    return ""


def _flbs(boot: Boot, entry: Node) -> None:
    """liveupdate_flb_get_incoming: by exact name, at the first use of each object."""
    flbs = entry.get("flbs")
    if flbs is None:
        return
    if boot.beyond(flbs.value):
        why = f"flbs is {flbs.value:#x}, where there is no memory"
        boot.verdict.add("flbs", Outcome.PANIC, "", why)
        return
    lost = []
    seen: set[str] = set()
    elements = flbs.elements()
    for flb in elements:
        name = flb.value_of("name") or ""
        if not name and not flb.value_of("data") and not flb.value_of("count"):
            # A record of zeros is the rest of the page, and nobody asks for it.
            continue
        definition = boot.image.registry.handler(Kind.FLB, name)
        if definition is None or definition.status != "merged":
            lost.append(f"nothing asks for '{name}'")
        elif name in seen:
            lost.append(f"'{name}' is found once only")
        elif name in definition.literals and flb.value_of("data") != definition.literals[name]:
            lost.append(f"data of '{name}' is not what its owner expects")
        seen.add(name)
    if flbs.path in boot.cut:
        lost.append("records behind the count are not read")
    if not elements and _something_lost(boot):
        lost.append("no object is found")
    if lost:
        boot.verdict.add("flbs", Outcome.PARTIAL, "", "; ".join(lost))
    else:
        boot.verdict.add("flbs", Outcome.ACCEPT)


def _something_lost(boot: Boot) -> bool:
    """True if pages are preserved that nothing reaches: what named them is gone."""
    owned = boot.image.ownership()
    return owned is not None and owned.unowned_pages > 0


def _first_open(boot: Boot, entry: Node) -> None:
    """luo_session_deserialize: one fault fails every open with EIO."""
    seen: set[str] = set()
    sessions = _sessions(boot.image)
    for session in sessions:
        name = str(session.value_of("name"))
        message = ""
        if name in seen:
            message = f"luo: Failed to insert session [{name}] {EEXIST}"
        seen.add(name)
        files = session.get("files")
        if not message and files is not None and boot.beyond(files.value):
            why = f"files is {files.value:#x}, where there is no memory"
            boot.verdict.add("sessions", Outcome.PANIC, "", why)
            return
        if not message and boot.kernel.does.keeps_file_errors:
            message = _files_fault(boot, session, name)
        if message:
            why = "opening /dev/liveupdate fails with EIO, now and later"
            boot.verdict.add("sessions", Outcome.PARTIAL, message, why)
            refuse_sessions(boot.image, boot.verdict)
            return
    top = entry.get("sessions")
    if top is not None and top.path in boot.cut:
        boot.verdict.add("sessions", Outcome.PARTIAL, "", "records behind the count are not read")
    elif not sessions and _something_lost(boot):
        why = "no session is listed, but memory is kept"
        boot.verdict.add("sessions", Outcome.PARTIAL, "", why)
    else:
        boot.verdict.add("sessions", Outcome.ACCEPT)
    _retrieve(boot, sessions)


def _files_fault(boot: Boot, session: Node, name: str) -> str:
    """luo_file_deserialize: the line for a session whose files cannot be read, or nothing."""
    files = session.get("files")
    if files is None or not files.value:
        return ""
    failed = f"luo: Failed to deserialize files for session [{name}]"
    if boot.kernel.luo == "luo-v5":
        fault = block_fault(boot, files)
        if fault:
            return f"{fault}; {failed} {EINVAL}"
    elements = files.elements()
    for file in elements:
        handler = file.value_of("handler")
        if handler not in boot.kernel.abi.files:
            missing = f"luo: No registered handler for compatible '{handler}'"
            return f"{missing}; {failed} {ENOENT}"
    count = session.value_of("count")
    if boot.kernel.luo == "luo-v5" and count != len(elements):
        text = f"luo: File count mismatch: expected {count}, found {len(elements)}"
        return f"{text}; {failed} {EINVAL}"
    return ""


def _retrieve(boot: Boot, sessions: list[Node]) -> None:
    """Each session by name, each file by token."""
    verdict = boot.verdict
    whole = True
    for session in sessions:
        name = str(session.value_of("name"))
        files = session.get("files")
        elements = files.elements() if files is not None else []
        if is_blank(session):
            continue
        result = SessionResult(name, bool(name))
        verdict.sessions.append(result)
        if not name:
            whole = False
            verdict.add("files", Outcome.PARTIAL, "", f"{session.path} has no name to ask for")
            continue
        if not elements and session.value_of("count") and _something_lost(boot):
            whole = False
            verdict.add("files", Outcome.PARTIAL, "", f"{session.path} comes back without files")
        if files is not None and files.path in boot.cut and boot.kernel.luo == "luo-v1":
            whole = False
            why = f"{session.path}: files behind the count are not read"
            verdict.add("files", Outcome.PARTIAL, "", why)
        whole = _retrieve_files(boot, elements, result) and whole
        if verdict.stopped:
            return
    if whole and sessions:
        verdict.add("files", Outcome.ACCEPT)


def _retrieve_files(boot: Boot, elements: list[Node], result: SessionResult) -> bool:
    """Every file of a session; True if all come back."""
    tokens: set[int] = set()
    dropped, whole = False, True
    for file in elements:
        token = file.value_of("token")
        if not isinstance(token, int):
            continue
        dropped = dropped or file.value_of("handler") not in boot.kernel.abi.files
        if dropped:
            # 6.19 forgets the error, and with it the rest of the session's files.
            status, message = "ENOENT", ""
        elif token in tokens:
            whole = False
            boot.verdict.add("files", Outcome.PARTIAL, "", f"{file.path}: its token is taken")
            continue
        else:
            status, message = retrieve_memfd(boot, file)
        if status == FAULT:
            boot.verdict.add("files", Outcome.PANIC, "", f"{file.path}: {message}")
            return False
        tokens.add(token)
        result.files.append(FileResult(f"{token:#x}", status))
        if status != "ok":
            whole = False
            outcome = Outcome.CORRUPT if status == "other-data" else Outcome.PARTIAL
            line = message if message.startswith("memfd_luo") else ""
            why = f"{file.path}: {status}" + (f", {message}" if message and not line else "")
            boot.verdict.add("files", outcome, line, why)
    return whole
