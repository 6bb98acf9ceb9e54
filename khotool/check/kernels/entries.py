"""Entries beside LUO: reserve_mem regions, kexec-metadata, the kernel's own test."""

from __future__ import annotations

import numpy as np

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.kernels.boot import Boot
from khotool.check.kernels.memfd import restore_vmalloc
from khotool.check.kernels.verdict import Outcome
from khotool.check.rules.payload import check_kho_test, region_extent
from khotool.model.image import Node

METADATA_VERSION = 1
TEST_MAGIC = 0x4B484F21


def broken_entry(boot: Boot, entry: Node) -> str:
    """The line for an entry that kho_retrieve_subtree refuses, or nothing."""
    if not isinstance(entry.value_of("address"), int):
        return f"KHO: broken KHO subnode '{entry.name}': missing or invalid address"
    if boot.kernel.sized_entries and not isinstance(entry.value_of("size"), int):
        return f"KHO: broken KHO subnode '{entry.name}': missing or invalid blob-size property"
    return ""


def entry_faults(boot: Boot, entry: Node, stage: str) -> bool:
    """Record a panic if the blob of an entry lies where there is no memory."""
    address = entry.value_of("address")
    if not boot.beyond(address):
        return False
    why = f"{entry.path} is at {address:#x}, where there is no memory"
    boot.verdict.add(stage, Outcome.PANIC, "", why)
    return True


def judge_memblock(boot: Boot) -> None:
    """reserve_mem_kho_retrieve_fdt and reserve_mem_kho_revive: never fatal."""
    entry = boot.image.entry("memblock")
    if entry is None:
        return
    message = broken_entry(boot, entry)
    if not message and entry_faults(boot, entry, "memblock"):
        return
    regions = entry.get("regions")
    if not message and (regions is None or entry.value_of("compatible") != "memblock-v1"):
        message = "FDT 'memblock' is incompatible with 'memblock-v1': 1"
    if message or regions is None:
        boot.verdict.add("memblock", Outcome.PARTIAL, message, "no region is revived")
        return
    whole = True
    for region in regions.elements():
        outcome, line, why = judge_region(boot, region)
        if outcome is not Outcome.ACCEPT:
            whole = False
            boot.verdict.add("memblock", outcome, line, why)
    if whole:
        boot.verdict.add("memblock", Outcome.ACCEPT)


def judge_region(boot: Boot, region: Node) -> tuple[Outcome, str, str]:
    """Whether a region is revived, and at its own place.

    The command line of the next kernel is not in the image; that it asks for what is preserved
    is assumed. The kernel does not look whether the region is preserved.
    """
    name = region.value_of("name") or region.key
    start, size = region.value_of("start"), region.value_of("size")
    if region.value_of("compatible") != "reserve-mem-v1":
        text = f"Node '{name}' is incompatible with 'reserve-mem-v1': 1"
        return Outcome.PARTIAL, text, ""
    if not isinstance(start, int) or not isinstance(size, int):
        return Outcome.PARTIAL, "", f"{region.path} has no start or size"
    if start % boot.image.geometry.page_size:
        return Outcome.PARTIAL, f"KHO reserve-mem '{name}' has wrong alignment", ""
    extent = region_extent(boot.context, region)
    if extent is None or extent == size:
        return Outcome.ACCEPT, "", ""
    if not extent:
        why = f"{region.path} is revived at {start:#x}, which is not preserved for it"
        return Outcome.CORRUPT, f"Revived memory reservation '{name}' from KHO", why
    text = f"KHO reserve-mem '{name}' has wrong size  ({size:#x} != {extent:#x})"
    return Outcome.PARTIAL, text, ""


def judge_metadata(boot: Boot) -> None:
    """kho_in_kexec_metadata: every fault is a warning and the record is ignored."""
    entry = boot.image.entry("kexec-metadata")
    if entry is None or not boot.kernel.asks_for("kexec-metadata"):
        return
    version = entry.value_of("version")
    message = broken_entry(boot, entry)
    if not message and entry_faults(boot, entry, "kexec-metadata"):
        return
    if not message and isinstance(version, int) and version != METADATA_VERSION:
        message = f"KHO: kexec-metadata version {version} not supported (expected 1)"
    boot.verdict.add("kexec-metadata", Outcome.ACCEPT, message)


def judge_kho_test(boot: Boot) -> None:
    """kho_test_restore: the kernel's own test, where it is built in."""
    entry = boot.image.entry("kho_test")
    if entry is None or isinstance(entry.value, Absent):
        return
    refused = broken_entry(boot, entry)
    if refused:
        boot.verdict.add("kho-test", Outcome.PARTIAL, refused)
        return
    if entry_faults(boot, entry, "kho-test"):
        return
    why = broken_test(boot, entry)
    if why:
        boot.verdict.add("kho-test", Outcome.PARTIAL, "test_kho: KHO restore failed", why)
    else:
        line = "" if boot.unseen else "test_kho: KHO restore succeeded"
        boot.verdict.add("kho-test", Outcome.ACCEPT, line, boot.unseen)


def broken_test(boot: Boot, entry: Node) -> str:
    """Why the test fails, or nothing; contents that were not captured count as right."""
    image = boot.image
    if entry.value_of("compatible") != "kho-test-v1" or entry.value_of("magic") != TEST_MAGIC:
        return "compatible or magic is wrong"
    layout = next((c.layout for c in image.choices if c.definition == "kho-test-v1"), "")
    if layout != boot.kernel.test_layout:
        return f"the list of folios is {layout}, this kernel reads the other layout"
    if boot.unseen:
        return ""
    folios = entry.get("folios")
    number = entry.value_of("nr_folios")
    if not isinstance(entry.value_of("csum"), int) or not isinstance(number, int):
        return "csum or nr_folios is missing"
    if folios is None or folios.table is None or not number:
        return "there is no list of folios"
    if layout != "inline" and restore_vmalloc(boot, folios) is not None:
        return "the list of folios cannot be restored"
    table = folios.table
    addresses, orders = table.column("address"), table.column("order")
    # The first row that names no folio ends the test, with all that was preserved behind it.
    used = int(np.argmin(addresses != 0)) if not bool(addresses.all()) else len(table)
    if bool(addresses[used:].any()) or folios.path in boot.cut:
        return "folios behind the end of the list are not read"
    bad = boot.take(addresses[:used])
    if bad is not None:
        return f"folio [{bad}] is not preserved"
    if not isinstance(image.map, Absent):
        _, found = image.map.blocks.blocks_of(addresses[:used])
        wrong = found != orders[:used].astype(found.dtype)
        if bool(wrong.any()):
            return f"folio [{int(wrong.argmax())}] is not preserved with its order"
    probe = Context(image)
    check_kho_test(probe)
    return probe.findings[0].message if probe.findings else ""
