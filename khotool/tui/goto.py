"""Where to go: an address, a page, a path or a rule, as a user types it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from khotool.findings import Finding
from khotool.memory.space import ADDRESS_LIMIT
from khotool.model.image import Image, Node, Span
from khotool.tui.find import parse_number
from khotool.tui.place import Place, nearest, resolve
from khotool.tui.text import visible

MAX_PATHS = 200_000
"""Nodes whose paths are searched."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place to go.

    Args:
        kind: ``address``, ``PFN``, ``relative``, ``select``, ``path``, ``row`` or ``rule``.
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

    def search(self, text: str, limit: int) -> list[Node]:
        """Nodes whose path has the characters of ``text`` in order; the closest first."""
        wanted = text.casefold()
        if not wanted:
            return []
        literal = [
            (self._rank(path, wanted), number)
            for number, path in enumerate(self.paths)
            if wanted in path
        ]
        found = sorted(literal)[:limit]
        if not found:
            fuzzy = re.compile(".*?".join(map(re.escape, wanted[:64])))
            scored = []
            for number, path in enumerate(self.paths):
                match = fuzzy.search(path)
                if match is not None:
                    scored.append(((match.end() - match.start(), len(path)), number))
            found = sorted(scored)[:limit]
        return [self.nodes[number] for _, number in found]

    @staticmethod
    def _rank(path: str, wanted: str) -> tuple[int, int]:
        behind = len(path) - path.rfind(wanted) - len(wanted)
        return behind, len(path)


def candidates(
    image: Image,
    text: str,
    *,
    here: int | None = None,
    findings: Sequence[Finding] = (),
    paths: PathList | None = None,
    limit: int = 50,
) -> list[Candidate]:
    """Everything that what a user typed can mean, the likeliest first.

    Args:
        here: physical address that ``+n`` and ``-n`` count from.
    """
    text = text.strip()
    if not text:
        return []
    found: list[Candidate] = []
    found.extend(_rules(image, text, findings))
    found.extend(_addresses(image, text, here))
    if text.startswith("/"):
        place = resolve(image.tree, text)
        if place is not None:
            found.append(Candidate("path", visible(place.path), place))
    found.extend(_rows(image, text, paths))
    if paths is not None:
        seen = {candidate.place for candidate in found}
        for node in paths.search(text, limit):
            place = Place(node)
            if place not in seen:
                found.append(Candidate("path", visible(place.path), place))
    return found[:limit]


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
    found: list[Candidate] = []

    def add(kind: str, address: int, shown: str, size: int = 1) -> None:
        if 0 <= address < ADDRESS_LIMIT and address + size <= ADDRESS_LIMIT:
            found.append(Candidate(kind, shown, None, Span(address, max(size, 1))))

    if text[0] in "+-":
        number = parse_number(text[1:])
        if number is not None and here is not None:
            target = here + (number if text[0] == "+" else -number)
            add("relative", target, f"{target:#x}  {text[0]}{number:#x} from {here:#x}")
        return found
    if text[0] == "#":
        frame = parse_number(text[1:])
        if frame is None and re.fullmatch(r"(?i)[0-9a-f]+", text[1:]):
            frame = int(text[1:], 16)
        if frame is not None and frame >= 0:
            add("PFN", frame << shift, f"{frame << shift:#x}  page {frame:#x}")
        return found
    base, plus, length = text.partition("+")
    address, size = parse_number(base), parse_number(length)
    if plus:
        if address is not None and size is not None and size > 0:
            add("select", address, f"{address:#x}  {size:#x} bytes", size)
        return found
    if address is not None and address >= 0:
        add("address", address, f"{address:#x}  address")
        if address < ADDRESS_LIMIT >> shift and address:
            add("PFN", address << shift, f"{address << shift:#x}  page {address:#x}")
    elif re.fullmatch(r"(?i)[0-9a-f]{4,16}", text):
        add("address", int(text, 16), f"{int(text, 16):#x}  address")
    return found


def _rows(image: Image, text: str, paths: PathList | None) -> list[Candidate]:
    """Rows of a table: ``folios[12`` means row 12, 120, 121 and so on."""
    found = re.fullmatch(r"(.*)\[(0x[0-9a-fA-F]+|\d+)\]?(?:/(\w*))?", text)
    if found is None or paths is None:
        return []
    nodes = [n for n in paths.search(found[1], 20) if n.table is not None and len(n.table)]
    rows: list[Candidate] = []
    number = int(found[2], 0 if found[2].startswith("0x") else 10)
    for node in nodes[:5]:
        assert node.table is not None
        wanted = [number] if text.rstrip().endswith("]") or found[3] else _prefixed(number)
        for row in wanted:
            if row < len(node.table):
                place = Place(node, row)
                rows.append(Candidate("row", visible(place.path), place))
    return rows


def _prefixed(number: int) -> list[int]:
    more = range(number * 10, number * 10 + 4) if number else ()
    return [number, *more]
