"""Kernel releases: how they are read and compared, and the words for one that is not known."""

from __future__ import annotations

from itertools import pairwise

import pytest

from khotool.abi.releases import NEVER, Release, set_of, span, unknown_release
from khotool.errors import UsageError
from tests.builders import REGISTRY


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("7.3", "7.3"),
        ("v7.3.4", "7.3"),
        ("7.1-rc1", "7.1-rc1"),
        ("7.1.0-rc1-00012-g0123abc", "7.1-rc1"),
        ("7.0.0-rc2+", "7.0-rc2"),
        ("6.19.11-arch1", "6.19"),
        ("6.8.0-45-generic", "6.8"),
        ("6.12~rc7-amd64", "6.12-rc7"),
        ("6.12.0-0.rc7.20241112git.60.fc42", "6.12-rc7"),
        ("6.19.11-rt", "6.19"),
        ("7", ""),
        ("", ""),
        ("a.b", ""),
        ("6.²", ""),
        ("6.1x", ""),
        ("6.-1", ""),
        ("next-20260101", ""),
        ("9" * 5000 + ".1", ""),
    ],
)
def test_releases_as_people_and_kernels_write_them(text: str, release: str) -> None:
    """Stable updates and local versions do not count; what is not a release is None."""
    assert str(Release.parse(text) or "") == release


def test_release_candidates_come_before_their_release() -> None:
    """Releases compare by version, then by release candidate."""
    texts = ("6.19", "7.0-rc1", "7.0", "7.1-rc1", "7.1-rc10", "7.1", "10.0")
    releases = [*(Release.parse(text) for text in texts), NEVER]

    for before, after in pairwise(releases):
        assert before is not None
        assert after is not None
        assert before < after


def test_a_definition_without_releases_has_no_span() -> None:
    """An open end is never reached."""
    assert span("", "") is None
    assert span("7.2", "") == (Release(7, 2), NEVER)


def test_every_set_is_found_by_its_own_releases() -> None:
    """First and last release of a set select that set: no two sets claim one release."""
    for abi in REGISTRY.sets.values():
        for release in (abi.first, abi.last):
            if release:
                assert set_of(release, REGISTRY.sets) is abi


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("8.0", "the nearest that khotool knows is 7.3"),
        ("7.4-rc1", "the nearest that khotool knows is 7.3"),
        ("5.4", "the nearest that khotool knows is 6.16"),
        ("kho-v44", "did you mean kho-v4?"),
        ("nonsense", "known are 6.16 to 7.3"),
    ],
)
def test_unknown_releases(name: str, hint: str) -> None:
    """A release that no set has is refused with the nearest one."""
    with pytest.raises(UsageError, match=hint) as caught:
        set_of(name, REGISTRY.sets)

    assert str(caught.value) == unknown_release(name, REGISTRY.sets)
