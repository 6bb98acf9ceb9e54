"""What kernels say of a handover: the one table that turns their lines into facts.

The texts are those of releases 6.16 to 7.3: kernel/liveupdate, kernel/kexec_handover.c,
mm/memblock.c, mm/memfd_luo.c, lib/test_kho.c, lib/tests/liveupdate.c, and of the oops paths of
x86-64 and arm64.
"""

from __future__ import annotations

import re
from enum import StrEnum

from khotool.lab.facts import is_fact
from khotool.records import dataclass


class Stage(StrEnum):
    """Where in a boot a line belongs, in the words of ``check --kernel``."""

    ROOT = "kho-root"
    MAP = "map"
    MEMBLOCK = "memblock"
    LUO = "luo"
    METADATA = "kexec-metadata"
    TEST = "kho-test"
    FLBS = "flbs"
    FILES = "files"
    KERNEL = "kernel"


class Said(StrEnum):
    """What a kernel says."""

    BANNER = "banner"
    FOUND = "found"
    GIVEN_UP = "given-up"
    ROOT_REFUSED = "root-refused"
    MAP_REFUSED = "map-refused"
    REVIVED = "revived"
    REGION_REFUSED = "region-refused"
    ENTRY_REFUSED = "entry-refused"
    LUO_TAKEN = "luo-taken"
    LUO_REFUSED = "luo-refused"
    LUO_OFF = "luo-off"
    METADATA = "metadata"
    METADATA_REFUSED = "metadata-refused"
    TEST_PASSED = "test-passed"
    TEST_FAILED = "test-failed"
    FLB_FOUND = "flb-found"
    FLB_REFUSED = "flb-refused"
    FILE_REFUSED = "file-refused"
    BAD_PAGE = "bad-page"
    WARNING = "warning"
    STALL = "stall"
    OOPS = "oops"
    PANIC = "panic"
    REFUSED = "refused"
    RESTART = "restart"
    NO_INIT = "no-init"
    KHO_OFF = "kho-off"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the kernel that says something of the handover.

    Args:
        name: of what it is about, where it says one: a region, an FLB, a release.
        text: the line, without its time.
    """

    said: Said
    stage: Stage
    name: str
    text: str


_TABLE: tuple[tuple[str, Said, Stage], ...] = (
    (r"Linux version (?P<name>[0-9]+\.[0-9]+\S*) ", Said.BANNER, Stage.KERNEL),
    (r"KHO: found kexec handover data", Said.FOUND, Stage.ROOT),
    (r"KHO: disabling KHO revival", Said.GIVEN_UP, Stage.ROOT),
    (r"KHO: setup: ", Said.ROOT_REFUSED, Stage.ROOT),
    (r"setup: failed to memremap kho data", Said.ROOT_REFUSED, Stage.ROOT),
    (r"KHO: failed to get preserved ", Said.MAP_REFUSED, Stage.MAP),
    (r"KHO: failed to restore folio for KHO fdt", Said.MAP_REFUSED, Stage.MAP),
    (r"KHO: Failed to reserve .*scratch", Said.KHO_OFF, Stage.ROOT),
    (r"Revived memory reservation '(?P<name>.*)' from KHO", Said.REVIVED, Stage.MEMBLOCK),
    (r"KHO reserve-mem '(?P<name>.*)' has wrong ", Said.REGION_REFUSED, Stage.MEMBLOCK),
    (r"Node '(?P<name>.*)' is incompatible with ", Said.REGION_REFUSED, Stage.MEMBLOCK),
    (r"FDT 'memblock' is incompatible with ", Said.ENTRY_REFUSED, Stage.MEMBLOCK),
    (r"failed to retrieve FDT '(?P<name>memblock)' from KHO", Said.ENTRY_REFUSED, Stage.MEMBLOCK),
    (r"test_kho: KHO restore succeeded", Said.TEST_PASSED, Stage.TEST),
    (r"test_kho: KHO restore failed", Said.TEST_FAILED, Stage.TEST),
    (r"KHO: broken KHO subnode '(?P<name>.*)':", Said.ENTRY_REFUSED, Stage.ROOT),
    (r"KHO: node \S+ missing or invalid", Said.ENTRY_REFUSED, Stage.ROOT),
    (r"KHO: node .* prop .* has invalid length", Said.ENTRY_REFUSED, Stage.ROOT),
    (r"KHO: exec from: (?P<name>\S+) \(count", Said.METADATA, Stage.METADATA),
    (r"KHO: kexec-metadata ", Said.METADATA_REFUSED, Stage.METADATA),
    (r"luo: Retrieved live update data", Said.LUO_TAKEN, Stage.LUO),
    (r"luo: Disabling liveupdate because KHO is disabled", Said.LUO_OFF, Stage.LUO),
    (r"memfd_luo: ", Said.FILE_REFUSED, Stage.FILES),
    (
        r"liveupdate test: (?P<name>\S+): found flb data from the previous boot",
        Said.FLB_FOUND,
        Stage.FLBS,
    ),
    (
        r"liveupdate test: liveupdate_flb_get_incoming for (?P<name>\S+) failed",
        Said.FLB_REFUSED,
        Stage.FLBS,
    ),
    (r"liveupdate test: (?P<name>\S+): ERROR", Said.FLB_REFUSED, Stage.FLBS),
    (r"luo: Failed to deserialize files", Said.FILE_REFUSED, Stage.FILES),
    (r"luo: (?:No registered handler|File count mismatch|Failed)", Said.FILE_REFUSED, Stage.FILES),
    (r"luo: ", Said.LUO_REFUSED, Stage.LUO),
    (r"BUG: Bad (?:page|rss|swap)", Said.BAD_PAGE, Stage.KERNEL),
    (
        r"Kernel panic - not syncing: The incoming tree failed to initialize",
        Said.REFUSED,
        Stage.LUO,
    ),
    (r"reboot: (?:Restarting|machine restart|Power)", Said.RESTART, Stage.KERNEL),
    (r"Kernel panic - not syncing: (?:No working init|VFS: )", Said.NO_INIT, Stage.KERNEL),
    (r"Kernel panic - not syncing", Said.PANIC, Stage.KERNEL),
    (
        r"(?:BUG: unable to handle|BUG: kernel NULL|kernel BUG at|Oops: |Oops - |Internal error: |"
        r"general protection fault|Unable to handle kernel|PANIC: |BUG: scheduling|int3: )",
        Said.OOPS,
        Stage.KERNEL,
    ),
    (r"(?:BUG: soft lockup|rcu: INFO: .* stall|blocked for more than)", Said.STALL, Stage.KERNEL),
    (r"WARNING: ", Said.WARNING, Stage.KERNEL),
)
_RULES = tuple((re.compile(pattern), said, stage) for pattern, said, stage in _TABLE)
_TIME = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[[^\]]*\])? ?")
DEAD = re.compile(rb"PANIC: early exception|end Kernel panic - not syncing")
"""After this a kernel stands still: before it can restart, or where nothing makes it restart."""
FATAL = frozenset({Said.PANIC, Said.OOPS, Said.REFUSED})


def read_lines(console: str) -> list[Line]:
    """The lines of a console that say something of the handover, in order."""
    found = []
    for raw in console.splitlines():
        text = _TIME.sub("", raw.rstrip())
        if not text or is_fact(text):
            continue
        for rule, said, stage in _RULES:
            match = rule.search(text)
            if match is not None:
                name = match.groupdict().get("name") or ""
                found.append(Line(said, stage, name, text))
                break
    return found
