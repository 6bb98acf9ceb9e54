"""Entries beside LUO: reserve_mem regions, kexec-metadata, the kernel's own test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from khotool.check.context import Context
from khotool.check.kernels.boot import Boot
from khotool.check.kernels.memfd import FAULT, NOT_JUDGED, OK, Retrieved, restore_vmalloc
from khotool.check.kernels.verdict import Outcome, Step, Unseen
from khotool.check.rules.payload import check_kho_test, region_extent, region_nodes
from khotool.fdt.libfdt import check_compatible
from khotool.model.image import Node, Table
from khotool.pages.around import range_around
from khotool.pages.runs import merge_columns

TEST = "kho-test-v1"
"""String, and id of the definition, of the kernel's own test."""
EINVAL = -22
TREE_SIZE = 4
"""Offset of what libfdt reads first in a tree whose magic is not checked."""
MOST_FOLIOS = 64
"""Folios of the test that are looked at for another owner."""
FAILED = "failed"
"""Status of the kernel's own test where it ends before the checksum."""


def refused_entry(boot: Boot, entry: Node, caller: str) -> tuple[str, ...]:
    """The lines about an entry that kho_retrieve_subtree refuses, or none.

    Args:
        caller: the line of whoever asked for the entry.
    """
    if not isinstance(entry.value_of("address"), int):
        return (caller,)
    if boot.kernel.sized_entries and not isinstance(entry.value_of("size"), int):
        line = f"KHO: broken KHO subnode '{entry.name}': missing or invalid blob-size property"
        return line, caller
    return ()


def judge_memblock(boot: Boot) -> None:
    """reserve_mem_kho_retrieve_fdt and reserve_mem_kho_revive: never fatal."""
    entry = boot.image.entry("memblock")
    if entry is not None and _memblock_is_read(boot, entry):
        _judge_regions(boot)


def _memblock_is_read(boot: Boot, entry: Node) -> bool:
    """reserve_mem_kho_retrieve_fdt: True if the tree is accepted; else the reason is recorded."""
    nothing = "no region is revived"
    caller = f"failed to retrieve FDT 'memblock' from KHO: {EINVAL}"
    lines = refused_entry(boot, entry, caller)
    if lines:
        boot.verdict.add("memblock", Outcome.PARTIAL, *lines, why=nothing)
        return False
    address = entry.value_of("address")
    if boot.panics_beyond("memblock", f"{entry.path}/address", address, TREE_SIZE):
        return False
    data = boot.tree_bytes(entry)
    gap = boot.gap(address) if not data else None
    if gap is not None:
        boot.verdict.not_judged("memblock", gap, f"the tree at {address:#x} is not in the image")
        return False
    error = check_compatible(data, "memblock-v1")
    if error:
        line = f"FDT 'memblock' is incompatible with 'memblock-v1': {error}"
        # What the memory holds by then, which is not preserved, decides which error it is.
        boot.verdict.add("memblock", Outcome.PARTIAL, *((line,) if data else ()), why=nothing)
    return not error


def _judge_regions(boot: Boot) -> None:
    """reserve_mem_kho_revive of every region."""
    regions = region_nodes(boot.image)
    steps = [judge_region(boot, region) for region in regions]
    steps += twice(regions)
    faults = [step for step in steps if step.outcome is not Outcome.ACCEPT]
    if faults:
        boot.verdict.steps += faults
    elif not regions and boot.something_lost:
        why = "the tree names no region, but memory is preserved"
        boot.verdict.add("memblock", Outcome.PARTIAL, why=why)
    elif regions and boot.blocks is None:
        why = "whether the regions are preserved is not in the image"
        boot.verdict.accept_unseen("memblock", boot.map_unseen(), why)
    else:
        boot.verdict.add("memblock", Outcome.ACCEPT)


