"""Bounds-checked reader of flattened device trees: any bytes give a tree and a problem list."""

from __future__ import annotations

import struct
import sys
from array import array

from khotool.fdt.blob import (
    FDT_BEGIN_NODE,
    FDT_END,
    FDT_END_NODE,
    FDT_NOP,
    FDT_PROP,
    HEADER_SIZE,
    HEADER_WORDS,
    MAGIC,
    Blob,
    FdtError,
    Item,
    Node,
    Nop,
    Property,
)
from khotool.fdt.header import check as check

_HEADER = struct.Struct(">10I")
_RESERVATION = struct.Struct(">QQ")

# A list of problems is read by people; a blob of bad names must not make it larger than itself.
MAX_REMARKS = 1000

# Names repeat in messages, which must stay short whatever the blob holds.
_SHOWN = 40


def parse(
    data: bytes | bytearray | memoryview,
    *,
    max_tokens: int = 1_000_000,
    max_depth: int = 64,
    max_name: int = 256,
) -> Blob:
    """Read a flattened device tree as far as it can be read.

    Args:
        data: the blob, big-endian; may be longer than its ``totalsize`` (a page) or shorter
            (a cut capture). Up to ``totalsize`` bytes are copied.
        max_tokens: struct tokens, and memory reservations, read before giving up.
        max_depth: levels of nodes, the root being level 1.
        max_name: bytes of a name that are kept; a longer name is a problem.

    Raises:
        FdtError: less than a 40-byte header, or the wrong magic. Everything else is recorded in
            ``Blob.problems``.
    """
    view = memoryview(data).cast("B")
    if len(view) < HEADER_SIZE:
        raise FdtError(len(view), f"{len(view)} bytes are less than the 40-byte FDT header")
    header = _HEADER.unpack_from(view)
    if header[0] != MAGIC:
        raise FdtError(0, f"magic {header[0]:#010x} is not {MAGIC:#010x}")
    totalsize = header[1]
    end = totalsize
    if totalsize < HEADER_SIZE:
        end = max(HEADER_SIZE, header[2] + header[9], header[3] + header[8])
    kept = bytes(view[:end])
    blob = Blob(
        **dict(zip(HEADER_WORDS[1:], header[1:], strict=True)),
        reservations=[],
        root=None,
        strings=b"",
        data=kept,
        problems=[],
        struct_end=min(header[2], len(kept)),
        complete=False,
    )
    if totalsize < HEADER_SIZE:
        blob.add("bad-totalsize", 4, f"totalsize {totalsize} is less than the header")
    if len(kept) < totalsize:
        blob.add("truncated", len(kept), f"{len(kept)} of {totalsize} bytes are present")
    if blob.last_comp_version > 17:
        readers = f"compatible to {blob.last_comp_version}"
        blob.add("version", 20, f"version {blob.version} ({readers}) is read as 17")
    elif blob.version < 16:
        text = f"version {blob.version} is older than the 16 and 17 that kernels write"
        blob.add("version", 20, text)
    whole = len(kept) == totalsize
    rsvmap_read = _read_reservations(blob, max_tokens)
    strings_read = _read_strings(blob)
    struct_read = _StructReader(blob, max_tokens, max_depth, max_name).read()
    strings_end = blob.off_dt_strings + len(blob.strings)
    if blob.strings and blob.off_dt_struct < strings_end and blob.off_dt_strings < blob.struct_end:
        start = max(blob.off_dt_strings, blob.off_dt_struct)
        blob.add("strings-overlap-struct", start, "strings block and structure block overlap")
    blob.complete = whole and rsvmap_read and strings_read and struct_read
    blob.problems.sort(key=lambda problem: problem.offset)
    return blob


def _read_reservations(blob: Blob, limit: int) -> bool:
    offset, size = blob.off_mem_rsvmap, len(blob.data)
    if offset < blob.header_size:
        blob.add("bad-offset", 16, f"off_mem_rsvmap {offset} is inside the header")
        return False
    if offset % 8:
        blob.add("misaligned", 16, f"off_mem_rsvmap {offset} is not a multiple of 8")
    while True:
        if offset + _RESERVATION.size > size:
            code = "bad-offset" if blob.off_mem_rsvmap >= size else "missing-end"
            blob.add(code, min(offset, size), "the memory reservations have no terminator")
            return False
        pair = _RESERVATION.unpack_from(blob.data, offset)
        offset += _RESERVATION.size
        if pair == (0, 0):
            return True
        if len(blob.reservations) >= limit:
            blob.add("limit", offset, f"more than {limit} memory reservations")
            return False
        blob.reservations.append(pair)


def _read_strings(blob: Blob) -> bool:
    start, present = blob.off_dt_strings, len(blob.data)
    # Version 2 and older have no size_dt_strings.
    end = start + blob.size_dt_strings if blob.version >= 3 else max(start, present)
    if start < blob.header_size:
        blob.add("bad-offset", 12, f"off_dt_strings {start} is inside the header")
        return False
    blob.strings = blob.data[start:end]
    if end <= present:
        return True
    if end > blob.totalsize:
        message = f"strings block {start}..{end} ends after totalsize {blob.totalsize}"
        blob.add("size-beyond-file", 32, message)
    if start >= present:
        blob.add("strings-missing", start, "no byte of the strings block is present")
    return False


