"""Packed images: a damaged one still says what is wrong with it, and payload stays away."""

from __future__ import annotations

from pathlib import Path

from khotool.check.rules.lists import after_list_ends
from khotool.encode.pack import pack_image
from khotool.encode.reopen import image_of
from khotool.memory.seen import SeenSpace
from khotool.opening.models import build_model, read_model
from tests.builders import CAPTURES, REGISTRY, capture
from tests.fuzz.damage import damaged
from tests.fuzz.fidelity import packed_says_the_same

#: A recipe of damage after which a map looks like one that a booted kernel has reused.
REUSED = (
    "070218010000070000000000feff09bdbb4ee2b0f194c65185244306247e1f583eda8fd23a044f740633f1f38c"
    "a4f97cd63a3c979301c3e17ef82d897116758a881f04feb2b5d901603489d94729fd028523871a57c19d95cfd7"
    "58b3"
)
BAD = Path(__file__).parents[3] / "fixtures" / "bad"


def test_damaged_recipes_say_the_same_when_packed() -> None:
    """A recipe of damage for every rule: the same values, the same findings."""
    of_rule = {path.parent.name.split("-")[0]: path for path in sorted(BAD.glob("*/recipe.toml"))}
    assert len(of_rule) > 50
    for recipe in of_rule.values():
        packed_says_the_same(image_of(build_model(read_model(recipe), REGISTRY), REGISTRY))


def test_a_map_that_looks_reused_stays_so() -> None:
    """What made the image a booted kernel's is not packed; the copy is told."""
    image = damaged(bytes.fromhex(REUSED))
    packed_says_the_same(image)
    assert pack_image(image).vmcoreinfo["KHOTOOL_PHASE"] == "consumed"


def test_nothing_but_metadata_of_a_whole_image() -> None:
    """Without findings, nothing is kept that decoding only looked at."""
    image = capture(CAPTURES[0])
    assert not image.findings
    assert not after_list_ends(image)


def test_what_is_read_is_seen_once() -> None:
    """Reads by address and size; searches are not."""
    image = capture(CAPTURES[0])
    seen = SeenSpace(image.space)
    start = int(image.space.extents()[0, 0])
    for _ in range(2):
        assert seen.read(start, 16) == image.space.read(start, 16)
    seen.gather(image.space.extents()[:1, 0], 32)
    list(seen.find(b"\xd0\x0d\xfe\xed", start, start + 4096, 4096))
    assert seen.reads() == [(start, 16), (start, 32)]
