"""The rows of one image: decoded, checked, judged."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, TypeVar

from khotool.absent import Absent
from khotool.errors import InputError, KhotoolError
from khotool.fleet.inputs import Item
from khotool.fleet.spool import local_copy
from khotool.fleet.tables import Row, Rows
from khotool.fleet.tars import BLOCK
from khotool.version import version

if TYPE_CHECKING:
    from khotool.findings import Finding
    from khotool.fleet.settings import Settings
    from khotool.model.image import Image
    from khotool.view.entries import Entry
    from khotool.view.image import ImageView
    from khotool.view.luo import File, Luo

T = TypeVar("T")


def examine(item: Item, settings: Settings, known: str | None = None) -> Rows | None:
    """Rows of one image; of one that cannot be read, a row with its error.

    Args:
        known: its digest in an earlier scan with the same settings.

    Returns:
        None where the image has this digest.
    """
    begin = time.monotonic()
    digest: str | None = None
    try:
        with local_copy(item) as path:
            digest, size = digest_of(path)
            if digest == known:
                return None
            rows = rows_of(path, item, settings)
            rows["images"][0] |= {"digest": digest, "bytes": size}
    except MemoryError:
        text = "more memory is needed than --limit memory=N allows"
        rows = failed(item, "memory", text, settings, digest)
    except KhotoolError as error:
        text = str(error).removeprefix(f"{item.path}: ")
        rows = failed(item, "unreadable", text, settings, digest)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"[:500]
        rows = failed(item, "internal", text, settings, digest)
    rows["images"][0]["seconds"] = round(time.monotonic() - begin, 6)
    return rows


def failed(
    item: Item,
    kind: str,
    error: str,
    settings: Settings,
    digest: str | None = None,
    seconds: float = 0.0,
) -> Rows:
    """Rows of an image that could not be examined: one, with the error."""
    row = {"digest": digest, "error_kind": kind, "error": error, "seconds": round(seconds, 6)}
    return {"images": [common(item, settings.scan) | row]}


def common(item: Item, scan: str) -> Row:
    """What is known of an image before it is read."""
    return {
        "image": item.name,
        "bytes": item.size,
        "taken": item.taken,
        "scanned": time.time_ns() // 1_000_000,
        "khotool": version(),
        "settings": scan,
        "labels": dict(item.labels),
    }


def digest_of(path: str) -> tuple[str, int]:
    """SHA-256 of a file, or of all files of a folder with their names, and their bytes.

    Raises:
        InputError: it cannot be read, or is not a regular file.
    """
    found = hashlib.sha256()
    total = 0
    for name in _files(path):
        if name != path:
            found.update(os.path.relpath(name, path).encode("utf-8", "surrogateescape") + b"\0")
        if not os.path.isfile(name):
            raise InputError(f"{name}: not a regular file")
        try:
            with open(name, "rb") as file:
                while data := file.read(BLOCK):
                    found.update(data)
                    total += len(data)
        except OSError as error:
            raise InputError(f"{name}: cannot be read: {error.strerror}") from None
    return found.hexdigest(), total


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    return sorted(os.path.join(folder, n) for folder, _, names in os.walk(path) for n in names)


# -- what is in it -----------------------------------------------------------------------


def rows_of(path: str, item: Item, settings: Settings) -> Rows:
    """Rows of an image that can be read.

    Raises:
        KhotoolError: it cannot.
    """
    from khotool.check.run import check_image
    from khotool.limits import OpenOptions
    from khotool.opening.load import load_image
    from khotool.view.image import ImageView

    image = load_image(path, OpenOptions(formats=list(settings.formats)))
    findings = check_image(image)
    rows: Rows = {"findings": [_finding(one) for one in findings]}
    rows["owners"], by_owner = _owners(image)
    view = ImageView(image)
    rows["sessions"], rows["files"] = _sessions(view, by_owner)
    rows["entries"] = [_entry(entry) for entry in view.entries]
    rows["verdicts"] = [_verdict(image, kernel) for kernel in settings.kernels]
    rows["images"] = [common(item, settings.scan) | _image(image, view.luo, findings, rows)]
    return rows


def _finding(finding: Finding) -> Row:
    from khotool.check.catalogue import rules

    rule = rules()[finding.rule]
    return {
        "rule": rule.id,
        "slug": rule.slug,
        "severity": str(rule.severity),
        "path": finding.path,
        "address": None if finding.address is None else f"{finding.address:#x}",
        "evidence": finding.message,
    }


def _image(image: Image, luo: Luo, findings: list[Finding], rows: Rows) -> Row:
    from khotool.check.catalogue import severity
    from khotool.findings import Severity

    root = image.root
    counts = dict.fromkeys(Severity, 0)
    for finding in findings:
        counts[severity(finding.rule)] += 1
    owned = image.ownership()
    has_luo = bool(luo)
    return {
        "release": image.info.osrelease,
        "machine": image.info.machine,
        "page_size": image.geometry.page_size,
        "compatible": root.compatible if root is not None else None,
        "phase": str(image.phase),
        "preserved_pages": None if owned is None else owned.preserved_pages,
        "owned_pages": None if owned is None else owned.owned_pages,
        "unowned_pages": None if owned is None else owned.unowned_pages,
        "unpreserved_pages": None if owned is None else owned.unpreserved_pages,
        "double_owned_pages": None if owned is None else owned.double_owned_pages,
        "sessions": len(rows["sessions"]) if has_luo else None,
        "files": len(rows["files"]) if has_luo else None,
        "errors": counts[Severity.ERROR],
        "warnings": counts[Severity.WARNING],
        "notes": counts[Severity.NOTE],
    }


def _owners(image: Image) -> tuple[list[Row], dict[str, tuple[int, dict[str, int]]]]:
    """Rows of owners, and by path of the owner: its bytes, and its blocks by page order."""
    import numpy as np

    owned = image.ownership()
    if owned is None:
        return [], {}
    ranges = owned.ranges
    page = image.geometry.page_size
    # One number for each pair of owner and order: a fleet has images with millions of ranges.
    pairs = (ranges.owner.astype(np.int64) + 1) << 8 | ranges.order
    keys, index = np.unique(pairs, return_inverse=True)
    pages = np.zeros(len(keys), np.int64)
    np.add.at(pages, index, ranges.pages)
    by_owner: dict[str, tuple[int, dict[str, int]]] = {}
    rows: dict[int, int] = {}
    for key, count in zip(keys.tolist(), pages.tolist(), strict=True):
        number, order = (key >> 8) - 1, key & 0xFF
        rows[number] = rows.get(number, 0) + count * page
        if number >= 0:
            path = owned.owners[number]
            size, orders = by_owner.get(path, (0, {}))
            orders[str(order)] = count >> order
            by_owner[path] = (size + count * page, orders)
    return [
        {"owner": None if number < 0 else owned.owners[number], "bytes": size}
        for number, size in rows.items()
    ], by_owner


def _sessions(
    view: ImageView, by_owner: dict[str, tuple[int, dict[str, int]]]
) -> tuple[list[Row], list[Row]]:
    """Rows of sessions and of their files."""
    sessions, files = [], []
    for session in view.luo.sessions:
        name = _known(session.name)
        mine = [_file(file, name, by_owner.get(file.path, (0, {}))) for file in session.files]
        files += mine
        sessions.append({"name": name, "files": len(mine), "bytes": sum(f["bytes"] for f in mine)})
    return sessions, files


def _file(file: File, session: str | None, owned: tuple[int, dict[str, int]]) -> Row:
    token = _known(file.token)
    definition = file.definition
    return {
        "session": session,
        "token": None if token is None else f"{token:#x}",
        "handler": _known(file.handler),
        "format": None if definition is None else definition.id,
        "bytes": owned[0],
        "folios": None if file.folios is None else len(file.folios),
        "orders": owned[1],
    }


def _known(value: T | Absent | None) -> T | None:
    """A value, or None where the image does not have it: null in a table."""
    return None if isinstance(value, Absent) else value


def _entry(entry: Entry) -> Row:
    address = _known(entry.address)
    return {
        "name": entry.name,
        "address": None if address is None else f"{address:#x}",
        "size": _known(entry.size),
        "format": entry.format or None,
    }


def _verdict(image: Image, kernel: str) -> Row:
    from khotool.check.kernels import judge

    verdict = judge(image, kernel)
    worst = next((s for s in verdict.steps if s.outcome is verdict.outcome), None)
    accepted = str(verdict.outcome) == "accept"
    return {
        "kernel": kernel,
        "outcome": str(verdict.outcome),
        "stage": None if accepted or worst is None else worst.stage,
        "reason": None if accepted or worst is None else (worst.console or (worst.why,))[0],
    }