class _StructReader:
    """One pass over the structure block with an explicit stack."""

    def __init__(self, blob: Blob, max_tokens: int, max_depth: int, max_name: int) -> None:
        self.blob = blob
        self.max_tokens = max_tokens
        self.max_depth = max_depth
        self.max_name = max_name
        self.names: dict[int, tuple[str, bool]] = {}
        # Before version 16 names are paths and long values are aligned to 8 bytes; the writer
        # does neither.
        self.old = blob.version < 16
        self.lossless = not self.old
        self.base = self.limit = 0
        self.words = array("I")
        self.stack: list[Node] = []
        # Items of the innermost open node.
        self.items: list[Item] | None = None
        self.ended = False
        self.remarks = 0

    def remark(self, code: str, offset: int, message: str) -> None:
        """Record what many items can have; the list of these is bounded."""
        self.remarks += 1
        if self.remarks <= MAX_REMARKS:
            self.blob.add(code, offset, message)

    def bounds(self) -> tuple[int, int] | None:
        """First and last offset (bytes from the blob start) that tokens may use."""
        blob, present = self.blob, len(self.blob.data)
        start = blob.off_dt_struct
        if start < blob.header_size or start >= present:
            where = "inside the header" if start < blob.header_size else "after the data"
            self.blob.add("bad-offset", 8, f"off_dt_struct {start} is {where}")
            return None
        if start % 4:
            self.blob.add("misaligned", 8, f"off_dt_struct {start} is not a multiple of 4")
        end = start + blob.size_dt_struct if blob.version >= 17 else present
        if end > blob.totalsize and blob.totalsize >= HEADER_SIZE:
            message = f"structure block {start}..{end} ends after totalsize {blob.totalsize}"
            self.blob.add("size-beyond-file", 36, message)
        return start, min(end, present)

    def read(self) -> bool:
        """Fill root, struct_end and problems; True when the model holds the whole block."""
        bounds = self.bounds()
        if bounds is None:
            return False
        self.base, self.limit = bounds
        # Tokens are aligned relative to the block, so one array covers all of them.
        self.words = array("I", self.blob.data[self.base : self.base + self.room // 4 * 4])
        if sys.byteorder == "little":
            self.words.byteswap()
        read = {
            FDT_PROP: self.read_property,
            FDT_BEGIN_NODE: self.begin_node,
            FDT_END_NODE: self.end_node,
            FDT_NOP: self.read_nop,
            FDT_END: self.end_block,
        }
        index = tokens = 0
        while index < len(self.words) and not self.ended:
            offset = self.base + index * 4
            tokens += 1
            if tokens > self.max_tokens:
                self.blob.add("limit", offset, f"more than {self.max_tokens} tokens")
                break
            consumed = read.get(self.words[index], self.unknown_token)(index, offset)
            if not consumed:
                break
            index += consumed
        return self.finish(self.base + index * 4)

    @property
    def room(self) -> int:
        """Bytes that tokens may use."""
        return self.limit - self.base

    # Each of these takes the number of a token's word and its offset in bytes from the start of
    # the blob, and gives the number of words it takes; 0 where reading stops.

    def read_property(self, index: int, offset: int) -> int:
        """A property of the innermost open node."""
        if index + 2 >= len(self.words):
            return 0
        size, name_offset = self.words[index + 1], self.words[index + 2]
        value = offset + 12
        if self.old and size >= 8 and (value - self.base) % 8:
            # fdt_getprop_namelen() skips to a multiple of 8 before version 16.
            value += 4
        end = value + size
        if end > self.limit:
            message = f"property value of {size} bytes passes the end at {self.limit:#x}"
            self.blob.add("truncated", offset, message)
            return 0
        if self.items is None:
            self.remark("property-outside-node", offset, "a property outside the root")
            self.lossless = False
        else:
            name, lost = self.names.get(name_offset) or self.name(name_offset, offset)
            data = self.blob.data[value:end]
            self.items.append(Property(name, data, name_offset, value, offset, lost))
        return (end - offset + 3) // 4

    def begin_node(self, _: int, offset: int) -> int:
        """A node below the innermost open one, or the root."""
        blob = self.blob
        stop = blob.data.find(0, offset + 4, self.limit)
        if stop == -1:
            self.blob.add("truncated", offset, "a node name has no end")
            return 0
        if self.items is None and blob.root is not None:
            self.blob.add("second-root", offset, "a second root node; reading stops here")
            return 0
        if len(self.stack) >= self.max_depth:
            self.blob.add("depth", offset, f"more than {self.max_depth} levels of nodes")
            return 0
        node = Node(self.node_name(offset, stop, self.items is None), offset)
        if self.items is None:
            blob.root = node
        else:
            self.items.append(node)
        self.items = node.items
        self.stack.append(node)
        return 2 + (stop - offset - 4) // 4

    def end_node(self, _: int, offset: int) -> int:
        """The end of the innermost open node."""
        if not self.stack:
            self.blob.add("unbalanced", offset, "FDT_END_NODE without an open node")
            return 0
        self.close(self.stack.pop())
        self.items = self.stack[-1].items if self.stack else None
        return 1

    def read_nop(self, _: int, offset: int) -> int:
        """A word that says nothing; it is kept, so that the block can be written back."""
        if self.items is not None:
            self.items.append(Nop(offset))
        elif self.blob.root is None:
            self.blob.nops_before += 1
        else:
            self.blob.nops_after += 1
        return 1

    def end_block(self, _index: int, _offset: int) -> int:
        """The end of the block."""
        self.ended = True
        return 1

    def unknown_token(self, index: int, offset: int) -> int:
        """Anything else."""
        tag = self.words[index]
        self.blob.add("unknown-tag", offset, f"unknown token {tag:#x}; reading stops here")
        return 0

    def finish(self, end: int) -> bool:
        """Close what is open, and say what is missing."""
        blob, stack, limit, ended = self.blob, self.stack, self.limit, self.ended
        blob.struct_end = min(end, limit)
        for node in stack:
            self.close(node)
        if stack:
            shown = stack[-1].name[:_SHOWN]
            message = f"the structure ends inside node {shown!r}, {len(stack)} levels deep"
            self.blob.add("missing-end", blob.struct_end, message)
        elif not ended:
            self.blob.add("missing-end", blob.struct_end, "FDT_END is missing")
        if blob.root is None:
            self.blob.add("no-root", blob.struct_end, "there is no root node")
        if ended and blob.version >= 17 and blob.data[end:limit].strip(b"\0"):
            self.blob.add("data-after-end", end, "bytes follow FDT_END in the structure block")
        if self.remarks > MAX_REMARKS:
            more = f"{self.remarks - MAX_REMARKS} more problems are not listed"
            blob.add("limit", blob.struct_end, more)
        return ended and not stack and blob.root is not None and self.lossless

    def name(self, name_offset: int, offset: int) -> tuple[str, bool]:
        """Name at ``name_offset`` bytes into the strings block, and whether it is unknown."""
        strings = self.blob.strings
        whole = self.blob.off_dt_strings + self.blob.size_dt_strings <= len(self.blob.data)
        stop = strings.find(0, name_offset, name_offset + self.max_name + 1)
        result = ("", True)
        if stop >= 0:
            result = (strings[name_offset:stop].decode("latin-1"), False)
        elif name_offset + self.max_name < len(strings):
            raw = strings[name_offset : name_offset + self.max_name]
            result = (raw.decode("latin-1"), False)
            message = f"a property name is longer than {self.max_name} bytes"
            self.remark("name-too-long", offset, message)
        elif name_offset >= self.blob.size_dt_strings or whole:
            message = f"property name at {name_offset:#x} of the strings block has no end"
            self.remark("bad-offset", offset + 8, message)
        if not result[1]:
            self.check_name(result[0], offset, "property")
        self.names[name_offset] = result
        return result

    def node_name(self, offset: int, stop: int, is_root: bool) -> str:
        raw = self.blob.data[offset + 4 : stop]
        if len(raw) > self.max_name:
            message = f"a node name of {len(raw)} bytes is cut to {self.max_name}"
            self.remark("name-too-long", offset, message)
            self.lossless = False
            raw = raw[: self.max_name]
        name = raw.decode("latin-1")
        if self.old:
            # fdt_get_name() takes what follows the last slash, and wants one.
            _, slash, name = name.rpartition("/")
            if not slash and not is_root:
                message = f"node name {name[:_SHOWN]!r} is not a path, as version 2 and 3 want it"
                self.remark("name-not-a-path", offset, message)
        if not is_root:
            self.check_name(name, offset, "node")
        elif name:
            self.blob.add("named-root", offset, f"the root node is named {name[:_SHOWN]!r}")
        return name

    def check_name(self, name: str, offset: int, kind: str) -> None:
        if not name:
            self.remark("name-empty", offset, f"a {kind} name is empty")
        elif not (name.isascii() and name.isprintable()):
            message = f"{kind} name {name[:_SHOWN]!r} is not printable ASCII"
            self.remark("name-not-ascii", offset, message)
        if "/" in name:
            self.remark("slash-in-name", offset, f"{kind} name {name[:_SHOWN]!r} has a slash")

    def close(self, node: Node) -> None:
        """Report what libfdt would not find in a node; sets keep this linear."""
        properties: set[str] = set()
        children: set[str] = set()
        late = False
        for item in node.items:
            if isinstance(item, Property):
                if children and not late:
                    late = True
                    message = "a property follows a child node; libfdt does not find it"
                    self.remark("property-after-node", item.tag_offset, message)
                seen, kind = properties, "property"
                if item.recovered:
                    continue
            elif isinstance(item, Node):
                seen, kind = children, "node"
            else:
                continue
            if item.name in seen:
                message = f"{kind} {item.name[:_SHOWN]!r} appears again in the same node"
                self.remark(f"duplicate-{kind}", item.tag_offset, message)
            else:
                seen.add(item.name)
