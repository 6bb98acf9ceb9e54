"""A comparison as lines, as Markdown and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from khotool.diff.changes import (
    Change,
    ChangeKind,
    Comparison,
    NotCompared,
    Result,
    Side,
    Why,
)
from khotool.diff.pages import MAP
from khotool.document.dump import Document, head
from khotool.model.image import Image
from khotool.model.path import split_keys
from khotool.render.lines import Line
from khotool.render.markdown import cell, table
from khotool.render.text import plural, visible
from khotool.view.luo import Luo
from khotool.view.notation import size_text

SIGNS = {
    ChangeKind.ADDED: ("+", "good"),
    ChangeKind.REMOVED: ("-", "error"),
    ChangeKind.CHANGED: ("~", "warning"),
    ChangeKind.MOVED: (">", "name"),
}
ALIKE = 3
"""Equal changes of one field from which on they become one line."""
MOST_LINES = 200
"""Changes that text lists; JSON has them all."""
OWNERS = 20
NOTES = 10
WHY = {Why.NOT_CAPTURED: "not captured", Why.UNKNOWN_FORMAT: "its format is not known"}


def diff_document(old: Image, new: Image, result: Comparison, *, ranges: bool) -> Document:
    """``khotool.diff/1``.

    Args:
        ranges: with the preserved ranges of one image only.
    """
    document = head("diff") | {
        "equal": result.equal,
        "result": str(result.result),
        "changes": [change_json(change, name_of(change, old, new)) for change in result.changes],
        "pages": {"added": result.pages_added, "removed": result.pages_removed},
    }
    before, after = result.totals
    document["preserved_pages"] = {"old": before, "new": after}
    document["owners"] = [
        {"path": owner.path, "old": owner.old, "new": owner.new} for owner in result.owners
    ]
    if ranges:
        document["ranges"] = {
            name: [{"start": hex(start), "size": size} for start, size in part]
            for name, part in (("added", result.added), ("removed", result.removed))
        }
    document["not_compared"] = [gap_json(gap) for gap in result.not_compared]
    document["notes"] = list(note_texts(result))
    return document


def gap_json(gap: NotCompared) -> dict[str, Any]:
    """One part that was not compared."""
    row: dict[str, Any] = {"path": gap.path, "reason": str(gap.why), "image": str(gap.side)}
    if gap.contents:
        row["contents"] = True
    return row | ({"size": gap.size} if gap.size else {})


def note_texts(result: Comparison) -> Iterator[str]:
    """Notes of a comparison: what was not compared, and why."""
    old, new = result.phases
    if old is not new:
        yield f"the first image is {old}, the second {new}"
    for gap in result.not_compared:
        yield gap_text(gap)
    if result.more_ranges:
        yield f"only the first {max(len(result.added), len(result.removed))} ranges are listed"


def gap_text(gap: NotCompared) -> str:
    """A part that was not compared, in one sentence; untrusted text."""
    where = "both images" if gap.side is Side.BOTH else f"the {gap.side} image"
    what = "contents" if gap.contents else "preserved pages" if gap.path == MAP else ""
    size = f", {size_text(gap.size)}" if gap.size else ""
    if gap.why is Why.OTHER_HANDLER:
        return f"{gap.path}: not compared, the handlers differ"
    if gap.why is Why.LIMIT and gap.path == "/":
        return (
            f"a limit stopped decoding of {where}: what only one of the images has is not reported"
        )
    reason = WHY.get(gap.why, str(gap.why))
    return f"{gap.path}: {what + ' ' if what else ''}not compared, {reason} in {where}{size}"


def change_json(change: Change, name: str) -> dict[str, Any]:
    """One change of the contract.

    Args:
        name: what a program calls the file or session that it is in; empty for none.
    """
    row = {"kind": str(change.kind), "path": change.path, "old": change.old, "new": change.new}
    return row | ({"named": name} if name else {}) | change.detail


def diff_lines(old: Image, new: Image, result: Comparison, page_size: int) -> Iterator[Line]:
    """The text: changes, owners, ranges, notes, and a summary line."""
    for sign, style, image in (("---", "error", old), ("+++", "good", new)):
        line = Line(hang="    ").add(f"{sign} ", style).add(visible(image.info.path), "name")
        facts = [visible(image.info.osrelease)] if image.info.osrelease else []
        root = image.root
        facts += [visible(root.compatible)] if root is not None and root.compatible else []
        yield line.add(f"  {', '.join([*facts, str(image.phase)])}", "dim")
    groups = list(grouped(result.changes))
    for group in groups[:MOST_LINES]:
        yield _change_line(group, name_of(group[0], old, new) if len(group) == 1 else "")
    if len(groups) > MOST_LINES:
        left = sum(len(group) for group in groups[MOST_LINES:])
        yield Line().add(f"... {left} more changes: --stat counts them, --json lists them", "dim")
    yield from _owner_lines(result, page_size)
    yield from _range_lines(result, page_size)
    notes = note_texts(result)
    for text in islice(notes, NOTES):
        yield Line(hang="  ").add("note: ", "note").add(visible(text), "note")
    left = sum(1 for _ in notes)
    if left:
        yield Line().add(f"... {left} more notes; --json has them", "note")
    yield Line().add(summary(result), "good" if result.equal else "name")


def _range_lines(result: Comparison, page_size: int) -> Iterator[Line]:
    """Ranges of memory that only one of the images preserves."""
    for sign, style, part in (("-", "error", result.removed), ("+", "good", result.added)):
        for start, size in part[:MOST_LINES]:
            line = Line().add(f"{sign} ", style).add(f"{start:#x}-{start + size - 1:#x}", "address")
            yield line.add(f"  {plural(size // page_size, 'page')} preserved", "dim")
        if len(part) > MOST_LINES:
            yield Line().add(f"... {len(part) - MOST_LINES} more ranges", "dim")


def _owner_lines(result: Comparison, page_size: int) -> Iterator[Line]:
    old, new = result.totals
    if not result.owners or old is None or new is None:
        return
    yield (
        Line(hang="  ")
        .add("preserved ", "label")
        .add(
            f"{old} -> {plural(new, 'page')} ({size_text(old * page_size)} -> "
            f"{size_text(new * page_size)})"
        )
    )
    ordered = sorted(result.owners, key=lambda owner: -abs(owner.new - owner.old))
    for owner in ordered[:OWNERS]:
        path = visible(owner.path) if owner.path is not None else "without an owner"
        line = Line(hang="    ").add(f"  {owner.new - owner.old:+d}  ", "number").add(path, "entry")
        yield line.add(f"  {owner.old} -> {owner.new}", "dim")
    if len(ordered) > OWNERS:
        yield Line().add(f"  ... {len(ordered) - OWNERS} more owners", "dim")


def name_of(change: Change, old: Image, new: Image) -> str:
    """What a program calls the file or session that a change is in; untrusted text."""
    return Luo(new if change.kind is ChangeKind.ADDED else old).name_of(change.path)


def _change_line(group: list[Change], name: str) -> Line:
    change = group[0]
    sign, style = SIGNS[change.kind]
    line = Line(hang="    ").add(f"{sign} ", style)
    line.add(visible(change.path if len(group) == 1 else _stars(group)), "entry")
    if name:
        line.add(f" ({visible(name)})", "note")
    old, new = (visible(text) for text in change.text)
    if change.kind in (ChangeKind.ADDED, ChangeKind.REMOVED):
        if old or new:
            line.add(f"  {old or new}")
    elif old:
        line.add(f"  {old}").add(" -> ", "dim").add(new)
    elif new:
        line.add(f"  {new}")
    return line.add(f"  ({len(group)} times)", "dim") if len(group) > 1 else line


def grouped(changes: list[Change]) -> Iterator[list[Change]]:
    """Changes with equal ones of the same field put together, at the place of the first."""
    kinds = Counter(_alike(change) for change in changes)
    groups: dict[tuple[object, ...], list[Change]] = {}
    order: list[list[Change]] = []
    for change in changes:
        key = _alike(change)
        if kinds[key] < ALIKE or not any(change.text):
            order.append([change])
        elif key in groups:
            groups[key].append(change)
        else:
            groups[key] = [change]
            order.append(groups[key])
    yield from order


def _alike(change: Change) -> tuple[object, ...]:
    return change.kind, "[*]".join(split_keys(change.path)[::2]), change.text


def _stars(group: list[Change]) -> str:
    """The path with a star for keys that are not the same in all."""
    parts = [split_keys(change.path) for change in group]
    return "".join(
        names[0] if len(set(names)) == 1 else "[*]" for names in zip(*parts, strict=False)
    )


def summary(result: Comparison) -> str:
    """One line: how many changes of which kind; else whether all was compared."""
    gaps = len(result.not_compared)
    if result.result is Result.EQUAL:
        return "equal"
    if result.result is Result.INCOMPLETE:
        return f"equal in what both captured; {gaps} not compared"
    counts = Counter(change.kind for change in result.changes)
    parts = [f"{counts[kind]} {kind}" for kind in ChangeKind if counts[kind]]
    if result.pages_added or result.pages_removed:
        parts.append(f"pages +{result.pages_added} -{result.pages_removed}")
    text = ", ".join(parts) or "preserved ranges differ"
    return f"{text}; {gaps} not compared" if gaps else text


def stat_lines(result: Comparison) -> Iterator[Line]:
    """How many changes of which kind, for each part of the handover."""
    counts: dict[str, Counter[str]] = {}
    for change in result.changes:
        counts.setdefault(part_of(change.path), Counter())[change.kind] += 1
    width = max((len(visible(part)) for part in counts), default=0)
    for part, kinds in counts.items():
        line = Line().add(visible(part).ljust(width), "entry")
        for kind in ChangeKind:
            if kinds[kind]:
                sign, style = SIGNS[kind]
                line.add("  ").add(f"{sign}{kinds[kind]}", style)
        yield line
    yield Line().add(summary(result), "name")


def part_of(path: str) -> str:
    """The session, region, FLB or entry that a path is in."""
    names, *rest = split_keys(path)
    # Keys are one level down, as of FLBs, or two, as of sessions.
    return names + rest[0] if rest and names.count("/") <= 2 else f"/{names.split('/')[1]}"


def diff_markdown(old: Image, new: Image, result: Comparison) -> str:
    """For a report or a review."""
    lines = [f"# {cell(old.info.path)} → {cell(new.info.path)}", "", summary(result), ""]
    changes = [(change.kind, change.path, *change.text) for change in result.changes]
    owners = [(owner.path or "none", str(owner.old), str(owner.new)) for owner in result.owners]
    ranges = [
        (word, f"{start:#x}", str(size))
        for word, part in (("removed", result.removed), ("added", result.added))
        for start, size in part
    ]
    tables: tuple[tuple[Sequence[str], Sequence[Sequence[str]]], ...] = (
        (("", "path", "old", "new"), changes),
        (("owner", "old pages", "new pages"), owners),
        (("range", "start", "bytes"), ranges),
    )
    for heads, rows in tables:
        if rows:
            lines += [*table(heads, rows), ""]
    lines += [f"- {cell(text)}" for text in note_texts(result)]
    return "\n".join(lines).rstrip("\n") + "\n"
