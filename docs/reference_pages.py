"""Reference pages in Markdown: definitions, the kernels they make up, and rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from khotool.abi.compile import CompiledStruct
from khotool.abi.definition import AbiSet, Definition, Field, Kind, NodeType
from khotool.abi.geometry import Geometry
from khotool.abi.registry import Registry
from khotool.check.catalogue import FAMILIES, Rule, rules
from khotool.codec.conditions import describe
from khotool.render.formats import target_text

PAGE_SIZE = 4096
"""Offsets and masks on the pages are for pages of this many bytes."""

KINDS = {
    Kind.ROOT: "the tree that a boot parameter names",
    Kind.ENTRY: "what one subsystem hands over, below the root",
    Kind.NODE: "a node inside an entry's tree",
    Kind.FILE: "state of a preserved file, read by its handler",
    Kind.FLB: "a file-lifecycle-bound object",
    Kind.STRUCTURE: "a structure inside other formats",
    Kind.STATE: "state whose layout only its bytes tell",
    Kind.BOOT: "how the next kernel finds the handover",
}


def definition_page(registry: Registry, definition: Definition) -> str:
    """Everything about one definition as a page.

    Args:
        registry: has the definition and what it uses.
        definition: from ``registry``.
    """
    return "\n".join(_definition_lines(registry, definition)) + "\n"


def _definition_lines(registry: Registry, definition: Definition) -> Iterator[str]:
    d = definition
    yield f"# {d.id}: {d.title}"
    yield ""
    yield from sentences(d.doc)
    yield ""
    yield from table(("property", "value"), _properties(d))
    if d.layouts:
        rows = [(code(v.name), releases(v.first, v.last), v.doc) for v in d.layouts.values()]
        yield from _section("Layouts", table(("layout", "releases", "what"), rows))
    if d.limits:
        limits = [(name, str(most)) for name, most in d.limits.items()]
        yield from _section("Limits", table(("what", "most"), limits))
    if d.fdt is not None:
        order = "Integers are in the kernel's byte order, unless their type says otherwise."
        yield from _section("Device tree", (order, *node_section("/", d.fdt)))
    for name in d.structs:
        yield ""
        yield from struct_section(registry.compile(d, name, Geometry(PAGE_SIZE)))
    if d.literals:
        literals = [(code(name), code(f"{value:#x}")) for name, value in d.literals.items()]
        yield from _section("Literals", table(("name", "handle"), literals))


def _properties(d: Definition) -> Iterator[tuple[str, str]]:
    found = "; ".join(
        f"{key} {', '.join(code(value) for value in values)}" for key, values in d.match.items()
    )
    yield "kind", f"{d.kind}: {KINDS[d.kind]}"
    yield "status", d.status
    yield "releases", releases(d.first, d.last)
    yield "kernel source", code(d.header)
    yield "found by", found or "what points to it"
    yield "definition", code(f"formats/{d.source}")
    if d.probe:
        yield "probe conditions", "; ".join(describe(condition) for condition in d.probe)
    if d.unverified:
        yield "not certain", d.unverified
    if d.pinned:
        yield "cannot be moved", d.pinned
    if d.verified:
        yield "read again in", d.verified
    if d.uses:
        yield "uses", ", ".join(f"[{used}]({used}.md)" for used in d.uses)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield from lines


def struct_section(compiled: CompiledStruct) -> Iterator[str]:
    """A struct as a heading and a table of its fields; offsets and sizes in bytes."""
    whole = "one page" if compiled.struct.size == "page" else f"{compiled.size} bytes"
    yield f"## struct {compiled.struct.name}"
    yield ""
    yield f"{compiled.struct.doc}" if compiled.struct.doc else "A record."
    yield f"It takes {whole}."
    yield ""
    rows = []
    for placed in compiled.fields:
        kind = placed.field.type.text if placed.field.type is not None else ""
        place = f"{placed.offset:#x}"
        size = str(placed.size) if not placed.field.fill else "to the end of the page"
        if not placed.parts:
            rows.append((place, size, code(kind), *field_cells(placed.field)))
            continue
        for part in placed.parts:
            bits = f"{code(kind)} & {code(f'{part.mask:#x}')}"
            rows.append((place, size, bits, *field_cells(part.field)))
    yield from table(("offset", "bytes", "type", "field", "role", "meaning"), rows)


def node_section(name: str, top: NodeType) -> Iterator[str]:
    """A tree's node types, each with a table of its properties."""
    stack = [(name, top)]
    while stack:
        path, node = stack.pop()
        words = [node.doc] if node.doc else []
        if node.optional:
            words.append("optional")
        if node.name is not None:
            words.append(f"its name is {code(node.name.label)}: {node.name.doc}")
        if node.format:
            words.append(f"see [{node.format}]({node.format}.md)")
        yield ""
        yield f"### Node {code(path)}"
        if words:
            yield ""
            text = ", ".join(words)
            yield text[0].upper() + text[1:] + "."
        rows = [(type_text(field), *field_cells(field)) for field in node.properties]
        if node.any_property is not None:
            field = node.any_property
            name = f"any other, in paths {code(f'{field.label}[NAME]')}"
            rows.append((type_text(field), name, field.role, meaning(field)))
        if rows:
            yield ""
            yield from table(("type", "property", "role", "meaning"), rows)
        prefix = path.rstrip("/")
        below = [(f"{prefix}/{child}", kind) for child, kind in node.nodes.items()]
        if node.any_node is not None:
            below.append((f"{prefix}/NAME", node.any_node))
        stack.extend(reversed(below))


