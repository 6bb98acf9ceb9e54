"""The state of the live update orchestrator, as early boot takes it."""

from __future__ import annotations

from khotool.abi.record import decode_record
from khotool.absent import Absent
from khotool.check.kernels.boot import Boot
from khotool.check.kernels.entries import refused_entry
from khotool.check.kernels.verdict import Outcome, Unseen
from khotool.check.rules.sessions import session_nodes
from khotool.fdt.blob import Node as FdtNode
from khotool.fdt.libfdt import check_compatible
from khotool.model.image import Node
from khotool.records import dataclass

BLOCK_LIST = "kho_block"
MOST_BLOCKS = 10_000
"""Blocks of a list that a kernel follows."""
FDT_STATE = "luo-v1"
"""The string of the state that is a device tree, up to 7.1; later ones are records."""

PANIC = (
    "Kernel panic - not syncing: The incoming tree failed to initialize properly [-22], "
    "disabling live update"
)
EINVAL = -22
NOTFOUND = -1
"""What libfdt gives for the length of a property that is not there."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a part of the live update state is refused, or cannot be judged.

    Args:
        console: lines of the kernel; why: khotool's words.
        unseen: what the image lacks; None for a fault of the handover.
        stops: the kernel runs into memory that is not there.
    """

    console: tuple[str, ...] = ()
    why: str = ""
    unseen: Unseen | None = None
    stops: bool = False


def judge_luo(boot: Boot) -> None:
    """luo_early_startup: any fault here stops the boot."""
    entry = boot.image.entry("LUO")
    if entry is None or not boot.kernel.luo:
        return
    verdict = boot.verdict
    if boot.unseen is not None and (
        boot.unseen[0] is Unseen.CONSUMED or not isinstance(entry.value_of("compatible"), str)
    ):
        verdict.not_judged("luo", *boot.unseen)
        return
    noun = "FDT" if boot.kernel.luo == FDT_STATE else "LUO state"
    lines = refused_entry(boot, entry, f"luo: failed to retrieve {noun} 'LUO' from KHO: {EINVAL}")
    if lines:
        verdict.add("luo", Outcome.PANIC, *lines, PANIC)
        return
    if boot.panics_beyond("luo", f"{entry.path}/address", entry.value_of("address")):
        return
    fault = _fdt_fault(boot, entry) if boot.kernel.luo == FDT_STATE else _record_fault(boot, entry)
    sessions = entry.get("sessions")
    if fault is None and sessions is not None:
        if boot.panics_beyond("luo", sessions.path, sessions.value):
            return
        fault = _sessions_fault(boot, sessions)
    _conclude(boot, entry, fault)


def _conclude(boot: Boot, entry: Node, fault: Fault | None) -> None:
    """Record what becomes of the state, and free its records where it is taken."""
    verdict = boot.verdict
    if fault is not None and fault.unseen is not None:
        verdict.not_judged("luo", fault.unseen, fault.why)
    elif fault is not None:
        lines = () if fault.stops else (*fault.console, PANIC)
        verdict.add("luo", Outcome.PANIC, *lines, why=fault.why)
    else:
        number = entry.value_of("liveupdate_number")
        shown = number - (1 << 64) if number >> 63 else number
        line = f"luo: Retrieved live update data, liveupdate number: {shown}"
        verdict.add("luo", Outcome.ACCEPT, line)
        _free_records(boot, entry)


def _free_records(boot: Boot, entry: Node) -> None:
    """Pages that LUO gives back before any file is retrieved: its record, blocks of lists."""
    pages = [entry.value_of("address")] if boot.kernel.luo == "luo-v5" else []
    for node in [entry, *session_nodes(entry)]:
        for name in ("sessions", "files"):
            lists = node.get(name)
            for child in lists.children if lists is not None else []:
                if child.name == "blocks" and child.span is not None:
                    pages.append(child.span.address)
    boot.take_pages(pages)


def _record_fault(boot: Boot, entry: Node) -> Fault | None:
    """luo_early_startup of 7.2 and later: a record."""
    size, needed = entry.value_of("size"), boot.struct(boot.kernel.abi.entries["LUO"]).size
    if isinstance(size, int) and size < needed:
        return Fault((f"luo: LUO state is too small ({size} < {needed})",))
    address = entry.value_of("address")
    gap = boot.gap(address)
    if gap is not None and not isinstance(entry.value_of("compatible"), str):
        return Fault(why=f"the live update state at {address:#x} is not in the image", unseen=gap)
    wanted = boot.kernel.luo
    if entry.value_of("compatible") != wanted:
        return Fault((f"luo: LUO state is incompatible with '{wanted}'",))
    if not isinstance(entry.value_of("liveupdate_number"), int):
        return Fault(why="the live update state is cut off in the image", unseen=Unseen.TRUNCATED)
    return None


