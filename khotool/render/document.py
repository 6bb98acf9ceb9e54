"""The model as JSON: ``khotool.dump/1``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from khotool.absent import Absent, Reason
from khotool.findings import Finding
from khotool.model.image import UNPLACED, Image, Node, NodeKind, Phase
from khotool.model.lookup import table_row
from khotool.render.overview import abi_ids
from khotool.render.severity import count_by_severity
from khotool.render.table import table_fields
from khotool.render.value import is_leaf, json_value
from khotool.version import version
from khotool.view.notation import RAW_JSON, absent_json, json_scalar

Array = Callable[[Iterable[object]], object]
Document = dict[str, Any]
"""Only dicts with string keys, lists, strings, integers, booleans and None."""

MAX_ROWS = 65536
"""Rows of a table that are listed without ``--full``; a longer one is its count."""

LUO = "LUO"
LUO_VALUES = ("compatible", "state", "liveupdate_number")
"""Values of the orchestrator itself; which of them there are is a matter of the version."""


def head(command: str) -> Document:
    """The two keys every document starts with."""
    return {"schema": f"khotool.{command}/1", "khotool": version()}


def dump_document(image: Image, findings: list[Finding]) -> Document:
    """The whole of an image as the contract has it."""
    document = head("dump")
    document["image"] = image_json(image)
    document["roots"] = [
        {
            **({"name": root.name} if root.name else {}),
            "address": hex_or_none(root.address),
            "compatible": root.compatible,
            "role": str(root.role),
            "selected": root.selected,
            "why": root.why,
        }
        for root in image.roots
    ]
    document["abi"] = abi_ids(image)
    document["choices"] = [
        {
            "definition": choice.definition,
            "layout": choice.layout,
            "certain": choice.certain,
            "why": choice.why,
        }
        for choice in image.choices
    ]
    doubts = {d.id: d.unverified for d in image.used if d.unverified}
    if doubts:
        document["unverified"] = doubts
    document["root"] = root_json(image)
    document["scratch"] = scratch_json(image)
    document["memory"] = memory_json(image)
    document["entries"] = [entry_json(image, entry) for entry in image.entries]
    luo = image.entry(LUO)
    if luo is not None:
        document["luo"] = luo_json(luo)
    document["findings"] = count_by_severity(findings)
    return document


def path_document(image: Image, node: Node) -> Document:
    """One sub-tree: its path and its value."""
    document = head("dump")
    document["image"] = image_json(image)
    document["path"] = node.path
    document["value"] = node_json(node, rows=MAX_ROWS)
    return document


def image_json(image: Image) -> Document:
    """What the capture is."""
    return {
        "path": image.info.path,
        "container": image.info.container,
        "compression": image.info.compression,
        "page_size": image.geometry.page_size,
        "endian": image.geometry.byteorder,
        "osrelease": image.info.osrelease,
        "phase": str(image.phase),
    }


def root_json(image: Image) -> Document:
    """The fields of the selected root."""
    root = image.root
    fields: Document = {"address": hex_or_none(root.address if root else None)}
    if root is None:
        fields["absent"] = str(Reason.NOT_CAPTURED)
        fields["detail"] = "the capture holds no KHO root"
        return fields
    fields["compatible"] = root.compatible
    for child in image.tree.children:
        if is_leaf(child) and child.name not in fields:
            fields[child.name] = json_value(child)
    return fields


def scratch_json(image: Image) -> object:
    """Scratch areas, or the absent object."""
    if isinstance(image.scratch, Absent):
        return absent_json(image.scratch)
    return [{"address": f"{area.address:#x}", "size": area.size} for area in image.scratch.areas]


def memory_json(image: Image) -> Document:
    """Totals of the preserved pages, or the absent object."""
    found = image.map
    if isinstance(found, Absent):
        gone: Document = {**absent_json(found)}
        if image.phase is Phase.CONSUMED and image.info.vmcoreinfo:
            gone["unclaimed"] = unclaimed_json(image)
        return gone
    pages = found.blocks.pages
    return {
        "orders": {str(order): count for order, count in found.blocks.orders().items()},
        "preserved_pages": pages,
        "preserved_bytes": pages * image.geometry.page_size,
        "ranges": found.blocks.range_count,
        "layout": found.layout,
    }


def unclaimed_json(image: Image) -> Document:
    """Totals of the pages that the running kernel has not claimed yet, or the absent object."""
    found, owned = image.unclaimed, image.unclaimed_ownership
    if isinstance(found, Absent) or owned is None:
        assert isinstance(found, Absent)
        return {**absent_json(found)}
    pages = dict.fromkeys(owned.owners, 0)
    for owner, count in zip(owned.ranges.owner.tolist(), owned.ranges.pages.tolist(), strict=True):
        if owner >= 0:
            pages[owned.owners[owner]] += count
    return {
        "orders": {str(order): count for order, count in found.orders().items()},
        "pages": owned.preserved_pages,
        "bytes": owned.preserved_pages * image.geometry.page_size,
        "unowned_pages": owned.unowned_pages,
        "owners": {path: count for path, count in pages.items() if count},
    }


def entry_json(image: Image, entry: Node) -> Document:
    """One entry: where its blob is, how it is read, and its value."""
    document: Document = {"name": entry.name}
    document["address"], document["size"] = entry_place(image, entry)
    document["format"] = entry.format or None
    if isinstance(entry.value, Absent):
        document["value"] = absent_json(entry.value)
    elif not entry.format:
        document["value"] = unknown_json(entry)
    elif entry.name == LUO:
        fields = content(image, entry)
        document["value"] = {
            child.name: json_value(child) for child in fields if child.name in LUO_VALUES
        }
    else:
        fields = [child for child in content(image, entry) if child.name != "compatible"]
        # Plain values come before lists, so that a reader sees the counts first.
        fields.sort(key=lambda child: not is_leaf(child))
        document["value"] = fields_json(fields, rows=MAX_ROWS)
    return document


def entry_place(image: Image, entry: Node) -> tuple[object, object]:
    """Physical address (hex) and bytes of an entry's blob; absent where they are not known."""
    address = size = None
    for child in entry.children:
        if child.field is not None and child.format == image.tree.format and image.tree.format:
            if child.field.points_to is not None:
                address = child.value
            elif child.field.role == "bytes":
                size = child.value
    span = entry.target
    if address is None and span is not None and span.address < UNPLACED:
        address = span.address
    if size is None and span is not None:
        size = span.size
    unknown = Absent(Reason.NOT_CAPTURED, "nothing in this capture says it")
    return (
        f"{address:#x}" if isinstance(address, int) else absent_json(_absent(address, unknown)),
        size if isinstance(size, int) else absent_json(_absent(size, unknown)),
    )


