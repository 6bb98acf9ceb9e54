"""Kernel releases: how they are read and compared, and the words for one that is not known."""

from __future__ import annotations

from itertools import pairwise

import pytest

from khotool.abi.registry import Registry
from khotool.abi.releases import NEVER, Release, set_of, span, unknown_release
from khotool.abi.sets import load_sets
from khotool.errors import UsageError
from tests.builders import REGISTRY
from tests.unit.abi.texts import HEAD, load


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


NEWEST = max(
    release for abi in REGISTRY.sets.values() if (release := Release.parse(abi.last)) is not None
)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (f"{NEWEST.major + 1}.0", f"the nearest that khotool knows is {NEWEST}"),
        (f"{NEWEST.major}.{NEWEST.minor + 1}-rc1", f"the nearest that khotool knows is {NEWEST}"),
        ("5.4", "the nearest that khotool knows is 6.16"),
        ("kho-v44", "did you mean kho-v4?"),
        ("nonsense", f"known are 6.16 to {NEWEST}"),
    ],
)
def test_unknown_releases(name: str, hint: str) -> None:
    """A release that no set has is refused with the nearest one."""
    with pytest.raises(UsageError, match=hint) as caught:
        set_of(name, REGISTRY.sets)

    assert str(caught.value) == unknown_release(name, REGISTRY.sets)


def test_releases_of_sets() -> None:
    """A set reaches from its first to its last release, both included; an open one has no end."""
    root = load(HEAD.replace("x-v1", "x").replace("x_ser", "none"))
    text = "".join(
        f'[[set]]\nid = "{name}"\nroot = "x"\nstatus = "merged"\n'
        f'releases = {{ first = "{first}", last = "{last}" }}\n'
        for name, first, last in (
            ("old", "5.3", "5.4.7"),
            ("rc", "6.0-rc2", "6.0-rc3"),
            ("open", "7.1", ""),
        )
    )
    registry = Registry([root], load_sets(text.encode(), "sets.toml"))
    expected = {
        "5.2": None,
        "5.3": "old",
        "5.4": "old",
        "5.4.9": "old",
        "5.5": None,
        "6.0": None,
        "6.0-rc1": None,
        "6.0-rc2": "rc",
        "6.0-rc4": None,
        "7.0": None,
        "7.0-rc1": None,
        "7.1": "open",
        "7.1-rc1": "open",
        "999.999": "open",
        "rc": "rc",
        "999999999.5": "open",
    }
    for release, name in expected.items():
        found = registry.set_for(release)
        assert (found.id if found else None) == name, release
