"""Verdicts and findings for damage beyond what real kernels were shown.

What is expected follows from the order of the checks in the sources: what is tested, what is
followed without a test, and what a page that was restored once gives the second time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace as Namespace
from typing import Any

import pytest

from khotool.check.kernels import judge
from khotool.check.kernels.verdict import Outcome, Unseen
from khotool.check.run import check_image
from khotool.decode.open import open_image
from khotool.decode.phase import infer_phase
from khotool.model.image import Image, Phase, Role
from khotool.opening.load import load_image
from tests.unit.check.damage import BEYOND, FIXTURES, NOWHERE, Capture, Write, number

ALPHA = "/LUO/sessions[vm-alpha]"
ONE, TWO, HUGE = f"{ALPHA}/files[0x2]", f"{ALPHA}/files[0x10]", f"{ALPHA}/files[0x1]"
DATA = f"{ONE}/data"
TRACE = "/memblock/regions[trace]"
Make = Callable[[Capture], list[Write]]


@cache
def clean(name: str = "verdicts/clean") -> Capture:
    return Capture(name)


def at(path: str, value: int | bytes) -> Make:
    """Change one field."""
    return lambda capture: [capture.field(path, value)]


def behind(path: str, offset: int, value: int, size: int = 8) -> Make:
    """Change a number in what a pointer leads to."""
    return lambda capture: [(capture.value(path) + offset, number(value, size))]


def vmalloc(offset: int, value: int, size: int) -> Make:
    """Change the descriptor of the folio list of one file."""
    return lambda capture: [
        (capture.field(f"{DATA}/folios/first", b"")[0] + offset, number(value, size))
    ]


def pfn(row: int, frame: Callable[[Capture], int], flags: int = 3) -> Make:
    """Let a row of one file name another folio."""
    return lambda capture: [
        (capture.row(f"{DATA}/folios", row), number(frame(capture) | flags << 52))
    ]


def first_child(capture: Capture) -> int:
    """Index of the first used word of the top of the map."""
    top = capture.value("/memory_map")
    return next(i for i in range(512) if capture.number(top + 8 * i))


def frame_of(path: str) -> Callable[[Capture], int]:
    def frame(capture: Capture) -> int:
        table = capture.node(f"{path}/data/folios").table
        assert table is not None
        return int(table.column("pfn")[0])

    return frame


def chunk(offset: int, value: int) -> Make:
    """Change the first chunk of the folio list of one file."""
    return lambda capture: [(capture.value(f"{DATA}/folios/first") + offset, number(value))]


FILE: list[tuple[str, Make, str, dict[str, str]]] = [
    # name, damage, outcome, files of vm-alpha that do not come back as they were
    ("data is null", at(f"{ONE}/data", 0), "partial", {"0x2": "EOPNOTSUPP"}),
    ("data of nobody", at(f"{ONE}/data", NOWHERE), "not-judged", {"0x2": "not-judged"}),
    (
        "data of another file",
        lambda c: [c.field(f"{ONE}/data", c.value(f"{HUGE}/data"))],
        "not-judged",
        {"0x1": "not-judged", "0x2": "not-judged"},
    ),
    ("unknown seal", at(f"{DATA}/seals", 0x40), "partial", {"0x2": "EOPNOTSUPP"}),
    ("flags", at(f"{DATA}/flags", 1), "accept", {}),
    ("size too small", at(f"{DATA}/size", 100), "corrupt", {"0x2": "other-data"}),
    ("size of 2^64-1", at(f"{DATA}/size", -1), "corrupt", {"0x2": "other-data"}),
    ("no folios", at(f"{DATA}/nr_folios", 0), "corrupt", {"0x2": "other-data"}),
    ("a written folio less", at(f"{DATA}/nr_folios", 3), "corrupt", {"0x2": "other-data"}),
    ("rows of zeros", at(f"{DATA}/nr_folios", 256), "accept", {}),
    ("more rows than the list has room for", at(f"{DATA}/nr_folios", 257), "panic", {}),
    ("pages too many", vmalloc(8, 2, 4), "partial", {"0x2": "EINVAL"}),
    (
        # The kernel makes an array of the pages before it reads where they are.
        "pages without number, nowhere",
        lambda c: [*vmalloc(8, 0xFFFFFFFF, 4)(c), *vmalloc(0, 1 << 60, 8)(c)],
        "partial",
        {"0x2": "EINVAL"},
    ),
    ("no pages", vmalloc(8, 0, 4), "partial", {"0x2": "EINVAL"}),
    ("order 64", vmalloc(14, 64, 2), "accept", {}),
    ("order 16", vmalloc(14, 16, 2), "partial", {"0x2": "EINVAL"}),
    ("unknown vmalloc flag", vmalloc(12, 0x81, 2), "accept", {}),
    (
        "list of another file",
        lambda c: vmalloc(0, c.value(f"{HUGE}/data/folios/first"), 8)(c),
        "partial",
        {"0x2": "EINVAL"},
    ),
    (
        "chunk leads to itself",
        lambda c: chunk(0, c.value(f"{DATA}/folios/first"))(c),
        "partial",
        {"0x2": "EINVAL"},
    ),
    ("chunk leads beyond memory", chunk(0, BEYOND), "panic", {}),
    ("chunk without pages", chunk(8, 0), "partial", {"0x2": "EINVAL"}),
    ("page of the list not preserved", chunk(8, NOWHERE), "partial", {"0x2": "EINVAL"}),
    ("hole instead of a folio", pfn(1, lambda c: 0, 0), "corrupt", {"0x2": "other-data"}),
    ("folio beyond memory", pfn(1, lambda c: (1 << 52) - 1), "partial", {"0x2": "EIO"}),
    (
        "folio inside a larger one",
        pfn(1, lambda c: frame_of(HUGE)(c) + 1),
        "partial",
        {"0x2": "EIO"},
    ),
    ("folio twice", pfn(1, frame_of(ONE)), "partial", {"0x2": "EIO"}),
    ("folio of a file that came before", pfn(1, frame_of(HUGE)), "partial", {"0x2": "EIO"}),
    (
        "folio of a file that comes after",
        pfn(1, frame_of(TWO)),
        "corrupt",
        {"0x2": "other-data", "0x10": "EIO"},
    ),
    (
        "folio of a region",
        pfn(1, lambda c: c.value("/memblock/regions[oops]/start") >> 12),
        "partial",
        {"0x2": "EEXIST"},
    ),
    (
        "page that was given back",
        pfn(1, lambda c: c.value("/LUO/address") >> 12),
        "partial",
        {"0x2": "EIO"},
    ),
    ("not up to date", pfn(0, frame_of(ONE), 1), "corrupt", {"0x2": "other-data"}),
    ("not dirty", pfn(0, frame_of(ONE), 2), "accept", {}),
    (
        "index behind the end",
        lambda c: [(c.row(f"{DATA}/folios", 3, 8), number(9))],
        "corrupt",
        {"0x2": "other-data"},
    ),
    (
        "indexes swapped",
        lambda c: [
            (c.row(f"{DATA}/folios", 0, 8), number(1)),
            (c.row(f"{DATA}/folios", 1, 8), number(0)),
        ],
        "corrupt",
        {"0x2": "other-data"},
    ),
    (
        "bit of a huge folio",
        lambda c: [c.bit(frame_of(HUGE)(c) << 12, 9)],
        "partial",
        {"0x1": "EIO"},
    ),
    (
        "bit of a chunk",
        lambda c: [c.bit(c.value(f"{DATA}/folios/first"), 0)],
        "partial",
        {"0x2": "EINVAL"},
    ),
]
OTHER: list[tuple[str, Make, str]] = [
    ("root magic", lambda c: [(c.root, b"\0\0\0\0")], "ignore"),
    ("root version", lambda c: [(c.root + 20, number(1 << 24, 4))], "ignore"),
    ("root larger than what is kept", lambda c: [(c.root + 4, b"\0\0\xff\xff")], "accept"),
    ("root without its string", lambda c: [(c.text("/", b"compatible"), b"C")], "ignore"),
    ("root without map", lambda c: [(c.text("/", b"preserved-memory-map"), b"P")], "ignore"),
    ("map beyond memory", at("/memory_map", BEYOND), "panic"),
    ("map of nobody", at("/memory_map", NOWHERE), "corrupt"),
    (
        "map inside a page",
        lambda c: [c.field("/memory_map", c.value("/memory_map") + 8)],
        "panic",
    ),
    (
        "node named again, elsewhere",
        lambda c: [
            (
                c.value("/memory_map") + 8 * 65,
                number(c.number(c.value("/memory_map") + 8 * first_child(c))),
            )
        ],
        "panic",
    ),
    (
        "node of nothing known",
        lambda c: [(c.value("/memory_map") + 8 * 5, b"\0\0\0\1")],
        "not-judged",
    ),
    ("node beyond memory", lambda c: [(c.value("/memory_map") + 8 * 64, number(BEYOND))], "panic"),
    ("bit of a region", lambda c: [c.bit(c.value(f"{TRACE}/start"), 9)], "corrupt"),
    ("LUO renamed", lambda c: [(c.text("/", b"LUO\0"), b"LUX")], "partial"),
    ("LUO too small", at("/LUO/size", 31), "panic"),
    ("LUO of nobody", at("/LUO/address", NOWHERE), "panic"),
    ("metadata too small", at("/kexec-metadata/size", 72), "accept"),
    ("metadata of 2^64-1 bytes", at("/kexec-metadata/size", -1), "accept"),
    ("memblock magic", behind("/memblock/address", 0, 0, 4), "partial"),
    ("memblock string", lambda c: [(c.text("/memblock", b"memblock-v1"), b"X")], "partial"),
    ("region string", lambda c: [(c.text("/memblock", b"reserve-mem-v1"), b"X")], "partial"),
    (
        "region a page later",
        lambda c: [c.field(f"{TRACE}/start", c.value(f"{TRACE}/start") + 4096)],
        "corrupt",
    ),
    ("region at an odd place", at(f"{TRACE}/start", 0xCE0_0100), "partial"),
    ("region at 0", at(f"{TRACE}/start", 0), "corrupt"),
    (
        "region of another",
        lambda c: [c.field(f"{TRACE}/start", c.value("/memblock/regions[oops]/start"))],
        "corrupt",
    ),
    (
        "region in the memory of a file",
        lambda c: [c.field(f"{TRACE}/start", frame_of(ONE)(c) << 12)],
        "corrupt",
    ),
    ("region twice as large", at(f"{TRACE}/size", 0x40_0000), "partial"),
    ("region of nothing", at(f"{TRACE}/size", 0), "partial"),
    ("sessions beyond memory", at("/LUO/sessions", BEYOND), "panic"),
    ("no sessions", at("/LUO/sessions", 0), "partial"),
    ("a session less", behind("/LUO/sessions", 8, 3), "partial"),
    ("a session more, of zeros", behind("/LUO/sessions", 8, 5), "accept"),
    ("more sessions than fit", behind("/LUO/sessions", 8, 52), "panic"),
    ("session without name", at(f"{ALPHA}/name", bytes(64)), "partial"),
    ("files beyond memory", at(f"{ALPHA}/files", BEYOND), "panic"),
    ("files of nobody", at(f"{ALPHA}/files", NOWHERE), "not-judged"),
    ("no files, but none listed either", at("/LUO/sessions[empty]/count", 1), "accept"),
    ("files without count", at("/LUO/sessions[vm-beta]/count", 0), "partial"),
    ("a file more, of zeros", behind(f"{ALPHA}/files", 8, 5), "partial"),
    ("handler of 48 letters", at(f"{ONE}/handler", b"m" * 48), "partial"),
    (
        "junk behind a handler",
        lambda c: [(c.field(f"{ONE}/handler", b"")[0] + 9, b"junk")],
        "accept",
    ),
    ("data beyond memory", at(f"{ONE}/data", BEYOND), "panic"),
    ("FLBs beyond memory", at("/LUO/flbs", BEYOND), "panic"),
    ("no FLBs", at("/LUO/flbs", 0), "partial"),
    ("FLB data", at("/LUO/flbs[liveupdate-test-flb-v1]/data", 1), "partial"),
    (
        "FLB of another's name",
        at("/LUO/flbs[liveupdate-test-flb-v1]/name", b"liveupdate-test-flb-v0"),
        "partial",
    ),
    ("FLB count of 2^64-1", behind("/LUO/flbs", 8, -1), "accept"),
    ("test: magic", at("/kho_test/magic", 1), "partial"),
    ("test: a folio less", at("/kho_test/nr_folios", 5), "partial"),
    ("test: a row of zeros more", at("/kho_test/nr_folios", 7), "accept"),
    ("test: another order", lambda c: [(c.row("/kho_test/folios", 0), b"\x03")], "partial"),
    (
        "test: a row of another order alone",
        lambda c: [(c.row("/kho_test/folios", 5), number(7))],
        "partial",
    ),
    ("test: list beyond memory", at("/kho_test/folios/first", BEYOND), "panic"),
    ("blocks beyond memory", behind(f"{ALPHA}/files", 0, BEYOND), "panic"),
    ("test: list of nobody", at("/kho_test/folios/first", NOWHERE), "partial"),
]


def results(image: Image) -> tuple[str, dict[str, str]]:
    """Outcome, and the files of vm-alpha that do not come back whole."""
    verdict = judge(image, "7.3")
    files = next((s.files for s in verdict.sessions if s.name == "vm-alpha"), [])
    return str(verdict.outcome), {f.token: f.result for f in files if f.result != "ok"}


@pytest.mark.parametrize(
    ("damage", "outcome", "lost"), [case[1:] for case in FILE], ids=[case[0] for case in FILE]
)
def test_one_damaged_file(damage: Make, outcome: str, lost: dict[str, str]) -> None:
    """Damage of a file gives its outcome, loses what it has to, and fires a rule."""
    image = clean().changed(*damage(clean()))

    assert results(image) == (outcome, lost)
    assert check_image(image)


@pytest.mark.parametrize(
    ("damage", "outcome"), [case[1:] for case in OTHER], ids=[case[0] for case in OTHER]
)
def test_damage_elsewhere(damage: Make, outcome: str) -> None:
    """Damage of the root, the map, entries and lists gives its outcome and fires a rule."""
    image = clean().changed(*damage(clean()))

    assert results(image)[0] == outcome
    assert check_image(image)


WHOLE = ((0, 0xF80_0000),)
"""Memory of the machine that the damaged capture is of."""
KNOWN: list[tuple[str, str, Make, str]] = [
    ("7.3", "region in no memory", at(f"{TRACE}/start", WHOLE[0][1]), "panic"),
    ("7.3", "files in no memory", at(f"{ALPHA}/files", WHOLE[0][1]), "panic"),
    ("7.3", "files at 0", at(f"{ALPHA}/files", 0), "partial"),
    (
        "7.3",
        "page in no memory",
        lambda c: [(c.bit(c.value(f"{TRACE}/start"), 9)[0] // 4096 * 4096 + 4095, b"\x80")],
        "panic",
    ),
]


@pytest.mark.parametrize(
    ("release", "damage", "outcome"),
    [(case[0], case[2], case[3]) for case in KNOWN],
    ids=[case[1] for case in KNOWN],
)
def test_machine_of_known_memory(release: str, damage: Make, outcome: str) -> None:
    """Where memory ends decides whether a wrong pointer stops the boot."""
    image = clean().changed(*damage(clean()))

    assert str(judge(image, release, WHOLE).outcome) == outcome


def test_empty_memory_is_walked_as_zeros() -> None:
    """A word of the map that leads to memory which the image lacks, but which is known."""
    free = next(i for i in range(512) if not clean().number(clean().value("/memory_map") + 8 * i))
    word = clean().value("/memory_map") + 8 * free
    image = clean().changed((word, number(NOWHERE)))

    assert judge(image, "7.3", WHOLE).outcome is Outcome.NOT_JUDGED
    assert judge(image, "7.3", WHOLE, ((NOWHERE, NOWHERE + 4096),)).outcome is Outcome.ACCEPT
    assert judge(image, "7.3", WHOLE, ((NOWHERE, NOWHERE + 4095),)).outcome is Outcome.NOT_JUDGED


def test_one_wrong_word_of_the_map_is_no_booted_kernel() -> None:
    """Boot data names the root, and nearly all of the map is what a map holds."""
    damaged = clean().changed((clean().value("/memory_map") + 8, number(BEYOND)))
    blank = clean().changed((clean().value("/memory_map"), bytes(4096)))

    def phase(image: Image) -> Phase:
        root = Namespace(span=image.tree.span, value_of=image.tree.value_of)
        scene = Namespace(map=image.map, space=image.space, geometry=image.geometry)
        parts = {"entries": image.entries, "regions": image.regions}
        decoded: Any = Namespace(scene=scene, tree=root, **parts)
        return infer_phase(decoded, Role.INCOMING, [Role.INCOMING]).phase

    assert phase(damaged) is Phase.INCOMING
    for word in (clean().value("/memory_map"), clean().value("/memory_map") + 8 * 511):
        into_record = clean().changed((word, number(clean().value("/LUO/sessions"))))
        assert phase(into_record) is Phase.INCOMING
    for place in (clean().value("/memory_map") + 8, clean().value("/LUO/sessions")):
        assert phase(clean().changed(clean().field("/memory_map", place))) is Phase.INCOMING
    assert phase(blank) is Phase.CONSUMED


def test_a_wrong_map_pointer_is_no_booted_kernel() -> None:
    """A pointer into a page or another record is damage, not a map that was used up."""
    for place in (clean().value("/memory_map") + 8, clean().value("/LUO/sessions")):
        image = clean().changed(clean().field("/memory_map", place))

        assert image.phase is Phase.FROZEN


OLD: list[tuple[str, str, Make, str]] = [
    ("7.1.13", "a session less", behind("/LUO/sessions", 0, 3), "partial"),
    ("7.1.13", "a file less", at(f"{ALPHA}/count", 3), "partial"),
    ("7.1.13", "no sessions", at("/LUO/sessions", 0), "panic"),
    ("7.1.13", "sessions beyond memory", at("/LUO/sessions", BEYOND), "panic"),
    ("7.1.13", "FLB string", lambda c: [(c.text("/LUO", b"luo-flb-v1"), b"X")], "panic"),
    ("7.1.13", "session string", lambda c: [(c.text("/LUO", b"luo-session-v2"), b"X")], "panic"),
    ("7.1.13", "a list of no files", at("/LUO/sessions[empty]/files", BEYOND), "accept"),
    ("6.19.11", "a list of no files", at("/LUO/sessions[empty]/files", BEYOND), "accept"),
    ("6.19.11", "unknown handler", at(f"{ONE}/handler", b"memfd-v9"), "partial"),
    ("6.19.11", "data is null", at(f"{ONE}/data", 0), "partial"),
    ("6.19.11", "a folio that is not there, first", pfn(0, lambda c: 0x1234), "partial"),
    ("6.19.11", "a folio that is not there, later", pfn(1, lambda c: 0x1234), "corrupt"),
    ("6.19.11", "no map", at("/memory_map", 0), "ignore"),
    ("6.18.15", "no map", at("/memory_map", 0), "corrupt"),
    (
        "6.18.15",
        "chunk leads to itself",
        lambda c: behind("/memory_map", 0, c.value("/memory_map"))(c),
        "panic",
    ),
    ("6.17.8", "map renamed", lambda c: [(c.text("/", b"preserved-memory-map"), b"P")], "corrupt"),
    ("6.17.8", "region size", at(f"{TRACE}/size", 4096), "partial"),
]


@pytest.mark.parametrize(
    ("release", "damage", "outcome"),
    [(case[0], case[2], case[3]) for case in OLD],
    ids=[f"{case[0]} {case[1]}" for case in OLD],
)
def test_damage_in_other_releases(release: str, damage: Make, outcome: str) -> None:
    """Each release fails in its own way."""
    capture = clean(f"real/linux-{release}")
    image = capture.changed(*damage(capture))

    assert str(judge(image, release.rpartition(".")[0]).outcome) == outcome
    assert check_image(image)


RECIPES = [
    ("MEM302-region-with-a-hole", "7.3", "corrupt", "Revived memory reservation 'trace' from KHO"),
    ("MEM302-list-of-no-files-nowhere", "6.19", "accept", "test_kho: KHO restore succeeded"),
    ("MEM312-map-in-a-record", "7.3", "panic", ""),
    ("MEM317-bitmap-off-by-a-page", "6.18", "corrupt", "KHO: failed to restore folio for KHO fdt"),
    ("FDT103-cut-in-the-last-entry", "7.3", "accept", "test_kho: KHO restore succeeded"),
]
"""What a kernel did with a recipe, and a line that it printed."""


@pytest.mark.parametrize(("name", "release", "outcome", "line"), RECIPES)
def test_recipes_that_kernels_were_booted_on(
    name: str, release: str, outcome: str, line: str
) -> None:
    """As ``khotool boot`` saw it."""
    verdict = judge(load_image(str(FIXTURES / "bad" / name / "recipe.toml")), release)

    assert str(verdict.outcome) == outcome
    assert not line or line in {said for step in verdict.steps for said in step.console}


def test_stages_come_in_the_order_of_a_boot() -> None:
    """Root, map and regions first; sessions and files when user space asks."""
    stages = [step.stage for step in judge(clean().image, "7.3").steps]

    assert stages == [
        "kho-root",
        "map",
        "memblock",
        "luo",
        "kexec-metadata",
        "kho-test",
        "flbs",
        "sessions",
        "files",
    ]


@pytest.mark.parametrize("release", ["6.17.8", "6.18.15", "6.19.11", "7.1.13", "7.3.4"])
def test_what_is_not_there_is_not_judged(release: str) -> None:
    """Trees without the memory they point to are blamed for nothing, and nothing is promised."""
    image = open_image(FIXTURES / "real" / f"linux-{release}" / "debugfs.tar.xz")
    verdict = judge(image, release.rpartition(".")[0])

    assert verdict.outcome is Outcome.NOT_JUDGED
    assert set(verdict.unseen) <= {Unseen.CONSUMED, Unseen.NOT_CAPTURED}
    assert verdict.sessions == []