def _absent(value: object, default: Absent) -> Absent:
    return value if isinstance(value, Absent) else default


def content(image: Image, entry: Node) -> list[Node]:
    """Children of an entry that are in its blob, not in the root."""
    return [
        child
        for child in entry.children
        if child.field is None or child.format != image.tree.format
    ]


def unknown_json(entry: Node) -> Document:
    """An entry that no definition explains: its first bytes, or its device tree as it is."""
    raw = entry.get("bytes")
    if raw is not None and isinstance(raw.value, bytes):
        return {"bytes": raw.value[:RAW_JSON].hex()}
    fields = [child for child in entry.children if child.field is None]
    if fields:
        return fields_json(fields, rows=0)
    return {**absent_json(Absent(Reason.UNPARSABLE, "no definition explains this entry"))}


def node_json(node: Node, *, rows: int, array: Array = list) -> object:
    """A value, a record as an object, a list as an array.

    Args:
        rows: longest table that is listed; a longer one is ``{"count": N}``.
        array: makes an array of its elements; ``Rows`` makes one that is written as it is read.
    """
    if is_leaf(node):
        return json_value(node)
    if isinstance(node.value, Absent):
        return absent_json(node.value)
    if node.table is not None:
        if node.table.declared and not len(node.table):
            detail = f"none of {node.table.declared} records is in the capture"
            return absent_json(Absent(Reason.NOT_CAPTURED, detail))
        if len(node.table) > rows:
            return {"count": node.table.declared}
        return array(row_json(node, index) for index in range(len(node.table)))
    target = node.get("target")
    if target is not None and isinstance(target.value, Absent):
        return absent_json(target.value)
    if node.kind is NodeKind.LIST:
        return array(node_json(part, rows=rows, array=array) for part in node.elements())
    if isinstance(node.value, int) and node.field is not None:
        # A pointer to a record: the record, with the pointer as the address it is at.
        return {
            "address": f"{node.value:#x}",
            **fields_json(node.children, rows=rows, array=array),
        }
    return fields_json(node.children, rows=rows, array=array)


