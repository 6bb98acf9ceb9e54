"""A definition as a C header: structs with asserted layout, and every name as a macro."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from khotool.abi.c_text import comment, comment_text, struct_lines
from khotool.abi.compile import CompiledStruct, PlacedField
from khotool.abi.definition import Definition, Field, Kind, NodeType
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.render.formats import target_text

WIDTH = 96

TYPES = """\
#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/types.h>
#else
#include <stddef.h>
#include <stdint.h>
#ifndef KHO_TYPES
#define KHO_TYPES
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
#ifndef _LINUX_TYPES_H
typedef u16 __be16;
typedef u32 __be32;
typedef u64 __be64;
#endif
#endif
#endif
"""

PAGE = """\
/* Layouts below depend on the page size: define KHO_PAGE_SHIFT to change it. */
#ifndef KHO_PAGE_SHIFT
#define KHO_PAGE_SHIFT {shift}
#endif
#ifndef KHO_PAGE_SIZE
#define KHO_PAGE_SIZE (1UL << KHO_PAGE_SHIFT)
#endif
"""


class Header:
    """Writes one definition.

    Args:
        registry: where structs of other definitions are found.
        page_size: bytes; default of ``KHO_PAGE_SIZE``, which users of the header may set.
    """

    def __init__(self, registry: Registry, definition: Definition, page_size: int) -> None:
        self.registry = registry
        self.definition = definition
        self.geometry = Geometry(page_size)
        self.prefix = macro(definition.id)
        if not self.prefix.startswith("KHO_"):
            self.prefix = f"KHO_{self.prefix}"
        self.macros: dict[str, str] = {}

    def text(self) -> str:
        """The header.

        Raises:
            DefinitionError: a struct of the definition does not compile.
        """
        definition = self.definition
        owners = self.owners()
        body = [line for name, owner in owners.items() for line in self.struct(name, owner)]
        guard = f"{self.prefix}_H"
        origin = f"; the kernel has it in {definition.header}" if definition.header else ""
        about = [
            f"{definition.id}: {definition.title}.",
            *([" ".join(definition.doc.split())] if definition.doc else []),
            f"Written by khotool formats header{origin}.",
        ]
        lines = comment("\n".join(about))
        lines += [f"#ifndef {guard}", f"#define {guard}", "", *TYPES.splitlines(), ""]
        if any("KHO_PAGE_S" in line for line in body):
            lines += [*PAGE.format(shift=self.geometry.page_shift).splitlines(), ""]
        names = list(self.names())
        lines += [*names, *([""] if names else []), *body, f"#endif /* {guard} */"]
        return "\n".join(lines) + "\n"

    # -- names ---------------------------------------------------------------------------

    def define(self, name: str, value: str, doc: str = "", *, shared: bool = False) -> list[str]:
        """A macro; a name that is taken gets a number, one that is ``shared`` may exist."""
        base, number = name, 2
        while self.macros.get(name, value) != value:
            name, number = f"{base}_{number}", number + 1
        if name in self.macros:
            return []
        self.macros[name] = value
        line = f"#define {name} {value}"
        tail = f" /* {comment_text(doc)} */" if doc else ""
        lines = [*comment(doc), line] if len(line + tail) > WIDTH and tail else [line + tail]
        return [f"#ifndef {name}", *lines, "#endif"] if shared else lines

    def names(self) -> Iterator[str]:
        """Strings that select the definition, its limits and fixed numbers, its tree's names."""
        for key, values in self.definition.match.items():
            for number, value in enumerate(values):
                name = f"{self.prefix}_{macro(key)}" + (f"_{number}" if len(values) > 1 else "")
                yield from self.define(name, string(value))
        for name, limit in self.definition.limits.items():
            yield from self.define(f"{self.prefix}_MOST_{macro(name)}", number_text(limit))
        for name, literal in self.definition.literals.items():
            yield from self.define(f"{self.prefix}_LITERAL_{macro(name)}", f"{literal:#x}ULL")
        stack = [self.definition.fdt] if self.definition.fdt is not None else []
        while stack:
            node = stack.pop()
            yield from self.node(node)
            stack += [*node.nodes.values(), *([node.any_node] if node.any_node else [])]

    def node(self, node: NodeType) -> Iterator[str]:
        """Names of a node's properties and children."""
        for field in node.properties:
            kind = field.type.text if field.type is not None else ""
            yield from self.define(
                f"{self.prefix}_PROP_{macro(field.name)}",
                string(field.name),
                f"{kind}; {field.doc}" if field.doc else kind,
            )
            yield from self.values(field)
        for name, child in node.nodes.items():
            yield from self.define(f"{self.prefix}_NODE_{macro(name)}", string(name), child.doc)

    def values(self, field: Field) -> Iterator[str]:
        """Names of bits and of numbers; the only right number."""
        for name, value in (*field.flags.items(), *field.enum.items()):
            yield from self.define(macro(name, keep=True), number_text(value), shared=True)
        if field.expect is not None:
            name = f"{self.prefix}_{macro(field.name)}_EXPECTED"
            yield from self.define(name, number_text(field.expect))

    # -- structs -------------------------------------------------------------------------

    def owners(self) -> dict[str, Definition]:
        """Structs with their definitions, each after those that it embeds."""
        found: dict[str, Definition] = {}
        for first in self.definition.structs:
            stack = [(self.definition, first, False)]
            while stack:
                definition, name, ready = stack.pop()
                owner = self.registry.owner_of_struct(definition, name)
                if name in found:
                    continue
                if ready:
                    found[name] = owner
                    continue
                # Compiled first, which refuses a struct that embeds itself.
                self.registry.compile(owner, name, self.geometry)
                stack.append((owner, name, True))
                stack += [
                    (owner, field.type.struct, False)
                    for field in owner.structs[name].fields
                    if field.type is not None and field.type.struct
                ]
        return found

    def struct(self, name: str, owner: Definition) -> Iterator[str]:
        """One struct with its macros and assertions."""
        compiled = self.registry.compile(owner, name, self.geometry)
        struct = compiled.struct
        own = kernel_header(owner)
        shared = owner.kind is Kind.STRUCTURE
        if shared:
            # Many definitions embed it, and their headers may be used together.
            yield f"#ifndef KHO_STRUCT_{macro(name)}"
            yield f"#define KHO_STRUCT_{macro(name)}"
        if own and shared:
            yield "#ifdef __KERNEL__"
            yield f"#include <{own}>"
            yield "#endif"
        if own:
            # The kernel's own header may be used beside this one.
            yield f"#ifndef {guard_of(own)}"
        if struct.doc:
            yield from comment(struct.doc)
        yield f"struct {name} {{"
        yield from (f"\t{line}" for line in members(struct_lines(compiled, "KHO_PAGE", meaning)))
        yield "} __attribute__((packed));" if struct.packed else "};"
        if own:
            yield "#endif"
        yield from self.assertions(name, compiled)
        for placed in compiled.fields:
            yield from self.masks(macro(name), placed)
            for part in placed.field.parts or (placed.field,):
                yield from self.values(part)
        if shared:
            yield "#endif"
        yield ""

    def assertions(self, name: str, compiled: CompiledStruct) -> Iterator[str]:
        """The size of a struct and the offsets of its members, as static assertions."""
        size = "KHO_PAGE_SIZE" if compiled.struct.size == "page" else str(compiled.size)
        yield f'_Static_assert(sizeof(struct {name}) == {size}, "struct {name}");'
        for placed in compiled.fields:
            if not placed.field.parts:
                member = placed.field.name
                place = f"offsetof(struct {name}, {member}) == {placed.offset}"
                yield f'_Static_assert({place}, "{member}");'

    def masks(self, struct: str, placed: PlacedField) -> Iterator[str]:
        """Mask and shift of each part of a word: ``(word & MASK) >> SHIFT`` is its value."""
        if not placed.parts:
            return
        kind = placed.field.type
        assert kind is not None
        bits = kind.size * 8
        low: list[str] = []
        for part in placed.field.parts:
            at = " + ".join(low) or "0"
            where = f"({at})" if len(low) > 1 else at
            if part.width == "rest":
                width, full = "", f"{(1 << bits) - 1:#x}ULL"
                mask = f"({full} & ({full} << {where}))"
            else:
                width = "KHO_PAGE_SHIFT" if part.width == "page_shift" else str(part.width)
                low_mask = f"((1ULL << {width}) - 1)" if width != "64" else "(~0ULL)"
                mask = f"({low_mask} << {where})"
            name = f"{struct}_{macro(part.name)}"
            if part.width == "rest" and not placed.parts[-1].mask:
                # The parts before it are the whole word.
                mask, where = "0", "0"
            yield from self.define(f"{name}_MASK", mask)
            yield from self.define(f"{name}_SHIFT", "0" if part.in_place else where)
            if width:
                low = [str(int(at) + int(width))] if (at + width).isdigit() else [*low, width]