def twice(regions: list[Node]) -> Iterator[Step]:
    """Regions whose name is that of an earlier one; the kernel asks by name and finds that one."""
    seen: set[object] = set()
    for region in regions:
        name = region.value_of("name") or region.key
        if name in seen:
            why = f"{region.path} has the name of an earlier region, which is found instead"
            yield Step("memblock", Outcome.PARTIAL, (), why)
        seen.add(name)


def judge_region(boot: Boot, region: Node) -> Step:
    """Whether a region is revived, and at its own place.

    The command line of the next kernel is not in the image; that it asks for what is preserved
    is assumed. The kernel does not check whether the region is preserved.
    """
    name = region.value_of("name") or region.key
    start, size = region.value_of("start"), region.value_of("size")
    if region.value_of("compatible") != "reserve-mem-v1":
        line = f"Node '{name}' is incompatible with 'reserve-mem-v1': 1"
        return _region_step(Outcome.PARTIAL, line)
    if not isinstance(start, int) or not isinstance(size, int):
        return _region_step(Outcome.PARTIAL, why=f"{region.path} has no start or size")
    page = boot.image.geometry.page_size
    if start % page:
        why = "the command line is taken to ask for whole pages"
        return _region_step(Outcome.PARTIAL, _misaligned(name, page, start), why)
    if boot.stray_region(start):
        why = f"{region.path} is at {start:#x}, where there is no memory"
        return _region_step(Outcome.PANIC, why=why)
    if boot.blocks is None:
        return _region_step(Outcome.ACCEPT)
    return _revive(boot, region, start, size)


def _revive(boot: Boot, region: Node, start: int, size: int) -> Step:
    """A region against what is preserved, which the command line is taken to ask for.

    Args:
        start: physical address that the region claims; size: bytes.
    """
    name, extent = region.value_of("name") or region.key, region_extent(boot.context, region)
    if extent is None or extent == size:
        return _region_step(Outcome.ACCEPT)
    revived = f"Revived memory reservation '{name}' from KHO"
    if _has_gap(boot, start + extent, start + size):
        why = f"{region.path} is preserved to its end, but not from {start + extent:#x} on"
        return _region_step(Outcome.CORRUPT, revived, why)
    if extent and size not in (length for _, length in _leaks(boot)):
        line = f"KHO reserve-mem '{name}' has wrong size ({size:#x} != {extent:#x})"
        why = "the command line is taken to ask for what is preserved"
        return _region_step(Outcome.PARTIAL, line, why)
    align = asked_alignment(boot, start, size)
    if align and start % align:
        why = "the command line is taken to ask for the alignment that the region's memory has"
        return _region_step(Outcome.PARTIAL, _misaligned(name, align, start), why)
    why = f"{region.path} is revived at {start:#x}, which is not preserved for it"
    return _region_step(Outcome.CORRUPT, revived, why)


def _has_gap(boot: Boot, after: int, end: int) -> bool:
    """True if the map lacks pages of a region: what is preserved beyond them ends with it.

    Args:
        after: physical address up to which it is preserved; end: of the region.
    """
    last = range_around(boot.blocks, end - 1) if boot.blocks is not None else None
    return last is not None and after < last[0] and last[1] == end


def _region_step(outcome: Outcome, line: str = "", why: str = "") -> Step:
    return Step("memblock", outcome, (line,) if line else (), why)


def _misaligned(name: object, align: int, start: int) -> str:
    return f"KHO reserve-mem '{name}' has wrong alignment ({align:#x}, {start:#x})"


def asked_alignment(boot: Boot, start: int, size: int) -> int:
    """Alignment in bytes that a region was asked for with, as its own memory shows; 0 if unknown.

    Its own memory is preserved, of its size, and around its start or without an owner. An
    alignment beyond its size is not accidental.

    Args:
        start: physical address that the region claims; size: bytes.
    """
    if boot.blocks is None:
        return 0
    low, high = range_around(boot.blocks, start) or (0, 0)
    own = (low for low, length in ((low, high - low), *_leaks(boot)) if length == size)
    return next((low & -low for low in own if low & -low > size), 0)