def _fdt_fault(boot: Boot, entry: Node) -> Fault | None:
    """luo_early_startup, luo_session_setup_incoming, luo_flb_setup_incoming up to 7.1: a tree."""
    address, data = entry.value_of("address"), boot.tree_bytes(entry)
    gap = boot.gap(address)
    if gap is not None and not data:
        return Fault(why=f"the live update tree at {address:#x} is not in the image", unseen=gap)
    wanted = boot.kernel.luo
    error = check_compatible(data, wanted)
    if error:
        line = f"luo: FDT 'LUO' is incompatible with '{wanted}' [{error}]"
        return Fault((line,) if data else (), "" if data else "the entry does not name a tree")
    blob = boot.image.blob_of("/LUO")
    root = blob.root if blob is not None else None
    found = _length(root, "liveupdate-number")
    if found != 8:
        return Fault((f"luo: Unable to get live update number 'liveupdate-number' [{found}]",))
    session = root.child("luo-session") if root is not None else None
    if session is None:
        return Fault(("luo: Unable to get session node: [luo-session]",))
    if _incompatible(session, "luo-session-v2"):
        return Fault(("luo: Session node incompatible [luo-session-v2]",))
    found = _length(session, "luo-session-header")
    if found != 8:
        return Fault((f"luo: Unable to get session header 'luo-session-header' [{found}]",))
    return _flb_node_fault(root) if boot.kernel.needs_flb else None


def _flb_node_fault(root: FdtNode | None) -> Fault | None:
    """luo_flb_setup_incoming of 7.0 and 7.1."""
    node = root.child("luo-flb") if root is not None else None
    if node is None:
        return Fault(("luo: Unable to get FLB node [luo-flb]",))
    error = _incompatible(node, "luo-flb-v1")
    if error:
        return Fault((f"luo: FLB node is incompatible with 'luo-flb-v1' [{error}]",))
    found = _length(node, "luo-flb-header")
    if found != 8:
        return Fault((f"luo: Unable to get FLB header property 'luo-flb-header' [{found}]",))
    return None


def _length(node: FdtNode | None, name: str) -> int:
    """Bytes of a property, or the error of libfdt."""
    prop = node.get(name) if node is not None else None
    return NOTFOUND if prop is None else len(prop.value)


def _incompatible(node: FdtNode, wanted: str) -> int:
    """fdt_node_check_compatible of a node: 0, 1, or the error of libfdt."""
    prop = node.get("compatible")
    if prop is None:
        return NOTFOUND
    return 0 if wanted.encode() in prop.value.split(b"\0")[:-1] else 1


def _sessions_fault(boot: Boot, sessions: Node) -> Fault | None:
    """The list of sessions, as far as early boot looks at it."""
    if isinstance(sessions.value, Absent):
        why = "where the sessions are is not in the image"
        return Fault(why=why, unseen=Unseen(sessions.value.reason))
    if boot.kernel.luo != FDT_STATE:
        return block_fault(boot, sessions)
    return None if sessions.value else Fault(why=f"{sessions.path} is 0, which is read as memory")


def block_fault(boot: Boot, node: Node) -> Fault | None:
    """kho_block_set_restore: why a list is refused, or nothing.

    The links are followed first, to see whether they come back; then the counts are read.
    """
    astray = _astray(boot, node)
    if astray is not None:
        why = f"a block of {node.path} is at {astray:#x}, where there is no memory"
        return Fault(why=why, stops=True)
    for finding in boot.found.get(node.path, []):
        if finding.rule in ("REC402", "LIM001"):
            return Fault(("luo: Block set is corrupted",))
        if finding.rule == "REC403":
            count = _block_header(boot, finding.address, "count")
            line = f"luo: Block contains invalid entry count: {count}"
            return Fault((line,) if count is not None else (), f"a count of {node.path} is wrong")
        if finding.rule == "MEM301":
            gap = boot.gap(finding.address)
            place = f"{finding.address:#x}" if finding.address is not None else "its place"
            if gap is not None:
                return Fault(
                    why=f"a block of {node.path}, at {place}, is not in the image", unseen=gap
                )
            return Fault(why=f"what {node.path} leads to at {place} is not preserved")
    return None


def _astray(boot: Boot, node: Node) -> int | None:
    """Physical address of the first block of a list that lies where there is no memory."""
    seen: set[int] = set()
    address = node.value
    while isinstance(address, int) and address and address not in seen and len(seen) < MOST_BLOCKS:
        if boot.beyond(address):
            return address
        seen.add(address)
        address = _block_header(boot, address, "next")
    return None


def _block_header(boot: Boot, address: int | None, field: str) -> int | None:
    """What the header of a block says; None where it is not in the image."""
    header = boot.struct(BLOCK_LIST)
    raw = boot.context.read(address, header.size) if address is not None else None
    value = decode_record(header, raw).get(field) if raw is not None else None
    return value if isinstance(value, int) else None