def type_text(field: Field) -> str:
    """The type of a property."""
    return code(field.type.text if field.type is not None else "")


def field_cells(field: Field) -> tuple[str, str, str]:
    """Name, role and meaning of a field."""
    name = code(field.name)
    if field.alias:
        name += f", in paths {code(field.alias)}"
    return name, field.role, meaning(field)


def meaning(field: Field) -> str:
    """The meaning of a field: its text, target, fixed value and names."""
    words = [field.doc] if field.doc else []
    if field.points_to is not None:
        words.append(f"points to: {target_text(field)}")
    if field.holds is not None:
        words.append(f"holds: array of {field.holds.of}, counted by {field.holds.count}")
    if field.counts:
        words.append(f"is the length of {field.counts}")
    if field.value:
        words.append(f"always {code(field.value)}")
    if field.expect is not None:
        words.append(f"always {code(f'{field.expect:#x}') if field.expect > 9 else field.expect}")
    if field.layout:
        words.append(f"only in layout {field.layout}")
    if field.optional:
        words.append("optional")
    names = [
        f"{code(name)} = {value:#x}" for name, value in (*field.flags.items(), *field.enum.items())
    ]
    if names:
        words.append(", ".join(names))
    return "; ".join(words)


def index_page(registry: Registry) -> str:
    """All definitions and all kernels."""
    lines = ["# Formats", ""]
    lines += [
        "Each page is generated from one file of `formats/`.",
        "`khotool formats show ID` prints the same for any page size.",
        "",
        "## Kernels",
        "",
        "A kernel speaks a set of strings, one per family.",
        "",
        *kernel_table(registry, "", {}),
    ]
    for kind in Kind:
        found = sorted((d for d in registry if d.kind is kind), key=lambda d: d.id)
        if not found:
            continue
        lines += ["", f"## {str(kind).capitalize()}", "", f"{_upper(KINDS[kind])}.", ""]
        lines += table(
            ("format", "releases", "status", "what"),
            [(f"[{d.id}]({d.id}.md)", releases(d.first, d.last), d.status, d.title) for d in found],
        )
    return "\n".join(lines) + "\n"


