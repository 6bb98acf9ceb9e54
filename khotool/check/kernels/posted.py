"""Kernels of postings that were never released: judged by what their formats say, and no further.

Their consoles are not known, so nothing here prints. A posting takes the root of its own format
and of no other; its live update state has to be of its own format, or the boot stops (two
postings give up live update instead).
"""

from __future__ import annotations

from khotool.absent import Absent
from khotool.check.catalogue import severity
from khotool.check.kernels.boot import Boot
from khotool.check.kernels.verdict import Outcome, Unseen
from khotool.findings import Severity
from khotool.model.image import Node
from khotool.model.path import is_below


def judge_posted(boot: Boot) -> None:
    """Root, live update state, and entries; what a posting makes of files is not judged."""
    image, abi = boot.image, boot.kernel.abi
    if not _takes_root(boot):
        return
    for entry in image.entries:
        if entry.name in ("LUO", "liveupdate_orchestrator"):
            _live_update(boot, entry)
        elif abi.entries.get(entry.name) == entry.format:
            _broken(boot, entry, "entries", Outcome.PARTIAL)
        else:
            why = f"{entry.path} is {entry.format or 'unknown'}, which the posting does not read"
            boot.verdict.add("entries", Outcome.PARTIAL, why=why)


def _takes_root(boot: Boot) -> bool:
    """Record what becomes of the root; True if the posting goes on to what hangs from it."""
    image, abi, verdict = boot.image, boot.kernel.abi, boot.verdict
    own = image.registry.get(abi.root)
    given = image.registry.definitions.get(image.tree.format)
    name = image.tree.format or "unknown"
    if given is own:
        verdict.add("kho-root", Outcome.ACCEPT)
        return True
    if boot.kernel.does.takes_any_root:
        verdict.add("kho-root", Outcome.ACCEPT, why="the posting does not compare the string")
        why = f"the root is {name}, in which the posting finds no map; it reserves nothing"
        verdict.add("map", Outcome.CORRUPT, why=why)
        return False
    strings = set(own.match.get("compatible", ()))
    if given is None or strings.isdisjoint(given.match.get("compatible", ())):
        why = f"the root is {name}, the posting takes {abi.root}"
        verdict.add("kho-root", Outcome.IGNORE, why=why)
        return False
    if own.ranges and (own.ranges, own.scratch) == (given.ranges, given.scratch):
        # Ranges stand at the nodes that own them: what the nodes are does not matter.
        verdict.add("kho-root", Outcome.ACCEPT)
        return True
    why = f"the root is {name}, which has the string of {abi.root} and another map"
    verdict.not_judged("kho-root", Unseen.POSTING, why)
    return False


def _live_update(boot: Boot, entry: Node) -> None:
    """luo_early_startup of a posting, then what it does not show."""
    wanted = boot.kernel.abi.entries.get(entry.name)
    refused = Outcome.PARTIAL if boot.kernel.does.luo_faults_disable else Outcome.PANIC
    if wanted is None:
        boot.verdict.add("luo", Outcome.PARTIAL, why="the posting has no live update orchestrator")
    elif entry.format != wanted:
        why = f"the live update state is {entry.format or 'unknown'}, the posting takes {wanted}"
        boot.verdict.add("luo", refused, why=why)
    elif not _broken(boot, entry, "luo", refused):
        why = "what a posting makes of sessions and files is not known"
        boot.verdict.not_judged("sessions", Unseen.POSTING, why)


def _own(path: str, entry: str) -> bool:
    """True for what a posting reads of an entry as it boots, not what is in sessions or data."""
    below = path[len(entry) :]
    inner = below.startswith("/sessions") or "/data" in below
    return is_below(path, entry) and not inner


def _is_wrong(node: Node) -> bool:
    """True for a value that is not the only right one."""
    field, value = node.field, node.value
    if field is None or isinstance(value, Absent) or value is None:
        return False
    by_text = bool(field.value) and value != field.value
    return by_text or (field.expect is not None and value != field.expect)


def _broken(boot: Boot, entry: Node, stage: str, refused: Outcome) -> bool:
    """Record what becomes of an entry of the right format; True if it has errors in itself."""
    found = {
        finding.rule
        for path, findings in boot.found.items()
        for finding in findings
        if severity(finding.rule) is Severity.ERROR and _own(path, entry.path)
    }
    wrong = [node for node in entry.walk() if _own(node.path, entry.path) and _is_wrong(node)]
    if wrong:
        why = f"{wrong[0].path} is {wrong[0].value!r:.60}, which the posting refuses"
        boot.verdict.add(stage, refused, why=why)
        return True
    if found:
        why = f"{entry.path} is damaged ({', '.join(sorted(found))})"
        boot.verdict.add(stage, refused, why=why)
    else:
        boot.verdict.add(stage, Outcome.ACCEPT)
    return bool(found)
