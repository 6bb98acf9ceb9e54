"""Boots as text and as JSON: what came back, the kernel's own lines, the prediction."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from khotool.document.dump import head
from khotool.lab.boot import Booted
from khotool.lab.outcome import Outcome, SessionOutcome, stages
from khotool.records import dataclass
from khotool.render.lines import Line, width_of
from khotool.render.text import plural, visible

STYLE = {
    Outcome.ACCEPT: "good",
    Outcome.PARTIAL: "warning",
    Outcome.IGNORE: "warning",
    Outcome.CORRUPT: "error",
    Outcome.PANIC: "error",
    Outcome.HANG: "error",
}
WHY = {
    "reset": "the machine restarted without a message",
    "timeout": "there was no further output before the timeout",
    "no-handover": "the kernel found no handover",
    "no-init": "the kernel does not run the program in the initrd",
}
"""What decided an outcome, by code."""


@dataclass(frozen=True, slots=True)
class NotBooted:
    """An image that a kernel could not be started on, and why."""

    image: str
    kernel: str
    error: str


Done = Booted | NotBooted


def document(done: Sequence[Done]) -> dict[str, Any]:
    """``khotool.boot/1``."""
    return {**head("boot"), "boots": [_boot_json(item) for item in done]}


def _boot_json(item: Done) -> dict[str, Any]:
    if isinstance(item, NotBooted):
        return {"image": item.image, "kernel": {"file": item.kernel}, "error": item.error}
    judged = item.judged
    return {
        "image": item.image,
        "kernel": {"file": item.kernel.path, "release": item.release},
        "outcome": str(judged.outcome),
        "why": judged.why or None,
        "predicted": item.predicted,
        "agree": item.agree,
        "differences": [
            {"what": what, "predicted": wanted, "actual": actual}
            for what, wanted, actual in item.differences
        ],
        "stages": [{"stage": str(stage), "line": line.text} for stage, line in stages(judged)],
        "regions": {name: str(state) for name, state in judged.regions.items()},
        "kho_test": str(judged.test),
        "flbs": {name: str(state) for name, state in judged.objects.items()},
        "unasked": judged.unasked,
        "sessions": [_session_json(session) for session in judged.sessions],
        "console": [line.text for line in judged.lines],
        "command_line": item.command_line,
        "memory": item.memory,
        "seconds": round(item.run.seconds, 3),
    }


def _session_json(session: SessionOutcome) -> dict[str, Any]:
    return {
        "name": session.name,
        "result": session.result,
        "files": [
            {
                "token": hex(file.token),
                "result": file.result,
                "size": file.size,
                "pos": file.position,
                "seals": file.seals,
                "sha256": file.sha256,
                "contents": None if file.contents is None else str(file.contents),
            }
            for file in session.files
        ],
    }


# -- text ---------------------------------------------------------------------------------------


def text_lines(done: Sequence[Done], *, verbose: bool) -> Iterator[Line]:
    """One boot in full; of several, a matrix, and in full those that need a look."""
    if len(done) == 1:
        yield from boot_lines(done[0])
        return
    for item in done:
        if verbose or needs_a_look(item):
            yield from boot_lines(item)
            yield Line()
    yield from matrix_lines(done)


def needs_a_look(item: Done) -> bool:
    """True for a boot that was not accepted, or not as predicted."""
    if isinstance(item, NotBooted):
        return True
    return item.agree is False or item.judged.outcome is not Outcome.ACCEPT


def boot_lines(item: Done) -> Iterator[Line]:
    """All of one boot."""
    if isinstance(item, NotBooted):
        line = Line(hang="    ").add(f"{visible(item.image)} on {visible(item.kernel)}: ", "name")
        yield line.add("not booted: ", "error").add(visible(item.error))
        return
    judged = item.judged
    release = f"{item.kernel.path} ({item.release or 'release unknown'}, {item.kernel.machine})"
    line = Line(hang="    ").add(f"{visible(item.image)} on {visible(release)}: ", "name")
    line.add(str(judged.outcome), STYLE[judged.outcome]).add(f", {agreement(item)}")
    yield line.add(f"  {item.run.seconds:.1f} s", "dim")
    if judged.why:
        yield _row("boot", WHY[judged.why])
    for stage, said in stages(judged):
        yield _row(str(stage), said.text)
    for name, state in judged.regions.items():
        yield _row("region", f"{name}: {state}")
    if judged.test != "not-asked":
        yield _row("kho_test", str(judged.test))
    for name, found in judged.objects.items():
        yield _row("flb", f"{name}: {found}")
    for name in judged.unasked:
        yield _row("entry", f"{name}: nothing in this kernel asks for it")
    for session in judged.sessions:
        yield from _session_lines(session)
    for what, wanted, actual in item.differences:
        yield _row("differs", f"{what}: predicted {wanted}, was {actual}", "warning")


def agreement(item: Booted) -> str:
    """What was predicted, and whether it was right."""
    if item.predicted is None:
        return f"not predicted: no model of {visible(item.release or 'this kernel')}"
    if item.predicted != item.judged.outcome:
        return f"predicted {item.predicted}"
    return "as predicted" if item.agree else "as predicted, but for details"


def _row(label: str, text: str, style: str = "") -> Line:
    line = Line(lead="    ", hang=" " * 20).add(f"{label:<15} ", "label")
    return line.add(visible(text), style)


def _session_lines(session: SessionOutcome) -> Iterator[Line]:
    if session.result != "ok":
        yield _row("session", f"{session.name}: {session.result}", "error")
        return
    yield _row("session", f"{session.name}: {plural(len(session.files), 'file')}")
    for file in session.files:
        if file.result != "ok":
            yield _row("", f"{file.token:#x}  {file.result}", "error")
            continue
        text = f"{file.token:#x}  {file.size} bytes  {file.contents}  {(file.sha256 or '')[:16]}"
        yield _row("", text, "error" if file.contents == "other-data" else "")


def matrix_lines(done: Sequence[Done]) -> Iterator[Line]:
    """Images down, kernels across; a wrong prediction is marked with ``!`` and named."""
    images = list(dict.fromkeys(item.image for item in done))
    kernels = list(dict.fromkeys(_kernel_of(item) for item in done))
    cells = {(item.image, _kernel_of(item)): item for item in done}
    names = [visible(os.path.basename(kernel)) for kernel in kernels]
    first = max(width_of(visible(image)) for image in images)
    widths = [
        max(width_of(name), *(len(_cell(cells.get((image, kernel)))[0]) for image in images))
        for name, kernel in zip(names, kernels, strict=True)
    ]
    top = Line().add(" " * first)
    for name, width in zip(names, widths, strict=True):
        top.add(f"  {name:<{width}}", "name")
    yield top
    for image in images:
        line = Line().add(visible(image) + " " * (first - width_of(visible(image))))
        for kernel, width in zip(kernels, widths, strict=True):
            text, style = _cell(cells.get((image, kernel)))
            line.add(f"  {text:<{width}}", style)
        yield line
    yield _summary(done)


def _kernel_of(item: Done) -> str:
    return item.kernel if isinstance(item, NotBooted) else item.kernel.path


def _cell(item: Done | None) -> tuple[str, str]:
    if item is None:
        return "", ""
    if isinstance(item, NotBooted):
        return "not booted", "error"
    text = str(item.judged.outcome)
    if item.predicted is not None and item.predicted != text:
        text += f" !{item.predicted}"
    elif item.agree is False:
        text += " !"
    return text, STYLE[item.judged.outcome]


def _summary(done: Sequence[Done]) -> Line:
    booted = [item for item in done if isinstance(item, Booted)]
    accepted = sum(item.judged.outcome is Outcome.ACCEPT for item in booted)
    wrong = sum(item.agree is False for item in booted)
    text = f"{plural(len(booted), 'boot')}: {accepted} accepted"
    text += f", {wrong} not as predicted" if wrong else ", all as predicted"
    missing = len(done) - len(booted)
    return Line().add(text + (f"; {missing} not booted" if missing else ""), "name")
