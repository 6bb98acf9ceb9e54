"""Where to go: an address, a page, a path or a rule, as a user types it."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Sequence

from khotool.findings import Finding
from khotool.memory.space import ADDRESS_LIMIT, Elsewhere
from khotool.model.image import Image, Node, Span
from khotool.records import dataclass
from khotool.tui.find import Stop, parse_number
from khotool.tui.place import Place, nearest, resolve
from khotool.tui.text import visible

MAX_PATHS = 200_000
"""Nodes whose paths are searched."""
MAX_QUERY = 64
"""Characters of a text that are looked for one by one."""
NOT_MEMORY = {
    Elsewhere.HEADER: "a header, a note or padding of the file, not memory",
    Elsewhere.BEYOND: "beyond the end of the file",
    Elsewhere.NO_FILE: "this memory is not in one file, and has no file offsets",
}

Rank = Callable[[str, str], tuple[int, int] | None]
"""Order of a path for a text, the least first; None where it does not fit."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place to go.

    Args:
        kind: ``address``, ``PFN``, ``file``, ``relative``, ``select``, ``path``, ``row``, ``rule``.
        text: what is shown.
        place: place of the model, or None.
        span: bytes, or None where the place has them.
    """

    kind: str
    text: str
    place: Place | None = None
    span: Span | None = None


class PathList:
    """Paths of the model in lower case, for fuzzy search."""

    def __init__(self, tree: Node) -> None:
        """Collect the paths of the first nodes."""
        self.nodes: list[Node] = []
        self.paths: list[str] = []
        known: dict[Node, str] = {}
        for node in tree.walk():
            if len(self.nodes) >= MAX_PATHS:
                break
            above = known.get(node.parent, "") if node.parent is not None else ""
            name = f"/{node.name}" if node.name else ""
            key = f"[{node.key}]" if node.key is not None else ""
            path = "" if node.parent is None else above + (name + key).casefold()
            known[node] = path
            self.nodes.append(node)
            self.paths.append(path)

    def search(self, text: str, limit: int, stop: Stop = lambda: False) -> list[Node]:
        """Nodes whose path has the characters of ``text`` in order; the closest first.

        A path that has them side by side comes before all that do not; where there is one,
        the others are left out.
        """
        wanted = text.casefold()
        if not wanted:
            return []
        found = self._best(_rank, wanted, limit, stop)
        return found or self._best(spread, wanted[:MAX_QUERY], limit, stop)

    def _best(self, rank: Rank, wanted: str, limit: int, stop: Stop) -> list[Node]:
        ranked: list[tuple[tuple[int, int], int]] = []
        for number, path in enumerate(self.paths):
            if number % 4096 == 0 and stop():
                return []
            order = rank(path, wanted)
            if order is not None:
                ranked.append((order, number))
        return [self.nodes[number] for _, number in heapq.nsmallest(limit, ranked)]

    def named(self, text: str) -> list[Node]:
        """Nodes whose path is ``text``, or ends in it after a ``/``, the shortest path first."""
        wanted = text.casefold()
        tail = wanted if wanted.startswith("/") else f"/{wanted}"
        found = [n for n, path in enumerate(self.paths) if path.endswith(tail)]
        if not wanted.startswith("/"):
            # ``vm-beta]/files[0x1]`` and ``vm-beta/files[0x1]`` mean sessions[vm-beta]/files[0x1].
            keyed = re.sub(r"^([^/\[\]]+)\]?(?=/)", r"[\1]", wanted)
            found += [n for n, path in enumerate(self.paths) if path.endswith(keyed)]
        found.sort(key=lambda number: len(self.paths[number]))
        return [self.nodes[number] for number in dict.fromkeys(found)]


def _rank(path: str, wanted: str) -> tuple[int, int] | None:
    """Order of a path that holds a text: the nearer to its end, the better."""
    at = path.rfind(wanted)
    return None if at < 0 else (len(path) - at - len(wanted), len(path))


def spread(path: str, wanted: str) -> tuple[int, int] | None:
    """Order of a path that has the characters of a text in order: the closer, the better.

    The scan goes forward to the first end of such a run, and back from there to its closest
    start, so its time is linear in the path.
    """
    at = -1
    for char in wanted:
        at = path.find(char, at + 1)
        if at < 0:
            return None
    end = at + 1
    at = end
    for char in reversed(wanted):
        at = path.rfind(char, 0, at)
    return end - at, len(path)


def candidates(
    image: Image,
    text: str,
    *,
    here: int | None = None,
    findings: Sequence[Finding] = (),
    paths: PathList | None = None,
    limit: int = 50,
    stop: Stop = lambda: False,
) -> list[Candidate]:
    """Everything that what a user typed can mean, the likeliest first.

    Args:
        here: physical address that ``+n`` and ``-n`` count from.
        stop: asked now and then whether the answer is no longer wanted.
    """
    text = text.strip()
    if not text:
        return []
    found: list[Candidate] = []
    found.extend(_rules(image, text, findings))
    found.extend(_addresses(image, text, here))
    found.extend(_paths(image, text, paths, limit, stop))
    return found[:limit]


def _paths(
    image: Image, text: str, paths: PathList | None, limit: int, stop: Stop
) -> list[Candidate]:
    """Places by path: the one that is typed, then rows, then those that look like it."""
    found: dict[Place, Candidate] = {}

    def add(kind: str, place: Place) -> None:
        found.setdefault(place, Candidate(kind, visible(place.path), place))

    exact = resolve(image.tree, text) if text.startswith("/") else None
    if exact is not None:
        add("path", exact)
    if paths is not None:
        for node in paths.named(text):
            add("path", Place(node))
        for place in _rows(text, paths, stop):
            add("row", place)
        for node in paths.search(text, limit, stop):
            add("path", Place(node))
    return list(found.values())


def _rules(image: Image, text: str, findings: Iterable[Finding]) -> list[Candidate]:
    if not re.fullmatch(r"(?i)[a-z]{3}\d{0,3}", text):
        return []
    first: dict[str, Finding] = {}
    for finding in findings:
        if finding.rule.startswith(text.upper()):
            first.setdefault(finding.rule, finding)
    return [
        Candidate(
            "rule",
            f"{rule}  {visible(finding.message)}",
            nearest(image.tree, finding.path),
            None if finding.address is None else Span(finding.address, 1),
        )
        for rule, finding in sorted(first.items())
    ]


def _addresses(image: Image, text: str, here: int | None) -> list[Candidate]:
    shift = image.geometry.page_shift
    if text[0] in "+-":
        found = _relative(text, here)
    elif text[0] == "@":
        found = [_at_offset(image, text)]
    elif text[0] == "#":
        frame = parse_number(text[1:])
        found = [_page(_hex(text[1:], 1) if frame is None else frame, shift)]
    elif "+" in text:
        found = [_selection(text)]
    else:
        found = _plain_number(text, shift)
    return [item for item in found if item is not None]


def _bytes_at(kind: str, address: int, shown: str, size: int = 1) -> Candidate | None:
    """Bytes of memory; None beyond the last physical address."""
    if address < 0 or address + size > ADDRESS_LIMIT:
        return None
    return Candidate(kind, shown, None, Span(address, size))


def _relative(text: str, here: int | None) -> list[Candidate | None]:
    number = parse_number(text[1:])
    if number is None or here is None:
        return []
    target = here + (number if text[0] == "+" else -number)
    return [_bytes_at("relative", target, f"{target:#x}  {text[0]}{number:#x} from {here:#x}")]


def _at_offset(image: Image, text: str) -> Candidate | None:
    offset = parse_number(text[1:])
    address = Elsewhere.BEYOND if offset is None else image.space.at_offset(offset)
    if offset is None or isinstance(address, Elsewhere):
        return None
    return _bytes_at("file", address, f"{address:#x}  byte {offset:#x} of the file")


def why_nothing(image: Image, text: str) -> str:
    """Why a text in the goto box leads nowhere."""
    offset = parse_number(text.strip()[1:]) if text.strip().startswith("@") else None
    where = image.space.at_offset(offset) if offset is not None else 0
    if offset is None or not isinstance(where, Elsewhere):
        return "nothing of that name or address"
    return f"file offset {offset:#x}: {NOT_MEMORY[where]}"


def _page(frame: int | None, shift: int) -> Candidate | None:
    if frame is None:
        return None
    address = frame << shift
    return _bytes_at("PFN", address, f"{address:#x}  page {frame:#x}")


def _selection(text: str) -> Candidate | None:
    base, _, length = text.partition("+")
    address, size = parse_number(base), parse_number(length)
    if address is None or size is None or size <= 0:
        return None
    return _bytes_at("select", address, f"{address:#x}  {size:#x} bytes", size)


def _plain_number(text: str, shift: int) -> list[Candidate | None]:
    """A number is an address, and a page frame, too."""
    address = parse_number(text)
    if address is None:
        address = _hex(text, 4)
        return [] if address is None else [_bytes_at("address", address, f"{address:#x}  address")]
    found = [_bytes_at("address", address, f"{address:#x}  address")]
    return [*found, _page(address, shift)] if address > 0 else found


def _hex(text: str, digits: int) -> int | None:
    """Hexadecimal digits without 0x; None for fewer than ``digits``."""
    return int(text, 16) if re.fullmatch(rf"(?i)[0-9a-f]{{{digits},16}}", text) else None


def _rows(text: str, paths: PathList, stop: Stop) -> list[Place]:
    """Rows of a table: ``folios[12`` means row 12, 120, 121 and so on."""
    found = re.fullmatch(r"(.*)\[(0x[0-9a-fA-F]+|\d+)\]?(?:/(\w*))?", text)
    if found is None:
        return []
    number = int(found[2], 0 if found[2].startswith("0x") else 10)
    complete = text.endswith("]") or found[3] is not None
    wanted = [number] if complete else _prefixed(number)
    nodes = [n for n in paths.search(found[1], 20, stop) if n.table is not None]
    return [
        Place(node, row)
        for node in nodes[:5]
        for row in wanted
        if node.table is not None and row < len(node.table)
    ]


def _prefixed(number: int) -> list[int]:
    more = range(number * 10, number * 10 + 4) if number else ()
    return [number, *more]
