"""The model as JSON: ``khotool.dump/1``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from khotool.abi.definition import Kind
from khotool.absent import Absent, Reason
from khotool.findings import Severity
from khotool.model.image import Image, Node, NodeKind, Phase
from khotool.model.lookup import table_row
from khotool.version import version
from khotool.view.entries import Entry
from khotool.view.keyed import Keyed, OfNode, absent_of
from khotool.view.luo import ENTRY, File, Flb, Handled, Luo, Session
from khotool.view.notation import RAW_JSON, absent_json, json_scalar

T = TypeVar("T")
Array = Callable[[Iterable[object]], object]
Document = dict[str, Any]
"""Only dicts with string keys, lists, strings, integers, booleans and None."""

MAX_ROWS = 65536
"""Rows of a table that are listed without ``--full``; a longer one is its count."""

LUO_VALUES = ("compatible", "state", "liveupdate_number")
"""Values of the orchestrator itself; which of them there are is a matter of the version."""


def head(command: str) -> Document:
    """The two keys every document starts with."""
    return {"schema": f"khotool.{command}/1", "khotool": version()}


def dump_document(image: Image, findings: Mapping[str, int] | None = None) -> Document:
    """The whole of an image.

    Args:
        findings: their number by severity.
    """
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
    if luo := Luo(image):
        document["luo"] = luo_json(luo)
    document["findings"] = {str(level): 0 for level in Severity} | dict(findings or {})
    return document


def abi_ids(image: Image) -> list[str]:
    """Versions the image speaks, in order; structures and names without one are left out."""
    return sorted(
        d.id
        for d in image.used
        if d.match.get("compatible") or d.probe or (d.kind is Kind.FLB and d.content in d.structs)
    )


def path_document(image: Image, node: Node) -> Document:
    """One sub-tree: its path and its value."""
    document = head("dump")
    document["image"] = image_json(image)
    document["path"] = node.path
    document["value"] = node_json(node, rows=MAX_ROWS)
    return document


def image_json(image: Image) -> Document:
    """What the capture is."""
    known = {"build": image.info.build, "machine": image.info.machine} if image.info.build else {}
    return {
        **known,
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
        if child.is_leaf and child.name not in fields:
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
    for path, count in zip(owned.owners, owned.pages_by_owner()[1:].tolist(), strict=True):
        pages[path] += count
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
    place = Entry(entry, image)
    document["address"] = hex_or_none(place.address) or json_scalar(place.address, None)
    document["size"] = json_scalar(place.size, None)
    document["format"] = entry.format or None
    if isinstance(entry.value, Absent):
        document["value"] = absent_json(entry.value)
    elif not entry.format:
        document["value"] = unknown_json(entry)
    elif entry.name == ENTRY:
        fields = content(image, entry)
        document["value"] = {
            child.name: json_value(child) for child in fields if child.name in LUO_VALUES
        }
    else:
        fields = [child for child in content(image, entry) if child.name != "compatible"]
        # Plain values come before lists, so that a reader sees the counts first.
        fields.sort(key=lambda child: not child.is_leaf)
        document["value"] = fields_json(fields, rows=MAX_ROWS)
    return document


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
    if node.is_leaf:
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
    if (gone := absent_of(node)) is not None:
        return absent_json(gone)
    if node.kind is NodeKind.LIST:
        return array(node_json(part, rows=rows, array=array) for part in node.elements())
    if isinstance(node.value, int) and node.field is not None:
        # A pointer to a record: the record, with the pointer as the address it is at.
        return {"address": f"{node.value:#x}", **fields_json(node.children, rows=rows, array=array)}
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
    return {f.label: json_scalar(values[f.label].value, f) for f in node.table.pointers_first()}


# -- LUO -------------------------------------------------------------------------------------


def luo_json(luo: Luo) -> Document:
    """Sessions with their files, and the file-lifecycle-bound objects."""
    entry = luo.node
    assert entry is not None
    if isinstance(entry.value, Absent):
        return {**absent_json(entry.value)}
    document: Document = {"address": hex_or_none(Entry(entry, luo.image).address)}
    document |= present(entry, *LUO_VALUES)
    document["sessions"] = list_json(luo.sessions, session_json)
    # Before there were sessions, files were in the orchestrator's own tree.
    if luo.files.node is not None:
        document["files"] = list_json(luo.files, file_json)
    if luo.subsystems.node is not None:
        document["subsystems"] = list_json(luo.subsystems, subsystem_json)
    document["flbs"] = list_json(luo.flbs, flb_json)
    return document


def list_json(found: Keyed[Any, T], element: Callable[[T], Document]) -> object:
    """A list with ``element`` applied to each; the absent object where it was not read."""
    if found.node is not None and found.absent is not None:
        return absent_json(found.absent)
    return [element(one) for one in found]


def session_json(session: Session) -> Document:
    """One session."""
    return {"name": name_json(session), "files": list_json(session.files, file_json)}


def file_json(file: File) -> Document:
    """One preserved file, with what its handler's definition reads."""
    payload = payload_json(file)
    document = present(file.node, "token", "handler", "data")
    return document if payload is None else {**document, "payload": payload}


def payload_json(handled: Handled) -> Document | None:
    """The record that a handle leads to; None for a handle that is itself all there is."""
    payload = handled.payload
    if isinstance(payload, Absent):
        data = handled.node.get("data")
        # An absent handle is shown as the value it is.
        return None if data is None or data.value is payload else {**absent_json(payload)}
    if payload is None:
        return None
    fields = payload.node.children
    counted = {child.field.counts for child in fields if child.field is not None}
    # An array whose length is a field of its own adds nothing without its rows.
    return fields_json([child for child in fields if child.name not in counted], rows=0)


def subsystem_json(subsystem: OfNode) -> Document:
    """One subsystem with a handle of its own."""
    return {"name": name_json(subsystem), "data": None, **present(subsystem.node, "data")}


def flb_json(flb: Flb) -> Document:
    """One file-lifecycle-bound object."""
    document = {"name": name_json(flb), **present(flb.node, "data", "count")}
    data = flb.node.get("data")
    payload = payload_json(flb) if data is not None and data.children else None
    return document if payload is None else {**document, "payload": payload}


def present(node: Node, *names: str) -> Document:
    """The fields that the format has, of some."""
    return {name: json_value(child) for name in names if (child := node.get(name)) is not None}


def name_json(named: OfNode) -> object:
    """The field ``name``; the node's key where the format has the name in its place."""
    return present(named.node, "name").get("name", named.node.key)


def json_value(node: Node) -> object:
    """The value of a leaf."""
    return json_scalar(node.value, node.field)


def hex_or_none(value: object) -> str | None:
    """``0x...``; None for anything but a number."""
    return f"{value:#x}" if isinstance(value, int) else None
