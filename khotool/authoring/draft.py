"""Structs of a kernel's BTF as structs of a definition: a draft that its author completes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from khotool.authoring.btf import (
    KIND_ARRAY,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_INT,
    KIND_PTR,
    KIND_STRUCT,
    KIND_UNION,
    MAX_DEPTH,
    MAX_MEMBERS,
    Btf,
)
from khotool.authoring.draft_layout import (
    TYPE_NAMES,
    WORDS,
    DraftField,
    DraftStruct,
    Names,
    guess,
    identifier,
    laid_out,
)
from khotool.errors import InputError
from khotool.records import dataclass, field, replace

MOST_NAMES = 256
"""Names of an enum that are taken over."""
MOST_ELEMENTS = 65536
MOST_BYTES = 1 << 20
KIND_FORWARD = 7
_SIGNED = 1


@dataclass(slots=True)
class _Member:
    name: str
    type: int
    bit: int
    width: int


@dataclass(slots=True)
class Drafter:
    """Turns structs of a BTF section into drafts, each once, embedded ones with them."""

    btf: Btf
    done: dict[int, DraftStruct] = field(default_factory=dict)
    _busy: set[int] = field(default_factory=set)
    _names: Names = field(default_factory=lambda: Names(TYPE_NAMES))
    _left: int = MAX_MEMBERS

    def draft(self, name: str) -> DraftStruct:
        """The draft of a struct by name; ``done`` gets those that it embeds as well.

        Raises:
            InputError: no such struct, or it holds far too much.
        """
        number = self.btf.structs.get(name)
        if number is None:
            import difflib

            near = difflib.get_close_matches(name, self.btf.structs, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"the kernel's BTF has no struct {name}{hint}")
        size = self.btf.head(number)[3]
        if not 0 < size <= MOST_BYTES:
            raise InputError(f"struct {name} has {size} bytes; a definition has 1 to {MOST_BYTES}")
        self._busy.clear()
        found = self._struct(number, name, 0)
        assert found is not None
        return found

    def _struct(self, number: int, wanted: str, depth: int) -> DraftStruct | None:
        if number in self.done:
            return self.done[number]
        size = self.btf.head(number)[3]
        if number in self._busy or depth > MAX_DEPTH or not size:
            return None
        self._busy.add(number)
        members = list(self._members(number, 0, depth))
        notes: list[str] = []
        items = list(self._fields(members, size, wanted, depth, notes))
        made = laid_out(self._names.take(wanted), size, items, notes)
        self.done[number] = made
        return made

    def _members(self, number: int, base: int, depth: int) -> Iterator[_Member]:
        """Members in order; those of anonymous structs in place of the structs."""
        _, count, flag, _, at = self.btf.head(number)
        for index in range(count):
            self._left -= 1
            if self._left < 0:
                raise InputError("a struct of this BTF holds far too many members")
            name, inner, word = struct.unpack_from(
                f"{self.btf.order}III", self.btf.data, at + 12 * index
            )
            bit = base + (word & 0xFFFFFF if flag else word)
            text = self.btf.string(name)
            resolved = self.btf.resolve(inner)
            if not text and self.btf.head(resolved)[0] == KIND_STRUCT and depth < MAX_DEPTH:
                yield from self._members(resolved, bit, depth + 1)
            else:
                yield _Member(text, inner, bit, word >> 24 if flag else 0)

    def _fields(
        self, members: list[_Member], size: int, outer: str, depth: int, notes: list[str]
    ) -> Iterator[DraftField]:
        at = 0
        while at < len(members):
            end = at
            while end < len(members) and members[end].width:
                end += 1
            if end > at:
                limit = members[end].bit // 8 if end < len(members) else size
                yield from self._words(members[at:end], limit)
                at = end
                continue
            member = members[at]
            at += 1
            item = self._field(member, outer, depth, notes, last=at == len(members))
            if item is not None:
                yield item

    # -- bit-fields ----------------------------------------------------------------------

    def _words(self, members: list[_Member], limit: int) -> Iterator[DraftField]:
        """Words that hold a run of bit-fields and end before byte ``limit``."""
        at = 0
        while at < len(members):
            end = at + 1
            word = self._word(members[at], members[at], limit)
            while end < len(members) and members[end].bit >= _end(members[end - 1]):
                longer = self._word(members[at], members[end], limit)
                if longer is None:
                    break
                end, word = end + 1, longer
            if word is None:
                raise InputError(f"bit-field {members[at].name} fits into no word of 8 bytes")
            yield self._cut(members[at:end], *word)
            at = end

    def _word(self, first: _Member, last: _Member, limit: int) -> tuple[int, int] | None:
        """Start and size, bytes, of one word from one bit-field to another: the declared type's
        if it fits."""
        declared = self.btf.bits(first.type) // 8
        byte = first.bit // 8
        # The declared type is aligned; another word starts with the byte of the first bit.
        words = [(byte, size) for size in WORDS]
        if declared in WORDS:
            words.insert(0, (byte // declared * declared, declared))
        for start, size in words:
            if _end(last) <= (start + size) * 8 and start + size <= limit:
                return start, size
        return None

    def _cut(self, members: list[_Member], start: int, size: int) -> DraftField:
        parts: list[tuple[str, int]] = []
        used = 0
        names = Names()
        places = []
        for member in members:
            low = member.bit - start * 8
            if self.btf.order == ">":
                # Bits are counted from the most significant one there.
                low = size * 8 - low - member.width
            places.append((low, member))
        for low, member in sorted(places, key=lambda place: place[0]):
            if low > used:
                parts.append((names.take(f"unused_{used}"), low - used))
            name = member.name or f"unused_{low}"
            parts.append((names.take(name), member.width))
            used = low + member.width
        if used < size * 8:
            parts.append((names.take(f"unused_{used}"), size * 8 - used))
        return DraftField("", f"u{size * 8}", start, size, size, parts=tuple(parts))

    # -- other fields --------------------------------------------------------------------

    def _field(
        self, member: _Member, outer: str, depth: int, notes: list[str], *, last: bool
    ) -> DraftField | None:
        """One field; None for a flexible array, of which the struct gets a note."""
        name = member.name or "unnamed"
        offset = member.bit // 8
        number = self.btf.resolve(member.type)
        count, element = self._elements(number)
        kind = self.btf.head(element)[0]
        if count == 0:
            of = self.btf.string_of(element)
            what = of or "something without a name"
            what = f"struct {of}" if kind == KIND_STRUCT and of else what
            where = "at the end" if last else "in between"
            notes.append(
                f"{name}[] of {what} {where}, a flexible array at +{offset:#x}: left out; "
                "a field has to count it"
            )
            if kind == KIND_STRUCT and of:
                self._struct(element, of, depth + 1)
            return None
        made = self._single(name, element, member.type, outer, depth)
        many = 1 if count is None else count
        if made is None or many > MOST_ELEMENTS:
            size = self.btf.bits(element) // 8 * many
            if not 0 < size < 1 << 20:
                notes.append(f"{name} at +{offset:#x} has an unknown size: left out")
                return None
            return DraftField(
                identifier(name),
                f"bytes[{size}]",
                offset,
                size,
                notes=("a type that a definition cannot say: kept as bytes",),
            )
        made = replace(made, name=identifier(name), offset=offset)
        if count is None:
            return made
        text = self._array_text(made, element, member.type, count)
        return replace(
            made, type=text, size=made.size * count, role="" if made.struct else made.role
        )

    def _elements(self, number: int) -> tuple[int | None, int]:
        """Elements of an array of any dimensions, None for no array; and the element's type."""
        count: int | None = None
        for _ in range(MAX_DEPTH):
            kind, _, _, _, at = self.btf.head(number)
            if kind != KIND_ARRAY:
                break
            inner, _, elements = struct.unpack_from(f"{self.btf.order}III", self.btf.data, at)
            count = (1 if count is None else count) * int(elements)
            number = self.btf.resolve(inner)
        return count, number

    def _array_text(self, item: DraftField, element: int, declared: int, count: int) -> str:
        if item.type in ("u8", "s8"):
            text = self.btf.string_of(element) == "char" and "u8" not in self._typedefs(declared)
            return f"char[{count}]" if text else f"bytes[{count}]"
        return f"{item.type}[{count}]"

    def _single(
        self, name: str, number: int, declared: int, outer: str, depth: int
    ) -> DraftField | None:
        """One element, at offset 0; None for what a definition cannot say."""
        kind, _, _, size, _ = self.btf.head(number)
        if kind == KIND_PTR:
            target = self._target(size)
            note = f"a kernel pointer to {target}: of no use to the next kernel"
            return DraftField(name, "u64", 0, 8, 8, notes=(note,))
        if kind == KIND_UNION:
            return self._union(name, number, outer, depth)
        if kind == KIND_STRUCT:
            title = self.btf.string_of(number) or f"{outer}_{identifier(name)}"
            inner = self._struct(number, title, depth + 1)
            if inner is None:
                return None
            return DraftField(name, inner.name, 0, inner.size, inner.align, struct=number)
        if kind not in (KIND_INT, KIND_ENUM, KIND_ENUM64) or size not in WORDS:
            return None
        return self._integer(name, number, declared)

    def _integer(self, name: str, number: int, declared: int) -> DraftField:
        """An integer or an enum, with the role that its name or its type suggests."""
        kind, count, flag, size, at = self.btf.head(number)
        names = self._typedefs(declared)
        if kind == KIND_INT:
            (word,) = struct.unpack_from(f"{self.btf.order}I", self.btf.data, at)
            # A single char is a small number.
            signed = bool(word >> 24 & _SIGNED) and self.btf.string_of(number) != "char"
        else:
            signed = bool(flag)
        # C has such types for unsigned integers of several bytes only.
        ordered = size > 1 and not signed
        big = "be" if ordered and any(text.startswith("__be") for text in names) else ""
        role, why = "" if signed else guess(name), "name"
        if not role and "phys_addr_t" in names:
            role, why = "address", "type"
        notes = (f"role {role}: a guess from the {why}",)
        return DraftField(
            name,
            f"{big}{'s' if signed else 'u'}{size * 8}",
            0,
            size,
            size,
            role=role,
            enum=tuple(self._enum(kind, count, at, signed=signed)),
            notes=notes if role else (),
        )

    def _union(self, name: str, number: int, outer: str, depth: int) -> DraftField | None:
        """A union as its first member that is as long as it and that a definition can say."""
        size = self.btf.head(number)[3]
        members = list(self._members(number, 0, depth))
        named = ", ".join(identifier(member.name) for member in members[:8])
        for member in members:
            count, element = self._elements(self.btf.resolve(member.type))
            if count is not None or member.width or depth >= MAX_DEPTH:
                continue
            found = self._single(member.name, element, member.type, outer, depth + 1)
            if found is None or found.size != size:
                continue
            note = f"a union of {named}: taken as {identifier(member.name)}"
            to = next((self._pointee(other) for other in members if self._pointee(other)), "")
            lead = (f"leads to {to}: points_to has to say how",) if to else ()
            if to:
                found = replace(found, role="address", notes=())
            return replace(found, notes=(note, *lead, *found.notes))
        return None

    def _pointee(self, member: _Member) -> str:
        kind, _, _, target, _ = self.btf.head(self.btf.resolve(member.type))
        return self._target(target) if kind == KIND_PTR else ""

    def _target(self, number: int) -> str:
        """What a pointer's type says of its target."""
        number = self.btf.resolve(number)
        name = self.btf.string_of(number)
        if name in ("", "void"):
            return "memory"
        # A forward declaration counts as what it announces.
        return f"struct {name}" if self.btf.head(number)[0] in (KIND_STRUCT, KIND_FORWARD) else name

    def _typedefs(self, number: int) -> list[str]:
        """Names of the typedefs between a declared type, or the element of an array, and it."""
        names: list[str] = []
        for _ in range(2 * MAX_DEPTH):
            kind, _, _, target, at = self.btf.head(number)
            if kind in (KIND_INT, KIND_STRUCT, KIND_UNION, 0):
                break
            names.append(self.btf.string_of(number))
            if kind == KIND_ARRAY:
                (target,) = struct.unpack_from(f"{self.btf.order}I", self.btf.data, at)
            number = target
        return names

    def _enum(self, kind: int, count: int, at: int, *, signed: bool) -> Iterator[tuple[str, int]]:
        if kind not in (KIND_ENUM, KIND_ENUM64):
            return
        names = Names()
        step = 8 if kind == KIND_ENUM else 12
        for index in range(min(count, MOST_NAMES)):
            name, low, *high = struct.unpack_from(
                f"{self.btf.order}{'II' if step == 8 else 'III'}", self.btf.data, at + step * index
            )
            value = low | (high[0] << 32 if high else 0)
            top = 1 << (step - 4) * 8
            if signed and value >= top // 2:
                value -= top
            yield names.take(self.btf.string(name)), value


def _end(member: _Member) -> int:
    """The bit after a bit-field."""
    return member.bit + member.width