def _leaks(boot: Boot) -> Iterator[tuple[int, int]]:
    """Preserved ranges without an owner, across blocks: physical address and bytes."""
    owned, page = boot.image.ownership(), np.uint64(boot.image.geometry.page_size)
    first = past = np.zeros(0, np.uint64)
    for part in owned.pieces() if owned is not None else ():
        free = part.owner < 0
        low = part.start[free]
        high = low + part.pages[free].astype(np.uint64) * page
        # The last one may go on in the next part.
        first, past = merge_columns(
            np.concatenate([first[-1:], low]), np.concatenate([past[-1:], high])
        )
        yield from zip(first[:-1].tolist(), (past - first)[:-1].tolist(), strict=True)
    yield from zip(first[-1:].tolist(), (past - first)[-1:].tolist(), strict=True)


def judge_metadata(boot: Boot) -> None:
    """kho_in_kexec_metadata: every fault is a warning and the record is ignored."""
    entry = boot.image.entry("kexec-metadata")
    if entry is None or not boot.kernel.asks_for("kexec-metadata"):
        return
    lines = refused_entry(boot, entry, "")[:-1]
    address = entry.value_of("address")
    if not lines and boot.panics_beyond("kexec-metadata", f"{entry.path}/address", address):
        return
    version = entry.value_of("version")
    if not lines and not isinstance(version, int) and (gap := boot.gap(address)) is not None:
        boot.verdict.accept_unseen("kexec-metadata", gap, "the record is not in the image")
        return
    boot.verdict.add("kexec-metadata", Outcome.ACCEPT, *(lines or metadata_lines(boot, entry)))


def metadata_lines(boot: Boot, entry: Node) -> tuple[str, ...]:
    """What is said about the record."""
    version, size = entry.value_of("version"), entry.value_of("size")
    record = boot.struct("kexec-metadata")
    right = record.by_label("version").field.expect
    if isinstance(size, int) and size < record.by_label("version").size:
        return (f"KHO: kexec-metadata blob too small ({size} bytes)",)
    if isinstance(version, int) and version != right:
        expected = f"(expected {right})"
        return (f"KHO: kexec-metadata version {version} not supported {expected}",)
    if isinstance(size, int) and size < record.size:
        text = f"kexec-metadata blob too small for v{version} ({size} < {record.size})"
        return (f"KHO: {text}",)
    name, count = entry.value_of("previous_release"), entry.value_of("kexec_count")
    if isinstance(name, str) and isinstance(count, int):
        return (f"KHO: exec from: {name} (count {count})",)
    return ()


def judge_kho_test(boot: Boot) -> None:
    """kho_test_restore: the kernel's own test, where it is built in."""
    entry = boot.image.entry("kho_test")
    if entry is None:
        return
    lines = refused_entry(boot, entry, f"test_kho: failed to retrieve kho_test FDT: {EINVAL}")
    if lines:
        boot.verdict.add("kho-test", Outcome.PARTIAL, *lines)
        return
    address = entry.value_of("address")
    if boot.panics_beyond("kho-test", f"{entry.path}/address", address, TREE_SIZE):
        return
    if not boot.tree_bytes(entry) and (gap := boot.gap(address)) is not None:
        boot.verdict.not_judged("kho-test", gap, f"the tree at {address:#x} is not in the image")
        return
    found = restored_test(boot, entry)
    if found.status == FAULT:
        boot.verdict.add("kho-test", Outcome.PANIC, why=found.why)
    elif found.status == NOT_JUDGED:
        boot.verdict.not_judged("kho-test", Unseen.NOT_CAPTURED, found.why)
    elif found != OK:
        lines = test_lines(boot, "failed")
        boot.verdict.add("kho-test", Outcome.PARTIAL, *lines, why=found.why)
    elif boot.unseen is not None:
        boot.verdict.not_judged("kho-test", *boot.unseen)
    else:
        _test_contents(boot, entry)