def members(lines: Iterable[str]) -> Iterator[str]:
    """Members of a struct, of whose flexible arrays C allows but the first to be declared."""
    flexible = False
    for line in lines:
        code, _, text = line.partition(";")
        if code.endswith("[]") and flexible:
            line = f"/* then {code}: {text.strip().strip('/* ')} */"
        flexible |= code.endswith("[]")
        yield line


def meaning(field: Field) -> str:
    """What a member is, and where it leads."""
    words = [field.doc] if field.doc else []
    if field.value:
        words.append(f'"{field.value}"')
    if field.points_to is not None:
        words.append(f"-> {target_text(field)}")
    if field.reserved and "reserved" not in field.doc:
        words.append("reserved, 0")
    return "; ".join(words)


def kernel_header(definition: Definition) -> str:
    """The kernel's header that declares the structs, as ``#include`` takes it; empty without one.

    A definition names the file that was read, for a posting with its date; only a plain path is
    that of a header which a kernel has.
    """
    header = definition.header
    plain = header.startswith("include/linux/") and header.endswith(".h")
    return header.removeprefix("include/") if plain and definition.status == "merged" else ""


def guard_of(header: str) -> str:
    """The macro that a header of the kernel defines first, as in ``_LINUX_KHO_ABI_LUO_H``."""
    return f"_{macro(header)}"


def macro(name: str, *, keep: bool = False) -> str:
    """A name as that of a macro; ``keep`` leaves its case."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII)
    text = text if keep else text.upper()
    return text if text[:1].isalpha() or text[:1] == "_" else f"_{text}"


def string(text: str) -> str:
    """A C string literal of UTF-8 bytes."""
    data = text.encode("utf-8", "surrogateescape")
    plain = (chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in data)
    return f'"{"".join(plain)}"'


def number_text(value: int) -> str:
    """A C constant; hexadecimal unless it is small."""
    if value < 0:
        return f"({value})"
    suffix = "ULL" if value >= 1 << 32 else "U"
    return f"{value:#x}{suffix}" if value > 9 else f"{value}{suffix}"


def header_text(registry: Registry, definition: Definition, page_size: int) -> str:
    """A definition as a C header.

    Args:
        page_size: bytes, for structs that follow it.

    Raises:
        DefinitionError: a struct of the definition does not compile.
    """
    return Header(registry, definition, page_size).text()
