"""What a screen shows while there is no image."""

from __future__ import annotations

from khotool.tui.shell import Shell
from khotool.tui.text import Line, visible


def state_lines(shell: Shell) -> list[Line]:
    """Why there is no image, and what to do."""
    if shell.error:
        return [*_failed(shell.error, details=bool(shell.details)), *_probed(shell)]
    if "open" in shell.jobs:
        *done, now = shell.stages.values() or ["Probing the container"]
        return [
            [
                ("Opening ", "text"),
                (visible(shell.title_text), "title"),
                ("    escape", "title"),
                ("  cancel", "dim"),
            ],
            [],
            *([("✓ ", "added"), (text, "dim")] for text in done),
            [("… ", "accent"), (visible(now), "accent")],
            [],
            *shell.sketch,
        ]
    return [
        [("No image is open", "title")],
        [],
        [("o", "title"), ("  open an image: an ELF core, a kdump, a raw or LiME file,", "dim")],
        [("   a copy of /sys/kernel/debug/kho, or a bare device tree blob", "dim")],
        [("?", "title"), ("  keys", "dim")],
        [("q", "title"), ("  quit", "dim")],
    ]


def _failed(error: str, *, details: bool) -> list[Line]:
    lines: list[Line] = [[("This image could not be opened", "error")], []]
    for part in error.splitlines():
        lines += [[(visible(piece), "text")] for piece in part.split("; ")]
    lines += [[], [("o", "title"), ("  open a different image", "dim")]]
    lines.append([("r", "title"), ("  try again", "dim")])
    if details:
        lines.append([("y", "title"), ("  copy the details of the error", "dim")])
    help_ = "  give root, page size, base or byte order, where the file does not record it"
    lines.append([("O", "title"), (help_, "dim")])
    return lines


def _probed(shell: Shell) -> list[Line]:
    """What the file is as each container, and why it is not."""
    if not shell.probed:
        return []
    lines: list[Line] = [[], [("Read as", "title")]]
    for container, opens, text in shell.probed:
        glyph: tuple[str, str] = ("✓ ", "added") if opens else ("✗ ", "dim")
        lines.append([glyph, (f"{container:<8}", "name"), (visible(text), "text")])
    return lines