def _test_contents(boot: Boot, entry: Node) -> None:
    """The checksum over the folios, where they were captured."""
    probe = Context(boot.image)
    check_kho_test(probe)
    if probe.findings:
        why = f"the checksum over {entry.path}/folios differs"
        boot.verdict.add("kho-test", Outcome.PARTIAL, *test_lines(boot, "failed"), why=why)
    elif probe.skipped:
        why = "the checksum is over folios whose contents are not in the image"
        boot.verdict.accept_unseen("kho-test", Unseen.CONTENTS, why)
    else:
        boot.verdict.add("kho-test", Outcome.ACCEPT, *test_lines(boot, "succeeded"))


def test_lines(boot: Boot, result: str) -> tuple[str, ...]:
    """What the test says of itself; none where wrong memory is reserved, which may be anything."""
    silent = boot.kernel.does.test_is_silent and result == "failed"
    return () if silent or not boot.verdict.accepts("map") else (f"test_kho: KHO restore {result}",)


def restored_test(boot: Boot, entry: Node) -> Retrieved:
    """What becomes of the test before its checksum; ``ok`` where the checksum decides."""
    why = _broken_test_tree(boot, entry)
    folios = entry.get("folios")
    if why:
        return Retrieved(FAILED, why)
    if boot.unseen is not None or folios is None or folios.table is None:
        return OK
    fault = restore_vmalloc(boot, folios) if boot.kernel.test_layout != "inline" else None
    if fault is not None and fault.status == FAULT:
        return fault
    if fault is not None and fault.status != NOT_JUDGED:
        return Retrieved(FAILED, "the list of folios cannot be restored")
    return _restored_folios(boot, folios, folios.table)


def _test_magic(boot: Boot) -> int:
    """The magic number of the kernel's own test, as its definition has it."""
    tree = boot.image.registry.get(TEST).fdt
    assert tree is not None
    numbers = {field.name: field.expect for field in tree.properties}
    return numbers["magic"] or 0


def _broken_test_tree(boot: Boot, entry: Node) -> str:
    """Why the tree of the test is refused, or nothing."""
    image = boot.image
    if check_compatible(boot.tree_bytes(entry), TEST):
        return f"compatible is not {TEST!r}"
    if entry.value_of("magic") != (magic := _test_magic(boot)):
        return f"magic is not {magic:#x}"
    layout = next((c.layout for c in image.choices if c.definition == TEST), "")
    if layout != boot.kernel.test_layout:
        return f"the list of folios is {layout}, this kernel reads the other layout"
    if boot.unseen is not None:
        return ""
    folios = entry.get("folios")
    number = entry.value_of("nr_folios")
    if not isinstance(entry.value_of("csum"), int) or not isinstance(number, int):
        return "csum or nr_folios is missing"
    if folios is None or folios.table is None or not number:
        return "there is no list of folios"
    if layout == "inline" and number != len(folios.table):
        return f"nr_folios is {number}, the list has {len(folios.table)}"
    return ""


def _restored_folios(boot: Boot, folios: Node, table: Table) -> Retrieved:
    """What becomes of the folios of the test."""
    addresses, orders = table.column("address"), table.column("order")
    # The first row of 0 ends the test, with all that was preserved after it.
    named = (addresses != 0) | (orders != 0)
    used = int(np.argmin(named)) if not bool(named.all()) else len(table)
    if bool(addresses[used:].any()) or folios.path in boot.cut:
        return Retrieved(FAILED, "folios after the end of the list are not read")
    if any(boot.readers(address) for address in addresses[:used][:MOST_FOLIOS].tolist()):
        why = "a folio of the test has another owner, which is freed with it"
        return Retrieved(NOT_JUDGED, why)
    bad = boot.take(addresses[:used])
    if bad is not None:
        return Retrieved(FAILED, f"folio [{bad}] is not preserved")
    if boot.blocks is not None:
        _, found = boot.blocks.blocks_of(addresses[:used])
        wrong = found != orders[:used].astype(found.dtype)
        if bool(wrong.any()):
            return Retrieved(
                FAILED, f"folio [{int(wrong.argmax())}] is not preserved with its order"
            )
    return OK
