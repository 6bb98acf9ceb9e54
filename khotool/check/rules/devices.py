"""Devices, what they are attached to, and memory with faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from khotool.abi.definition import Shape
from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.check.rules.records import used_elements
from khotool.check.rules.sessions import file_nodes, flb_nodes, record_format
from khotool.model.image import Node

Device = tuple[int, int]
"""PCI segment, and bus, device and function."""
DOMAIN, BDF = "domain", "bdf"
DELETED = 1
"""Flag of an object that is no longer used."""


@rule("HND611")
def check_devices(context: Context) -> None:
    """Files of devices against the list of the PCI core."""
    luo = context.image.entry("LUO")
    lists = _device_lists(luo)
    if not lists:
        return
    known = {device for node in lists for device in devices(context, node)}
    for file in file_nodes(luo):
        data, definition = file.get("data"), record_format(context, file)
        # Only a file that depends on an object is known to it.
        if data is None or definition is None or not definition.depends.get("flbs"):
            continue
        domain, bdf = data.value_of(DOMAIN), data.value_of(BDF)
        if isinstance(domain, int) and isinstance(bdf, int) and (domain, bdf) not in known:
            context.report("HND611", data, f"{device_name(domain, bdf)} is not in {lists[0].path}")


def _device_lists(luo: Node | None) -> list[Node]:
    """Lists of devices in all objects."""
    return [
        node
        for flb in flb_nodes(luo)
        if (data := flb.get("data")) is not None
        for node in data.children
        if is_device_list(node)
    ]


def is_device_list(node: Node) -> bool:
    """True for a list or table of records of PCI devices."""
    if node.table is not None:
        labels = {f.field.label for f in node.table.compiled.fields}
    else:
        labels = {child.name for element in node.elements()[:1] for child in element.children}
    return {DOMAIN, BDF} <= labels


def devices(context: Context, node: Node) -> Iterator[Device]:
    """Devices of a list, free slots left out."""
    if node.table is not None:
        unused = node.table.compiled.struct.unused
        used = node.table.column(unused) != 0 if unused else np.ones(len(node.table), bool)
        domains, functions = node.table.column(DOMAIN)[used], node.table.column(BDF)[used]
        yield from zip(domains.tolist(), functions.tolist(), strict=True)
        return
    for element in used_elements(context, node):
        domain, bdf = element.value_of(DOMAIN), element.value_of(BDF)
        if isinstance(domain, int) and isinstance(bdf, int):
            yield domain, bdf


def device_name(domain: int, bdf: int) -> str:
    """``0000:01:00.0``."""
    return f"{domain:04x}:{bdf >> 8:02x}:{bdf >> 3 & 31:02x}.{bdf & 7}"


@rule("HND613")
def check_domains(context: Context) -> None:
    """Reference counts of records that devices are attached to."""
    references, structs = _domain_references(context)
    if not structs:
        return
    for node in context.nodes:
        if node.struct not in structs or node.key is None or _flags(node) & DELETED:
            continue
        header = node.get("hdr")
        count = header.value_of("ref_count") if header is not None else None
        if isinstance(count, int) and count != references[node.path]:
            text = f"ref_count is {count}, but {references[node.path]} devices are attached"
            context.report("HND613", node, text)


def _domain_references(context: Context) -> tuple[Counter[str], set[str]]:
    """How often each record is named as the domain of a device; the structs of those records."""
    references: Counter[str] = Counter()
    structs = set()
    for node in context.nodes:
        reference = node.field.points_to if node.field is not None else None
        if reference is None or reference.shape is not Shape.ELEMENT or node.parent is None:
            continue
        if node.name.startswith(DOMAIN) and not _flags(node.parent) & DELETED:
            structs.add(reference.of)
            references[node.reference] += 1
    return references, {struct for struct in structs if struct}


def _flags(record: Node) -> int:
    """State of an object, from its header."""
    header = record.get("hdr")
    if header is None:
        return 0
    flags = header.value_of("flags")
    return int(flags if flags is not None else header.value_of("deleted") or 0)


@rule("MEM320", needs=("map",))
def check_poison(context: Context) -> None:
    """Frames that must not be preserved."""
    found = context.image.map
    assert not isinstance(found, Absent)
    shift = context.image.geometry.page_shift
    for node, table in context.tables:
        for placed in table.compiled.fields:
            if placed.field.preserved:
                continue
            frames = table.column(placed.field.label)
            sound = frames < np.uint64(1 << (64 - shift))
            hit = sound & found.blocks.holds(frames << np.uint64(shift))
            if not bool(hit.any()):
                continue
            row = int(hit.argmax())
            address = int(frames[row]) << shift
            text = f"{int(hit.sum())} poisoned frames are preserved, first [{row}] at {address:#x}"
            if owners := context.image.owners_of(address):
                text += f", owned by {owners[0]}"
            context.report("MEM320", node, text, address, row=row)
