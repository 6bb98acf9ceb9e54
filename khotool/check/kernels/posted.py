"""Kernels of postings that were never released: judged by what their formats say, and no further.

Their consoles are not known, so nothing here prints. A posting takes the root of its own format
and of no other; its live update state has to be of its own format, or the boot stops (two
postings give up live update instead).
"""

from __future__ import annotations

from khotool.check.catalogue import severity
from khotool.check.kernels.boot import Boot
from khotool.check.kernels.verdict import Outcome, Unseen
from khotool.findings import Severity
from khotool.model.image import Node


def judge_posted(boot: Boot) -> None:
    """Root, live update state, and entries; what a posting makes of files is not judged."""
    image, abi, verdict = boot.image, boot.kernel.abi, boot.verdict
    if image.tree.format != abi.root:
        why = f"the root is {image.tree.format or 'unknown'}, the posting takes {abi.root}"
        verdict.add("kho-root", Outcome.IGNORE, why=why)
        return
    verdict.add("kho-root", Outcome.ACCEPT)
    for entry in image.entries:
        if entry.name in ("LUO", "liveupdate_orchestrator"):
            _live_update(boot, entry)
        elif abi.entries.get(entry.name) == entry.format:
            _broken(boot, entry, "entries", Outcome.PARTIAL)
        else:
            why = f"{entry.path} is {entry.format or 'unknown'}, which the posting does not read"
            verdict.add("entries", Outcome.PARTIAL, why=why)


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


def _broken(boot: Boot, entry: Node, stage: str, refused: Outcome) -> bool:
    """Record what becomes of an entry of the right format; True if it has errors in itself."""
    found = [f for f in boot.found.get(entry.path, []) if severity(f.rule) is Severity.ERROR]
    if found:
        why = f"{entry.path} is damaged ({', '.join(sorted({f.rule for f in found}))})"
        boot.verdict.add(stage, refused, why=why)
    else:
        boot.verdict.add(stage, Outcome.ACCEPT)
    return bool(found)
