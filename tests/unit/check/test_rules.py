"""Rules on good captures, and rules that need more than an image to fire."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.check.catalogue import severity
from khotool.check.run import check_image, check_with_skips
from khotool.decode.open import open_image
from khotool.findings import Severity
from khotool.limits import Limits, OpenOptions

REAL = Path(__file__).parents[3] / "fixtures" / "real"
IMAGES = sorted(REAL.glob("*/image.elf.xz"))
COPIES = sorted(REAL.glob("*/debugfs.tar.xz"))


@pytest.mark.parametrize(
    "path", [*IMAGES, *COPIES], ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_good_captures_are_quiet(path: Path) -> None:
    """No good capture fires anything above a note."""
    loud = [f for f in check_image(open_image(path)) if severity(f.rule) is not Severity.NOTE]

    assert loud == []


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.parent.name)
def test_every_page_has_one_owner(path: Path) -> None:
    """Leaks, unpreserved references and double owners are 0; owned is preserved."""
    owned = open_image(path).ownership()

    assert owned is not None
    assert (owned.unowned_pages, owned.unpreserved_pages, owned.double_owned_pages) == (0, 0, 0)
    assert owned.owned_pages == owned.preserved_pages


def fired(path: Path, options: OpenOptions) -> set[str]:
    return {finding.rule for finding in check_image(open_image(path, options))}


def test_scratch_areas_that_overlap() -> None:
    """MEM306 fires for areas that share memory; MEM304 if something preserved is inside."""
    path = REAL / "linux-7.3.4" / "image.elf.xz"
    apart = OpenOptions(scratch=[(0x8000_0000, 0x20_0000), (0x8010_0000, 0x20_0000)])
    over = OpenOptions(scratch=[(0x4D_0000, 0x10_0000)])

    assert fired(path, apart) == {"MEM306"}
    assert fired(path, over) == {"MEM304"}


def test_an_empty_scratch_area_is_no_fault() -> None:
    """arm64 kernels list the low area with 0 bytes where there is no such memory."""
    path = REAL / "linux-7.3.4" / "image.elf.xz"
    options = OpenOptions(scratch=[(0x7E00_0000, 0), (0x8000_0000, 0x20_0000)])

    assert fired(path, options) == set()


def test_a_limit_is_a_finding() -> None:
    """LIM001 fires when the walk stops, and names the flag that raises the limit."""
    options = OpenOptions(limits=Limits(nodes=60))
    findings = check_image(open_image(REAL / "linux-7.3.4" / "image.elf.xz", options))
    limits = [finding for finding in findings if finding.rule == "LIM001"]

    assert limits
    assert "--limit" in limits[0].message


def test_a_cut_root_is_a_note() -> None:
    """FDT105: the kernel's debugfs cuts the root; that is no fault of the handover."""
    copy = REAL / "linux-6.19.11" / "debugfs.tar.xz"
    findings = check_image(open_image(copy, OpenOptions(root="out-final/kho/out")))

    assert [finding.rule for finding in findings] == ["FDT105"]


def test_rules_without_their_facts_are_skipped() -> None:
    """A rule that needs scratch says so where scratch is not known."""
    _, skipped = check_with_skips(open_image(REAL / "linux-7.3.4" / "image.elf.xz"))

    assert {skip.rule for skip in skipped} >= {"MEM304", "HND609"}