def fields_json(nodes: list[Node], *, rows: int, array: Array = list) -> Document:
    """Nodes as the members of an object; parts that only link (blocks, chunks) are left out."""
    fields: Document = {}
    for node in nodes:
        if node.key is not None:
            name = f"{node.name}[{node.key}]" if not node.name else ""
            if name:
                fields[name] = node_json(node, rows=rows, array=array)
            continue
        if node.name == "compatible" and node.parent is not None and node.parent.key is not None:
            continue
        if node.name not in fields:
            fields[node.name] = node_json(node, rows=rows, array=array)
    named = {node.name: node.reference for node in nodes if node.reference}
    # Last, and only where there are any: what values of this object name.
    return fields | {"references": named} if named else fields


def row_json(node: Node, index: int) -> Document:
    """One row of a table, pointers first."""
    row = table_row(node, index)
    assert row is not None
    assert node.table is not None
    values = {child.name: child for child in row.children}
    return {f.label: json_scalar(values[f.label].value, f) for f in table_fields(node.table)}


# -- LUO -------------------------------------------------------------------------------------


def luo_json(entry: Node) -> Document:
    """Sessions with their files, and the file-lifecycle-bound objects."""
    if isinstance(entry.value, Absent):
        return {**absent_json(entry.value)}
    address = entry.value_of("address")
    place = entry.target
    if address is None and place is not None and place.address < UNPLACED:
        address = place.address
    document: Document = {"address": hex_or_none(address)}
    for name in LUO_VALUES:
        child = entry.get(name)
        if child is not None:
            document[name] = json_value(child)
    document["sessions"] = list_json(entry.get("sessions"), session_json)
    # Before there were sessions, files were in the orchestrator's own tree.
    for name, element in (("files", file_json), ("subsystems", subsystem_json)):
        node = entry.get(name)
        if node is not None:
            document[name] = list_json(node, element)
    document["flbs"] = list_json(entry.get("flbs"), flb_json)
    return document


def list_json(node: Node | None, element: Any) -> object:
    """A list with ``element`` applied to each; the absent object where it is not there."""
    if node is None:
        return []
    if isinstance(node.value, Absent):
        return absent_json(node.value)
    target = node.get("target")
    if target is not None and isinstance(target.value, Absent):
        return absent_json(target.value)
    return [element(child) for child in node.elements()]


def session_json(session: Node) -> Document:
    """One session."""
    return {
        "name": text_of(session, "name"),
        "files": list_json(session.get("files"), file_json),
    }


def file_json(file: Node) -> Document:
    """One preserved file, with what its handler's definition reads."""
    document: Document = {}
    for name in ("token", "handler", "data"):
        child = file.get(name)
        if child is not None:
            document[name] = json_value(child)
    payload = payload_json(file.get("data"))
    if payload is not None:
        document["payload"] = payload
    return document


def payload_json(data: Node | None) -> Document | None:
    """The record that a handle leads to; None for a handle that is itself all there is."""
    if data is None or isinstance(data.value, Absent):
        return None
    if data.note == "unknown handler":
        return {**absent_json(Absent(Reason.UNPARSABLE, "no definition for this handler"))}
    target = data.get("target")
    if target is not None and isinstance(target.value, Absent):
        return {**absent_json(target.value)}
    if not data.children:
        if data.value == 0 and not data.struct:
            return {**absent_json(Absent(Reason.UNPARSABLE, "data is 0"))}
        return None
    counted = {child.field.counts for child in data.children if child.field is not None}
    # An array whose length is a field of its own adds nothing without its rows.
    return fields_json([child for child in data.children if child.name not in counted], rows=0)


def subsystem_json(subsystem: Node) -> Document:
    """One subsystem with a handle of its own."""
    data = subsystem.get("data")
    return {
        "name": text_of(subsystem, "name"),
        "data": json_value(data) if data is not None else None,
    }


def flb_json(flb: Node) -> Document:
    """One file-lifecycle-bound object."""
    document: Document = {"name": text_of(flb, "name")}
    for name in ("data", "count"):
        child = flb.get(name)
        if child is not None:
            document[name] = json_value(child)
    payload = payload_json(flb.get("data"))
    if payload is not None and flb.get("data") is not None and (flb.get("data") or flb).children:
        document["payload"] = payload
    return document


def text_of(node: Node, name: str) -> object:
    """The text of a field; the node's key where the format has the name in its place."""
    child = node.get(name)
    return node.key if child is None else json_value(child)


def hex_or_none(value: object) -> str | None:
    """``0x...``; None for anything but a number."""
    return f"{value:#x}" if isinstance(value, int) else None
