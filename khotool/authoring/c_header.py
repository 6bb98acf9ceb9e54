"""Structs of a C header as structs of a definition, their text kept as it is."""

from __future__ import annotations

import re
import textwrap

from khotool.abi.c_layout import Layout, parse_layout
from khotool.abi.c_types import TYPES, constant
from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import Field, Kind, Struct
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.authoring.draft_layout import guess
from khotool.errors import InputError
from khotool.records import dataclass, field

MAX_HEADER = 4 << 20
"""Bytes of a header."""
MAX_STRUCTS = 256
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+((?:\\\n|[^\n])+)", re.MULTILINE)
_NUMBER = re.compile(r"\(?\s*(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})[uUlL]*\s*\)?")
_PACKED = re.compile(r"\s*(?:__packed\b|__attribute__\s*\(\(\s*(?:__)?packed)")


@dataclass(frozen=True, slots=True)
class HeaderStruct:
    """A struct of a header.

    Args:
        layout: its members as the header has them.
        size: bytes, or ``page``.
        roles: guesses, by name of the member.
    """

    name: str
    layout: str
    size: int | str
    packed: bool
    doc: str
    roles: dict[str, str]


@dataclass(slots=True)
class HeaderDrafter:
    """Takes structs out of a header, those that they embed with them.

    Args:
        text: of the header.
        source: its name, for errors.
        registry: definitions whose structures may be embedded.
    """

    text: str
    source: str
    registry: Registry
    done: dict[str, HeaderStruct] = field(default_factory=dict)
    uses: dict[str, str] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    _compiled: dict[str, CompiledStruct] = field(default_factory=dict)
    _busy: list[str] = field(default_factory=list)

    def draft(self, name: str) -> HeaderStruct:
        """The struct of a name; `done` gets those that it embeds, `uses` those already defined.

        Raises:
            InputError: not in the header, or nothing that a definition can say.
        """
        self._compile(name, wanted=True)
        return self.done[name]

    def _compile(self, name: str, *, wanted: bool = False) -> CompiledStruct:
        if name in self._compiled:
            return self._compiled[name]
        if name in self._busy or len(self.done) >= MAX_STRUCTS:
            raise InputError(f"{self.source}: struct {name} embeds itself, or far too many others")
        found = self._find(name)
        if found is None or not wanted:
            owner = self._defined(name)
            if owner is not None:
                self.uses[name] = owner
                definition = self.registry.get(owner)
                return self.registry.compile(definition, name, Geometry())
        if found is None:
            raise InputError(f"{self.source}: no struct {name} in this header or in a definition")
        self._busy.append(name)
        made = self._compiled[name] = self._made(name, *found)
        self._busy.pop()
        return made

    def _defined(self, name: str) -> str | None:
        for definition in self.registry:
            if definition.kind is Kind.STRUCTURE and name in definition.structs:
                return definition.id
        return None

    def _find(self, name: str) -> tuple[int, int] | None:
        """Where the members of a struct begin and end."""
        code = _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), self.text)
        match = re.search(rf"\bstruct\s+{re.escape(name)}\s*\{{", code)
        if match is None:
            return None
        depth = 1
        for brace in re.finditer(r"[{}]", code[match.end() :]):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                return match.end(), match.end() + brace.start()
        return None

    def _made(self, name: str, start: int, end: int) -> CompiledStruct:
        layout_text = self._members(self.text[start:end])
        layout = parse_layout(layout_text, name, self.constants)
        if layout.problems:
            problem = layout.problems[0]
            first = len(self.text) - len(self.text[start:].lstrip("\n"))
            line = self.text.count("\n", 0, first) + problem.line
            raise InputError(f"{self.source}:{line}: struct {name}: {problem.text}")
        packed = _PACKED.match(self.text, end + 1) is not None
        struct = self._struct(name, layout, packed=packed)
        compiled = CompiledStruct(struct, Geometry(), self._compile, name, check=False)
        if struct.size != "page":
            compiled.size = max(compiled.end, 1)
        roles = {
            part.name: guess(part.name)
            for member in layout.members
            if member.type.kind == "int" and not member.type.signed
            for part in member.parts or (member,)
            if guess(part.name)
        }
        size = "page" if struct.size == "page" else compiled.size
        doc = self._doc(name, start)
        self.done[name] = HeaderStruct(name, layout_text, size, packed, doc, roles)
        return compiled

    def _struct(self, name: str, layout: Layout, *, packed: bool) -> Struct:
        fields = tuple(
            Field(
                name=member.name,
                type=member.type,
                fill="page" if member.fill else "",
                parts=tuple(Field(part.name, None, width=part.width) for part in member.parts),
            )
            for member in layout.members
        )
        page = any(member.fill for member in layout.members)
        return Struct(name, fields, "page" if page else 1, packed=packed)

    def _members(self, text: str) -> str:
        """The members without their indentation; macros that are not numbers are expanded."""
        macros = {match[1]: match[2] for match in _MACRO.finditer(self.text)}

        def expanded(match: re.Match[str]) -> str:
            name = match[0]
            value = _COMMENT.sub("", macros.get(name, name).replace("\\\n", " ")).strip()
            number = _NUMBER.fullmatch(value)
            if name in TYPES or name not in macros:
                return name
            if number is not None:
                self.constants[name] = constant(number[1])
                return name
            return " ".join(value.split())

        lines = textwrap.dedent(text.expandtabs(8)).strip("\n").split("\n")
        plain = "\n".join(line.rstrip() for line in lines)
        return re.sub(
            r"\[[^\]]*\]|:[^;,]*", lambda m: re.sub(r"\b[A-Z_]\w*", expanded, m[0]), plain
        )

    def _doc(self, name: str, start: int) -> str:
        """What the kernel-doc comment above a struct says of it."""
        head = self.text[:start].rfind("struct")
        before = self.text[:head].rstrip()
        opened = before.rfind("/*")
        if not before.endswith("*/") or opened < 0:
            return ""
        match = re.search(rf"struct {re.escape(name)}\s+-\s+([^\n]*)", before[opened:])
        return match[1].strip() if match is not None else ""
