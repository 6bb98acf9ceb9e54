"""The layout of a struct, written in C as in the kernel's header.

The text holds the members of a struct, or the whole struct with its kernel-doc comment. A comment
after a member, or on lines of its own above it, says what the member is. pycparser reads the C;
comments, attributes and `DECLARE_KHOSER_PTR`, which it does not take, are blanked first, so that
lines and columns stay those of the text.
"""

from __future__ import annotations

import bisect
import math
import re
from typing import TYPE_CHECKING, Any

from khotool.abi.c_types import (
    BEGIN_TYPE,
    INTEGERS,
    TYPES,
    RefusedError,
    UnknownTypeError,
    evaluate,
    integer_name,
    mentions,
    open_array,
)
from khotool.abi.definition import FieldType
from khotool.abi.geometry import PAGE_SIZES
from khotool.abi.types import parse_type
from khotool.records import dataclass, field
from khotool.structured import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT = 1 << 16
"""Characters of a layout."""
MAX_MEMBERS = 4096
PAGE_SHIFT = "PAGE_SHIFT"
PAGE_SIZE = "PAGE_SIZE"

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_UNREAD = re.compile(
    r"__attribute__\s*\(\(.*?\)\)|__(?:aligned|counted_by|counted_by_le|counted_by_be)\s*\([^()]*\)"
    r"|__packed\b|__aligned_u64\b|^[ \t]*\#[^\n]*",
    re.MULTILINE | re.DOTALL,
)
_PACKED = re.compile(r"\}\s*(?:__packed\b|__attribute__\s*\(\(\s*(?:__)?packed(?:__)?\b)")
_KHOSER_PTR = re.compile(r"DECLARE_KHOSER_PTR\s*\(\s*(\w+)\s*,[^()]*\)")
_WHOLE = re.compile(r"\s*struct\s+(\w+)\s*\{(?=.*\}\s*;?\s*$)", re.DOTALL)
_KERNEL_DOC = re.compile(r"^\s*@(\w+):[ \t]*(.*)$")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ERROR = re.compile(r"^:(\d+):(\d+): (.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the C: line and column of the text, counted from 1, and what."""

    line: int
    column: int
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """A bit-field: ``width`` in bits, or ``page_shift``, or ``rest`` of a word that has one."""

    name: str
    width: int | str
    doc: str
    line: int


@dataclass(frozen=True, slots=True)
class Member:
    """A member, or a word of bit-fields from the least significant bit up.

    Args:
        fill: an array up to the end of the page.
        line: of the member, counted from 1.
    """

    name: str
    type: FieldType
    doc: str
    line: int
    fill: bool = False
    parts: tuple[Part, ...] = ()


@dataclass(slots=True)
class Layout:
    """A layout that was read, as far as it could be.

    Args:
        packed: of a whole struct, whether it is; None for members alone.
        doc: what the kernel-doc comment says of the struct.
    """

    members: list[Member] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    packed: bool | None = None
    doc: str = ""


def parse_layout(text: str, name: str, constants: Mapping[str, int] | None = None) -> Layout:
    """Read the C of a struct; never raises.

    Args:
        name: of the struct.
        constants: values of names used as lengths and widths.
    """
    return _Reader(text, name, dict(constants or {})).read()


class _Reader:
    def __init__(self, text: str, name: str, constants: dict[str, int]) -> None:
        self.text = text
        self.name = name
        self.constants = constants
        self.layout = Layout()
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.comments = [(m.start(), m[0]) for m in _COMMENT.finditer(text)]
        self.code = self._blanked()
        self.statements: list[tuple[int, int]] = []
        self.docs: dict[int, str] = {}
        self.kernel_doc: dict[str, str] = {}
        self.unknown: list[str] = []
        self.run: list[Part] = []
        self.run_type = ""

    def read(self) -> Layout:
        """The layout, with all problems."""
        if len(self.text) > MAX_TEXT:
            self._problem(0, f"{len(self.text)} characters; a layout has at most {MAX_TEXT}")
            return self.layout
        whole = _WHOLE.match(self.code)
        begin = 0
        if whole is not None:
            begin = whole.end()
            self.layout.packed = _PACKED.search(self._without_comments()) is not None
            if whole[1] != self.name:
                self._problem(whole.start(1), f"this is struct {whole[1]}, not {self.name}")
        self._split(begin)
        self._attach(begin)
        tree = self._parse(whole is not None) if self._begin_with_types() else None
        if tree is not None:
            for declaration in tree[:MAX_MEMBERS]:
                self._declaration(declaration)
            self._close_run()
        return self.layout

    # -- text ----------------------------------------------------------------------------

    def _problem(self, offset: int, message: str) -> None:
        line, column = self._position(offset)
        self.layout.problems.append(Problem(line, column, message))

    def _position(self, offset: int) -> tuple[int, int]:
        line = bisect.bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def _offset(self, line: int, column: int) -> int:
        if line > len(self.starts):
            return len(self.text)
        line = max(line, 1)
        return min(self.starts[line - 1] + column - 1, len(self.text))

    def _without_comments(self) -> str:
        return _COMMENT.sub(_blank, self.text)

    def _blanked(self) -> str:
        code = _UNREAD.sub(_blank, self._without_comments())
        return _KHOSER_PTR.sub(_declared_pointer, code)

    def _split(self, begin: int) -> None:
        """Start and end of each declaration, up to its semicolon."""
        depth, start = 0, begin
        for match in re.finditer(r"[{};]", self.code[begin:]):
            at = begin + match.start()
            depth += {"{": 1, "}": -1}.get(match[0], 0)
            if depth < 0:
                break
            if match[0] == ";" and depth == 0:
                lead = len(self.code[start:at]) - len(self.code[start:at].lstrip())
                self.statements.append((start + lead, at))
                start = at + 1

    def _attach(self, begin: int) -> None:
        """Give each comment to its declaration."""
        ends = [end for _, end in self.statements]
        for start, text in self.comments:
            if start < begin:
                self._kernel_doc(text)
                continue
            number = bisect.bisect_left(ends, start)
            before = number - 1
            if before >= 0 and "\n" not in self.text[ends[before] : start]:
                number = before
            if number < len(self.statements):
                line = _comment_text(text)
                self.docs[number] = f"{self.docs[number]} {line}" if number in self.docs else line

    def _kernel_doc(self, text: str) -> None:
        """Members' meanings from the comment above a struct, as kernel-doc has them."""
        name = ""
        found: dict[str, list[str]] = {}
        for line in text[2:].removesuffix("*/").split("\n"):
            plain = re.sub(r"^\s*\*+", "", line).strip()
            match = _KERNEL_DOC.match(plain)
            if match is not None:
                name = match[1]
                found[name] = [match[2]]
            elif not plain:
                name = ""
            elif name:
                found[name].append(plain)
            elif plain.startswith(f"struct {self.name}"):
                self.layout.doc = plain.partition("- ")[2]
        self.kernel_doc = {name: " ".join(" ".join(lines).split()) for name, lines in found.items()}

    def _begin_with_types(self) -> bool:
        """Note what begins a declaration and is not a type; False if the text cannot be parsed."""
        readable = True
        for start, end in self.statements:
            match = re.match(r"(?:(?:const|volatile)\s+)*([A-Za-z_]\w*)", self.code[start:end])
            if match is None:
                self._problem(start, "expected a member")
                readable = False
            elif match[1] not in TYPES and match[1] not in BEGIN_TYPE:
                self.unknown.append(match[1])
                hint = suggestion(match[1], [name for name in TYPES if name[0] != "_"], near=True)
                self._problem(start + match.start(1), f"unknown type {match[1]!r:.60}{hint}")
        return readable

    def _parse(self, whole: bool) -> list[Any] | None:
        from pycparser import c_parser

        prelude = "".join(f"typedef unsigned long {name};" for name in (*TYPES, *self.unknown))
        code = self.code if whole else f"struct {self.name} {{\n{self.code}\n}};"
        try:
            tree = c_parser.CParser().parse(
                f"{prelude}\n{code}\n;" if whole else f"{prelude}{code}"
            )
        except RecursionError:
            self._problem(0, "nested too deeply")
            return None
        except (c_parser.ParseError, AssertionError, ValueError) as error:
            match = _ERROR.match(str(error))
            offset = self._offset(int(match[1]) - 1, int(match[2])) if match else 0
            text = match[3] if match else str(error) or "cannot be read"
            before = text.startswith("before: ")
            shown = f"unexpected {text[8:]!r:.60}" if before else text[:80]
            self._problem(offset, f"not C: {shown}")
            return None
        for item in tree.ext:
            kind: Any = getattr(item, "type", None)
            if type(kind).__name__ == "Struct" and kind.name == self.name:
                return list(kind.decls or [])
        self._problem(0, f"struct {self.name} is not in this text")
        return None

    # -- declarations --------------------------------------------------------------------

    def _declaration(self, node: Any) -> None:
        width: Any = getattr(node, "bitsize", None)
        # An unnamed bit-field has no place of its own.
        coord = node.coord or node.type.coord or width.coord
        offset = self._offset(coord.line - 1, coord.column)
        number = bisect.bisect_right([start for start, _ in self.statements], offset) - 1
        line = self._position(offset)[0]
        name = node.name or ""
        doc = self.docs.get(number) or self.kernel_doc.get(name, "")
        try:
            if name and not _NAME.fullmatch(name):
                raise RefusedError("not a name for a member")
            if width is not None:
                self._bit_field(name, integer_name(node.type), width, doc, line)
                return
            self._close_run()
            if not name:
                raise RefusedError(
                    "a member without a name; write its members, or one that covers it"
                )
            text, fill = self._type_text(node.type)
            self.layout.members.append(Member(name, parse_type(text), doc, line, fill))
        except UnknownTypeError:
            # Noted already; the member stays, for what is said of it elsewhere.
            self.layout.members.append(Member(name, parse_type("u8"), doc, line))
        except (RefusedError, ValueError, RecursionError) as error:
            self.layout.members.append(Member(name, parse_type("u8"), doc, line))
            self._problem(offset, f"{f'{name}: ' if name else ''}{error or 'nested too deeply'}")

    def _type_text(self, node: Any) -> tuple[str, bool]:
        """A type as a definition writes it, and whether it is an array that fills its page."""
        lengths = []
        while type(node).__name__ == "ArrayDecl":
            lengths.append(node.dim)
            node = node.type
        base = integer_name(node)
        if not lengths:
            return ("u8" if base == "char" else base), False
        if any(length is not None and mentions(length, PAGE_SIZE) for length in lengths):
            if len(lengths) > 1:
                raise RefusedError("an array that fills the page has one dimension")
            return base, True
        if lengths[0] is None:
            return open_array(base, len(lengths)), False
        sizes = [evaluate(length, self.constants) for length in lengths]
        if base == "char" and len(sizes) > 1:
            raise RefusedError("an array of strings; make a struct of the string")
        count = math.prod(sizes)
        if count < 1:
            raise RefusedError("an array has at least one element")
        return f"{'bytes' if base == 'u8' else base}[{count}]", False

    def _bit_field(self, name: str, base: str, width: Any, doc: str, line: int) -> None:
        if base not in INTEGERS or not base.startswith("u"):
            raise RefusedError("a bit-field has an unsigned integer type")
        bits = int(base[1:])
        if base != self.run_type:
            self._close_run()
        if mentions(width, PAGE_SHIFT):
            value: int | str = self._page_width(width, bits)
        else:
            value = evaluate(width, self.constants)
            if not 0 <= value <= bits:
                raise RefusedError(f"a bit-field of {base} has at most {bits} bits")
            if not value or max(self._used(size) for size in PAGE_SIZES) + value > bits:
                self._close_run()
            if not value:
                return
        self.run_type = base
        name = name or f"unused_{self._used(PAGE_SIZES[0])}"
        self.run.append(Part(name, value, doc, line))

    def _page_width(self, width: Any, bits: int) -> str:
        if type(width).__name__ == "ID":
            return "page_shift"
        for size in PAGE_SIZES:
            shift = {PAGE_SHIFT: size.bit_length() - 1}
            if self._used(size) + evaluate(width, self.constants | shift) != bits:
                raise RefusedError("a width with PAGE_SHIFT is PAGE_SHIFT, or all that it leaves")
        return "rest"

    def _used(self, page_size: int) -> int:
        """Bits of the current word that have a field."""
        shift = page_size.bit_length() - 1
        return sum(shift if isinstance(p.width, str) else p.width for p in self.run)

    def _close_run(self) -> None:
        if self.run:
            parts = tuple(self.run)
            name = ":".join(part.name for part in parts)
            kind = parse_type(self.run_type)
            self.layout.members.append(Member(name, kind, "", parts[0].line, parts=parts))
        self.run, self.run_type = [], ""


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _declared_pointer(match: re.Match[str]) -> str:
    """`DECLARE_KHOSER_PTR` is a union of a pointer and an address; both take 8 bytes."""
    text = f"u64 {match[1]}"
    lines = match[0].count("\n")
    return text + "\n" * lines if lines else text.ljust(len(match[0]))


def _comment_text(text: str) -> str:
    """A comment without its marks, on one line."""
    inner = text[2:] if text.startswith("//") else text[2:].removesuffix("*/")
    lines = (re.sub(r"^\s*\*+(?=\s|$)", "", line) for line in inner.split("\n"))
    return " ".join(" ".join(lines).split())
