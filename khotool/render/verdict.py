"""Verdicts for people: stage by stage, as a matrix of kernels, and whose state is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from khotool.handlers.consequences import consequence
from khotool.render.lines import Line
from khotool.render.text import plural, visible

OUTCOME_STYLE = dict.fromkeys(("not-judged", "partial", "ignore"), "warning") | {"accept": "good"}
UNSEEN = {
    "consumed": "a kernel has booted from the handover and consumed it",
    "contents-not-captured": "the payload was not captured",
    "handler-assumed": "a handler is assumed",
    "handler-not-known": "what a handler does is not known",
    "limit": "not all of it was read",
    "not-captured": "not all of it was captured",
    "other-layout": "the kernel reads other layouts",
    "other-machine": "the kernel is for another machine",
    "posting-not-known": "khotool does not know what a posting does beyond its formats",
    "truncated": "the file is cut off",
    "unparsable": "not all of it could be read",
    "unreadable": "not all of it could be read",
}
"""Why there is no verdict, by the words of the JSON."""
DIRECTION = {"upgrade": "upgrade from", "rollback": "rollback from", "same": "same as"}
DECISION_STYLE = {"proceed": "good", "stop": "error", "unknown": "warning"}
SHOWN = 12
"""Losses that text shows; -v shows all."""


def verdicts_lines(verdicts: Sequence[dict[str, Any]], *, verbose: bool) -> Iterator[Line]:
    """One verdict stage by stage; several as a matrix, with all stages where that is wanted."""
    if len(verdicts) > 1:
        yield from matrix_lines(verdicts)
    for verdict in verdicts:
        if len(verdicts) == 1 or verbose:
            yield from verdict_lines(verdict, verbose=verbose)


def matrix_rows(verdicts: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Stages down, kernels across; the first row names the kernels, and a dash is not reached."""
    stages = list(dict.fromkeys(step["stage"] for v in verdicts for step in v["steps"]))
    rows = [["", *(kernel_text(verdict) for verdict in verdicts)]]
    rows.append(["overall", *(verdict["outcome"] for verdict in verdicts)])
    moves = [verdict.get("direction", "-") for verdict in verdicts]
    if any(move != "-" for move in moves):
        rows.append(["direction", *moves])
    if any("policy" in verdict for verdict in verdicts):
        rows.append(["policy", *(v.get("policy", {}).get("decision", "-") for v in verdicts)])
    rows += [[stage, *(stage_outcome(v, stage) for v in verdicts)] for stage in stages]
    rows.append(["lost", *(str(len(verdict["losses"])) for verdict in verdicts)])
    return rows


def stage_outcome(verdict: dict[str, Any], stage: str) -> str:
    """The worst outcome of a stage, or a dash."""
    found = [step["outcome"] for step in verdict["steps"] if step["stage"] == stage]
    order = ("accept", "not-judged", "partial", "corrupt", "ignore", "panic")
    return max(found, key=order.index, default="-")


def kernel_text(verdict: dict[str, Any]) -> str:
    """The kernel, and what is special about it."""
    status = verdict.get("status")
    name = visible(verdict["kernel"].rpartition("/")[2])
    return f"{name} ({status})" if status else name


def matrix_lines(verdicts: Sequence[dict[str, Any]]) -> Iterator[Line]:
    """The matrix, and for each kernel what decides."""
    rows = matrix_rows(verdicts)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        line = Line().add(f"{row[0]:<{widths[0]}}", "label")
        for text, width in zip(row[1:], widths[1:], strict=True):
            style = "name" if not number else OUTCOME_STYLE.get(text, "")
            line.add(f"  {text:<{width}}", style)
        yield line
    for verdict in verdicts:
        step = deciding_step(verdict)
        if step is not None:
            line = Line(hang="    ").add(f"{kernel_text(verdict)}: ", "name")
            yield line.add(f"{step['stage']}: {visible(step_text(step))}")


def deciding_step(verdict: dict[str, Any]) -> dict[str, Any] | None:
    """The first step with the verdict's outcome; None where all is accepted."""
    if verdict["outcome"] == "accept":
        return None
    return next((s for s in verdict["steps"] if s["outcome"] == verdict["outcome"]), None)


def step_text(step: dict[str, Any]) -> str:
    """The kernel's own line, or khotool's reason where it prints none."""
    return str(step["message"] or step.get("why", ""))


def headline(verdict: dict[str, Any]) -> str:
    """The outcome and what it rests on, as half a sentence."""
    text = str(verdict["outcome"])
    if verdict["outcome"] == "not-judged":
        text += ": " + ", ".join(dict.fromkeys(UNSEEN[reason] for reason in verdict["unseen"]))
    move = DIRECTION.get(verdict.get("direction", ""))
    if move and verdict["direction"] != "same":
        text += f" ({move} {visible(verdict['from'])})"
    return text


