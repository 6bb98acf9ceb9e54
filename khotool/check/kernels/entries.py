"""Entries beside LUO: reserve_mem regions, kexec-metadata, the kernel's own test."""

from __future__ import annotations

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.check.kernels.families import Kernel
from khotool.check.kernels.verdict import Outcome, Verdict
from khotool.check.rules.payload import preserved_size
from khotool.image.model import Node

METADATA_VERSION = 1
TEST_MAGIC = 0x4B484F21


def broken_entry(context: Context, kernel: Kernel, entry: Node) -> str:
    """The line for an entry that kho_retrieve_subtree refuses, or nothing."""
    if not isinstance(entry.value_of("address"), int):
        return f"KHO: broken KHO subnode '{entry.name}': missing or invalid address"
    if kernel.sized_entries and not isinstance(entry.value_of("size"), int):
        return f"KHO: broken KHO subnode '{entry.name}': missing or invalid blob-size property"
    return ""


def judge_memblock(context: Context, kernel: Kernel, verdict: Verdict) -> None:
    """reserve_mem_kho_retrieve_fdt and reserve_mem_kho_revive: never fatal."""
    entry = context.image.entry("memblock")
    if entry is None:
        return
    message = broken_entry(context, kernel, entry)
    regions = entry.get("regions")
    if not message and (regions is None or entry.value_of("compatible") != "memblock-v1"):
        message = "FDT 'memblock' is incompatible with 'memblock-v1'"
    if message or regions is None:
        verdict.add("memblock", Outcome.PARTIAL, message, "no region is revived")
        return
    worst = Outcome.ACCEPT
    for region in regions.elements():
        line = broken_region(context, region)
        if line:
            worst = Outcome.PARTIAL
            verdict.add("memblock", Outcome.PARTIAL, line)
    if worst is Outcome.ACCEPT:
        verdict.add("memblock", Outcome.ACCEPT)


def broken_region(context: Context, region: Node) -> str:
    """The line for a region that is not revived, or nothing.

    The command line of the next kernel is not in the image; that it asks for what is preserved
    is assumed.
    """
    name = region.value_of("name") or region.key
    start, size = region.value_of("start"), region.value_of("size")
    if region.value_of("compatible") != "reserve-mem-v1":
        return f"Reserve map '{name}' is incompatible with 'reserve-mem-v1'"
    if not isinstance(start, int) or not isinstance(size, int):
        return f"Reserve map '{name}' has no start or size"
    if start % context.image.geometry.page_size or not start:
        return f"KHO reserve-mem '{name}' has wrong alignment"
    preserved = preserved_size(context, start, size) if size else 0
    if preserved is not None and preserved != size:
        return f"KHO reserve-mem '{name}' has wrong size  ({size:#x} != {preserved:#x})"
    if not isinstance(context.image.map, Absent) and (
        context.image.map.blocks.block_of(start) is None
    ):
        return f"KHO reserve-mem '{name}' is not preserved"
    return ""


def judge_metadata(context: Context, kernel: Kernel, verdict: Verdict) -> None:
    """kho_in_kexec_metadata: every fault is a warning and the record is ignored."""
    entry = context.image.entry("kexec-metadata")
    if entry is None or not kernel.metadata:
        return
    version = entry.value_of("version")
    if version == METADATA_VERSION:
        verdict.add("kexec-metadata", Outcome.ACCEPT)
    elif isinstance(version, int):
        text = f"KHO: kexec-metadata version {version} not supported (expected 1)"
        verdict.add("kexec-metadata", Outcome.ACCEPT, text)
    else:
        verdict.add("kexec-metadata", Outcome.ACCEPT, broken_entry(context, kernel, entry))


def judge_kho_test(context: Context, kernel: Kernel, verdict: Verdict) -> None:
    """kho_test_restore: the kernel's own test, where it is built in."""
    entry = context.image.entry("kho_test")
    if entry is None:
        return
    why = broken_test(context, kernel, entry)
    if why:
        verdict.add("kho-test", Outcome.PARTIAL, "test_kho: KHO restore failed", why)
    else:
        verdict.add("kho-test", Outcome.ACCEPT, "test_kho: KHO restore succeeded")


def broken_test(context: Context, kernel: Kernel, entry: Node) -> str:
    """Why the test fails, or nothing; contents that were not captured count as right."""
    image = context.image
    message = broken_entry(context, kernel, entry)
    if message:
        return message
    if entry.value_of("compatible") != "kho-test-v1" or entry.value_of("magic") != TEST_MAGIC:
        return "compatible or magic is wrong"
    layout = next((c.layout for c in image.choices if c.definition == "kho-test-v1"), "")
    if (layout == "inline") != kernel.test_inline:
        return f"the list of folios is {layout}, this kernel reads the other layout"
    folios = entry.get("folios")
    number = entry.value_of("nr_folios")
    if folios is None or folios.table is None or not isinstance(number, int) or not number:
        return "there is no list of folios"
    table = folios.table
    if not folios.children and table.declared != number:
        return "nr_folios is not the length of the list"
    broken = {f.rule for f in image.findings if f.path.startswith(folios.path)}
    if broken & {"REC402", "REC403", "REC406", "REC407", "REC408", "MEM301"}:
        return "the list of folios cannot be restored"
    if isinstance(image.map, Absent):
        return ""
    addresses, orders = table.column("address"), table.column("order")
    starts, found = image.map.blocks.blocks_of(addresses)
    wrong = (starts != addresses) | (found != orders.astype(found.dtype))
    if len(wrong) and bool(wrong.any()):
        return f"folio [{int(wrong.argmax())}] is not preserved with its order"
    probe = Context(image)
    from khotool.check.rules.payload import check_kho_test

    check_kho_test(probe)
    return probe.findings[0].message if probe.findings else ""