def kernel_table(registry: Registry, prefix: str, tested: dict[str, list[str]]) -> Iterator[str]:
    """The sets of strings as a table.

    Args:
        registry: has the sets.
        prefix: path in front of the pages of formats.
        tested: by id of a set, the kernels of which a capture exists; empty for no such column.
    """

    def link(identifier: str) -> str:
        return f"[{identifier}]({prefix}{identifier}.md)"

    heads = ["kernel", "root", "preserved-page map", "live update", "files", "other entries"]
    rows = []
    for abi in registry.sets.values():
        if abi.status != "merged":
            continue
        luo = [abi.entries["LUO"], *abi.nodes] if "LUO" in abi.entries else []
        others = [identifier for name, identifier in abi.entries.items() if name != "LUO"]
        cells = [
            releases(abi.first, abi.last),
            link(abi.root),
            map_text(registry, abi),
            ", ".join(map(link, luo)) or "none",
            ", ".join(map(link, abi.files)) or "none",
            ", ".join(map(link, sorted(others))),
        ]
        if tested:
            cells.append(", ".join(tested.get(abi.id, [])) or "synthetic images")
        rows.append(tuple(cells))
    if tested:
        heads.append("tested with")
    yield from table(tuple(heads), rows)


def map_text(registry: Registry, abi: AbiSet) -> str:
    """Shape of a set's preserved-page map, with its layout."""
    root = registry.get(abi.root)
    assert root.fdt is not None
    shape = next(f.points_to.shape for f in root.fdt.properties if f.points_to is not None)
    layout = abi.layouts.get(abi.root)
    return f"{shape}, {layout}" if layout else str(shape)


def releases(first: str, last: str) -> str:
    """First and last kernel release in words; an empty last is open, both are no release."""
    if not first:
        return "none"
    if not last:
        return f"{first} and later"
    return first if first == last else f"{first} to {last}"


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table; a column that is empty in every row is left out."""
    listed = list(rows)
    kept = [i for i in range(len(heads)) if any(row[i] for row in listed)]
    yield _row(heads[i] for i in kept)
    yield _row("---" for _ in kept)
    for row in listed:
        yield _row(row[i] for i in kept)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def code(text: str) -> str:
    """Text in code quotes; nothing for nothing."""
    return f"`{text}`" if text else ""


def sentences(text: str) -> Iterator[str]:
    """Paragraphs with one sentence on each line."""
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ""
        joined = " ".join(paragraph.split())
        yield from joined.replace(". ", ".\n").splitlines()


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


# -- rules -----------------------------------------------------------------------------------


def rule_pages() -> dict[str, str]:
    """Pages of the rule catalogue by file name: one per family, and the index."""
    pages = {"index.md": "\n".join(_rule_index()) + "\n"}
    for family in FAMILIES:
        pages[f"{family.lower()}.md"] = "\n".join(_family_lines(family)) + "\n"
    return pages


def _rule_index() -> Iterator[str]:
    yield "# Rules"
    yield ""
    yield "`khotool check` reports findings; each belongs to one of these rules."
    yield "`khotool explain RULE` prints the same in a terminal."
    yield "Ids and names never change; a rule that goes keeps its number."
    for family, meaning_ in FAMILIES.items():
        yield ""
        yield f"## {family}: {meaning_}"
        yield ""
        yield from table(
            ("rule", "name", "severity", "what"),
            [
                (
                    f"[{rule.id}]({family.lower()}.md#{anchor(rule)})",
                    rule.slug,
                    str(rule.severity),
                    rule.what,
                )
                for rule in rules().values()
                if rule.id.startswith(family)
            ],
        )


def _family_lines(family: str) -> Iterator[str]:
    yield f"# {family}: {FAMILIES[family]}"
    for rule in rules().values():
        if not rule.id.startswith(family):
            continue
        yield ""
        yield f"## {rule.id} {rule.slug}"
        yield ""
        yield f"{_upper(str(rule.severity))}: {rule.what}."
        yield ""
        yield from table(
            ("question", "answer"),
            [("why it matters", rule.why), ("for example", rule.example), ("what to do", rule.do)],
        )


def anchor(rule: Rule) -> str:
    """Name of a rule's heading in links."""
    return f"{rule.id.lower()}-{rule.slug}"