def verdict_lines(verdict: dict[str, Any], *, verbose: bool = False) -> Iterator[Line]:
    """Stage by stage, what is lost, and what user space gets."""
    style = OUTCOME_STYLE.get(verdict["outcome"], "error")
    yield Line().add(f"kernel {kernel_text(verdict)}: ", "name").add(headline(verdict), style)
    if "file" in verdict:
        yield Line(lead="    ", hang="        ").add(file_text(verdict), "dim")
    for step in verdict["steps"]:
        style = OUTCOME_STYLE.get(step["outcome"], "error")
        row = Line(lead="    ", hang=" " * 32).add(f"{step['stage']:<15} ")
        row.add(f"{step['outcome']:<10} ", style)
        yield row.add(visible(step_text(step)))
    for session in verdict["sessions"]:
        yield Line(lead="    ", hang="        ").add(_session_text(session))
    if "policy" in verdict:
        policy = verdict["policy"]
        text = f"{plural(policy['mandatory_lost'], 'mandatory loss', 'mandatory losses')}, "
        line = Line(lead="    ", hang="        ").add("policy: ")
        line.add(policy["decision"], DECISION_STYLE[policy["decision"]])
        yield line.add(f"; {text}{policy['optional_lost']} optional")
    losses = loss_sentences(verdict["losses"])
    for text in losses if verbose else losses[:SHOWN]:
        yield Line(lead="    ", hang="        ").add("lost: ", "error").add(visible(text))
    if len(losses) > SHOWN and not verbose:
        yield Line(lead="    ").add(f"{len(losses) - SHOWN} more losses; -v shows all", "dim")


def file_text(verdict: dict[str, Any]) -> str:
    """What was derived from a kernel's file."""
    found = verdict["file"]
    release = visible(found["release"]) or "no release"
    text = f"from the file: {release}, "
    text += "" if found["exact"] else "which khotool does not know; nearest is "
    text += f"ABI set {verdict['set']}"
    if not found["strings_read"]:
        packing = found["packing"] or "in a way that khotool does not know"
        return (
            f"{text}; its code is packed {packing} and was not read, so its strings and types "
            "were not looked for; give the vmlinux of its build"
        )
    lost = ", ".join(found["not_registered"])
    text += f", without {lost}" if lost else ", all of whose strings it has"
    if found["structs"] is None:
        return f"{text}; without BTF, so its types were not compared"
    wrong = len({(one["format"], one["struct"]) for one in found["differences"]})
    differ = {0: "none differs", 1: "one differs"}.get(wrong, f"{wrong} differ")
    return f"{text}; {plural(found['structs'], 'struct')} of its BTF compared, {differ}"


def _session_text(session: dict[str, Any]) -> str:
    lost = [f for f in session["files"] if f["result"] != "ok"]
    number = len(session["files"])
    if not session["retrieved"]:
        text = "is not given back"
    elif lost:
        shown = ", ".join(f"{f['token']}: {f['result']}" for f in lost[:8])
        text = f"{number - len(lost)} of {number} files given back; {shown}"
    else:
        text = f"{plural(number, 'file')} given back"
    return f"session {visible(session['name'])}: {text}"


def loss_sentences(losses: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence for each session and cause: who loses what, where, why, and what it means."""

    def key(loss: dict[str, Any]) -> tuple[str, ...]:
        why = loss["message"] or loss["why"]
        return loss["session"], loss["handler"] or "", loss["stage"], loss["outcome"], why

    return [loss_sentence(list(same)) for _, same in groupby(losses, key=key)]


def loss_sentence(losses: list[dict[str, Any]]) -> str:
    """A sentence on files of one session that are lost for one reason."""
    first = losses[0]
    what = f"session {first['session']}"
    if first["token"] is not None:
        tokens = ", ".join(loss["token"] for loss in losses)
        noun = "file" if len(losses) == 1 else "files"
        what += f", {noun} {tokens} ({first['handler'] or 'no handler'})"
    why = first["message"] or first["why"] or "the kernel says nothing"
    return f"{what}: {_fate(first)} at stage {first['stage']} ({why}); {meaning(first)}"


def _fate(loss: dict[str, Any]) -> str:
    if loss["outcome"] == "panic":
        return "lost with the whole host, which panics"
    if loss["outcome"] == "ignore":
        return "dropped with the whole handover"
    if loss["outcome"] == "corrupt":
        return "restored with wrong contents and without an error"
    return f"refused with {loss['result']}" if loss["result"] else "not restored"


def meaning(loss: dict[str, Any]) -> str:
    """What a loss means for the guest or service that the file belongs to."""
    if loss["outcome"] == "corrupt":
        return "do not resume a guest that uses it"
    return consequence(loss["handler"] or "")
