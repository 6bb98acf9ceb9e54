"""The header tests that decide whether a kernel looks at a blob at all."""

from __future__ import annotations

from khotool.fdt.blob import MAGIC, Blob, Problem


def check(blob: Blob) -> list[Problem]:
    """What libfdt's ``fdt_check_header`` would answer, all failed tests rather than the first.

    ``parse`` lets no other magic through, but a damaged root that a scan found may have one. The
    address of a blob in memory, which libfdt wants to be a multiple of 8, is the caller's to
    check. Each message starts with the libfdt error name.
    """
    found: list[Problem] = []

    def fail(error: str, offset: int, message: str) -> None:
        slug = "libfdt-" + error.removeprefix("FDT_ERR_").lower()
        found.append(Problem(slug, offset, f"-{error}: {message}"))

    if blob.data and blob.data[:4] != MAGIC.to_bytes(4, "big"):
        fail("FDT_ERR_BADMAGIC", 0, f"magic is 0x{blob.data[:4].hex()}")
    if blob.version < 2:
        fail("FDT_ERR_BADVERSION", 20, f"version {blob.version} is older than 2")
    if blob.last_comp_version > 17:
        fail("FDT_ERR_BADVERSION", 24, f"last_comp_version {blob.last_comp_version} is above 17")
    if blob.version < blob.last_comp_version:
        fail(
            "FDT_ERR_BADVERSION",
            24,
            f"version {blob.version} is below last_comp_version {blob.last_comp_version}",
        )
    first, last = blob.header_size, blob.totalsize
    if last < first or last > 0x7FFFFFFF:
        fail("FDT_ERR_TRUNCATED", 4, f"totalsize {last} is not between {first} and 2^31-1")
    if blob.off_mem_rsvmap % 8:
        message = f"off_mem_rsvmap {blob.off_mem_rsvmap} is not a multiple of 8"
        fail("FDT_ERR_ALIGNMENT", 16, message)
    if blob.off_dt_struct % 4:
        fail("FDT_ERR_ALIGNMENT", 8, f"off_dt_struct {blob.off_dt_struct} is not a multiple of 4")

    def block(name: str, offset: int, start: int, size: int) -> None:
        if start < first or start + size > last:
            fail(
                "FDT_ERR_TRUNCATED",
                offset,
                f"{name} {start}..{start + size} is not inside {first}..{last}",
            )

    block("off_mem_rsvmap", 16, blob.off_mem_rsvmap, 0)
    # Before version 17 the header has no size of the structure block to check.
    struct_size = blob.size_dt_struct if blob.version >= 17 else 0
    block("dt_struct", 8, blob.off_dt_struct, struct_size)
    block("dt_strings", 12, blob.off_dt_strings, blob.size_dt_strings)
    return found
