"""The live update orchestrator: early boot, first open of /dev/liveupdate, retrieve."""

from __future__ import annotations

from khotool.abi.definition import Kind
from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.kernels.entries import broken_entry
from khotool.check.kernels.families import Kernel
from khotool.check.kernels.memfd import retrieve_memfd
from khotool.check.kernels.verdict import FileResult, Outcome, SessionResult, Verdict
from khotool.image.model import Image, Node

PANIC = (
    "Kernel panic - not syncing: The incoming tree failed to initialize properly [-22], "
    "disabling live update"
)
EINVAL, ENOENT, EEXIST = -22, -2, -17


def refuse_sessions(image: Image, verdict: Verdict) -> None:
    """No session comes back."""
    verdict.sessions = [
        SessionResult(str(session.value_of("name")), False) for session in _sessions(image)
    ]


def _sessions(image: Image) -> list[Node]:
    luo = image.entry("LUO")
    sessions = luo.get("sessions") if luo is not None else None
    return sessions.elements() if sessions is not None else []


def judge_luo(context: Context, kernel: Kernel, verdict: Verdict) -> None:
    """luo_early_startup and what follows from it."""
    entry = context.image.entry("LUO")
    if entry is None or not kernel.luo:
        return
    message = _early(context, kernel, entry)
    if message:
        verdict.add("luo", Outcome.PANIC, message, PANIC)
        return
    number = entry.value_of("liveupdate_number")
    text = f"luo: Retrieved live update data, liveupdate number: {number}"
    verdict.add("luo", Outcome.ACCEPT, text)
    _flbs(context, entry, verdict)
    _first_open(context, kernel, entry, verdict)


def _early(context: Context, kernel: Kernel, entry: Node) -> str:
    """The line before the panic, or nothing: any fault here stops the boot."""
    message = broken_entry(context, kernel, entry)
    if message:
        return message
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
        if kernel.needs_flb and (flbs is None or entry.value_of("flb_compatible") is None):
            return "luo: FLB node is missing"
        return "" if sessions.value else "luo: the session header is at address 0"
    return block_fault(context, sessions)


def block_fault(context: Context, node: Node) -> str:
    """kho_block_set_restore: the line for a list it refuses, or nothing."""
    for finding in context.image.findings:
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


def _flbs(context: Context, entry: Node, verdict: Verdict) -> None:
    """liveupdate_flb_get_incoming: by exact name, at the first use of each object."""
    flbs = entry.get("flbs")
    if flbs is None or not flbs.value:
        return
    lost = []
    for flb in flbs.elements():
        name = flb.value_of("name") or ""
        definition = context.image.registry.handler(Kind.FLB, name)
        if definition is None:
            lost.append(f"nothing asks for '{name}'")
        elif name in definition.literals and flb.value_of("data") != definition.literals[name]:
            lost.append(f"data of '{name}' is not what its owner expects")
    from khotool.check.rules.lists import check_list_ends

    probe = Context(context.image)
    check_list_ends(probe)
    if any(finding.path == flbs.path for finding in probe.findings):
        lost.append("records behind the count are not read")
    if lost:
        verdict.add("flbs", Outcome.PARTIAL, "", "; ".join(lost))
    else:
        verdict.add("flbs", Outcome.ACCEPT)


def _first_open(context: Context, kernel: Kernel, entry: Node, verdict: Verdict) -> None:
    """luo_session_deserialize: one fault fails every open with EIO."""
    seen: set[str] = set()
    sessions = _sessions(context.image)
    for session in sessions:
        name = str(session.value_of("name"))
        message = ""
        if name in seen:
            message = f"luo: Failed to insert session [{name}] {EEXIST}"
        seen.add(name)
        if not message and kernel.keeps_file_errors:
            message = _files_fault(context, kernel, session, name)
        if message:
            why = "opening /dev/liveupdate fails with EIO, now and later"
            verdict.add("sessions", Outcome.PARTIAL, message, why)
            refuse_sessions(context.image, verdict)
            return
    verdict.add("sessions", Outcome.ACCEPT)
    _retrieve(context, kernel, sessions, verdict)


def _files_fault(context: Context, kernel: Kernel, session: Node, name: str) -> str:
    """luo_file_deserialize: the line for a session whose files cannot be read, or nothing."""
    files = session.get("files")
    if files is None or not files.value:
        return ""
    failed = f"luo: Failed to deserialize files for session [{name}]"
    if kernel.luo == "luo-v5":
        fault = block_fault(context, files)
        if fault:
            return f"{fault}; {failed} {EINVAL}"
    elements = files.elements()
    for file in elements:
        handler = file.value_of("handler")
        if handler not in kernel.files:
            missing = f"luo: No registered handler for compatible '{handler}'"
            return f"{missing}; {failed} {ENOENT}"
    count = session.value_of("count")
    if kernel.luo == "luo-v5" and count != len(elements):
        text = f"luo: File count mismatch: expected {count}, found {len(elements)}"
        return f"{text}; {failed} {EINVAL}"
    return ""


def _retrieve(context: Context, kernel: Kernel, sessions: list[Node], verdict: Verdict) -> None:
    """Each session by name, each file by token."""
    worst = Outcome.ACCEPT
    for session in sessions:
        result = SessionResult(str(session.value_of("name")), True)
        verdict.sessions.append(result)
        files = session.get("files")
        elements = files.elements() if files is not None else []
        count = session.value_of("count")
        if not elements and count:
            verdict.add("files", Outcome.PARTIAL, "", f"{session.path} comes back without files")
        tokens: set[int] = set()
        dropped = False
        for file in elements:
            token = file.value_of("token")
            if not isinstance(token, int):
                continue
            dropped = dropped or file.value_of("handler") not in kernel.files
            if dropped:
                # 6.19 forgets the error, and with it the rest of the session's files.
                status, message = "ENOENT", ""
            elif token in tokens:
                verdict.add("files", Outcome.PARTIAL, "", f"{file.path}: its token is taken")
                continue
            else:
                status, message = retrieve_memfd(context, file)
            tokens.add(token)
            result.files.append(FileResult(f"{token:#x}", status))
            if status != "ok":
                worst = Outcome.CORRUPT if status == "other-data" else Outcome.PARTIAL
                verdict.add("files", worst, message, f"{file.path}: {status}")
    if worst is Outcome.ACCEPT and sessions:
        verdict.add("files", Outcome.ACCEPT)
