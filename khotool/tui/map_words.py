"""The map of preserved memory, word by word, and from a page to the bit that preserves it."""

from __future__ import annotations

from typing import Any

import numpy as np

from khotool.maps.nodes import leaf_bits
from khotool.maps.preserved import Chunk, MapPage, PageKind, PreservedMap
from khotool.maps.radix import key_of
from khotool.model.image import Image
from khotool.tui.memory_view import address_text
from khotool.tui.text import Line, count_text

WORD = 8
"""Bytes of a child address, and of a word of bits."""
LISTED = 4
"""Blocks of one word that are listed."""


def map_of(image: Image) -> PreservedMap | None:
    """The decoded map; None where it is absent."""
    return image.map if isinstance(image.map, PreservedMap) else None


def page_at(image: Image, address: int) -> MapPage | None:
    """The page of the map itself that holds a physical address in bytes."""
    found = map_of(image)
    if found is None or not len(found.pages):
        return None
    inside = np.flatnonzero(np.uint64(address) - found.pages.address < found.pages.size)
    return found.pages[int(inside[0])] if len(inside) else None


def word_line(image: Image, page: MapPage, address: int) -> Line:
    """What the word at a physical address of a page of the map says."""
    found = map_of(image)
    assert found is not None
    if page.kind is PageKind.CHUNK:
        return _chunk_line(found, page)
    slot = (address - page.address) // WORD
    word = _word(image, page.address + slot * WORD)
    if word is None:
        return [("not captured", "hole")]
    if page.kind in (PageKind.INTERIOR, PageKind.TABLE):
        line: Line = [(f"slot {slot} of {page.size // WORD}  ", "text")]
        return [*line, (f"→ {word:#x}", "pointer") if word else ("no child", "dim")]
    bits = [bit for bit in range(64) if word >> bit & 1]
    line = [(f"word {slot}, {count_text(len(bits), 'bit')} set", "text")]
    for bit in bits[:LISTED]:
        block = _block(image, found, page, slot * 64 + bit)
        if block is not None:
            line.append((f"  {address_text(block[0])} order {block[1]}", "address"))
    return [*line, ("  …", "dim")] if len(bits) > LISTED else line


def _word(image: Image, address: int) -> int | None:
    """The number at a physical address in the byte order of the image; None for a hole."""
    data = bytes_at(image, address, WORD)
    return int.from_bytes(data, image.geometry.byteorder) if len(data) == WORD else None


def bytes_at(image: Image, address: int, size: int) -> bytes:
    """At most ``size`` bytes from a physical address on, up to the first that is not captured."""
    data = b""
    if 0 <= address < (1 << 64) - size:
        for _, view, state in image.space.known(address, size):
            if view is None and state != "zero":
                break
            data += bytes(size - len(data)) if view is None else bytes(view)
    return data[:size]


def _chunk_line(found: PreservedMap, page: MapPage) -> Line:
    chunk = next((c for c in found.chunks if c.address == page.address), None)
    if chunk is None:
        return []
    text = f"order {chunk.order}, {count_text(chunk.num_elms, 'element')}"
    following = f"  next → {chunk.next:#x}" if chunk.next else "  the last"
    return [(text, "text"), (following, "pointer" if chunk.next else "dim")]


def _block(image: Image, found: PreservedMap, page: MapPage, bit: int) -> tuple[int, int] | None:
    """Physical address in bytes and order of the block of a bit; None where that is not known."""
    shift = image.geometry.page_shift
    if found.layout == "radix":
        return _block_of_key((page.prefix << leaf_bits(shift)) + bit, shift)
    for chunk in found.chunks:
        for element in _elements(chunk, page.address):
            return int(element["phys_start"]) + (bit << (shift + chunk.order)), chunk.order
    return None


def _block_of_key(key: int, page_shift: int) -> tuple[int, int] | None:
    """What ``key_of`` made a key of: physical address in bytes and order; None for a bad key."""
    order = 64 - page_shift - (key.bit_length() - 1)
    if key <= 0 or not 0 <= order <= 63 - page_shift:
        return None
    return (key << (page_shift + order)) % (1 << 64), order


def _elements(chunk: Chunk, bitmap: int) -> Any:
    elements = chunk.elements
    return elements[elements["bitmap"] == bitmap] if len(elements) else elements


def word_of_block(image: Image, start: int, order: int) -> int | None:
    """Physical address in bytes of the word of the map that preserves a block; None if unknown."""
    found, shift = map_of(image), image.geometry.page_shift
    if found is None or not len(found.pages):
        return None
    if found.layout == "radix":
        key, bits = key_of(start, order, shift), leaf_bits(shift)
        leaves = (found.pages.kind == PageKind.LEAF) & (found.pages.prefix == key >> bits)
        row = np.flatnonzero(leaves)
        bit = key & ((1 << bits) - 1)
        return int(found.pages.address[row[0]]) + bit // 64 * WORD if len(row) else None
    sizes = found.pages.size[found.pages.kind == PageKind.BITMAP]
    room = int(sizes[0]) * 8 if len(sizes) else 0
    for chunk in found.chunks:
        for element in chunk.elements if chunk.order == order else ():
            bit = (start - int(element["phys_start"])) >> (shift + order)
            if 0 <= bit < room:
                return int(element["bitmap"]) + bit // 64 * WORD
    return None
