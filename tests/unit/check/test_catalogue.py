"""The rule catalogue: complete, and in step with the code."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from khotool.check.catalogue import FAMILIES, find_rule, matches, rules
from khotool.check.context import Context
from khotool.check.decoded import DECODED
from khotool.check.rule import Check, Need, checks
from khotool.check.run import check_with_skips
from khotool.decode.open import open_image
from khotool.errors import UsageError

ROOT = Path(__file__).parents[3]
ID = re.compile(r'"((?:FDT|KHO|MEM|REC|LUO|HND|ABI|LIM)\d{3})"')
NO_RECIPE = {
    "FDT105": "needs a debugfs copy, see the real ones",
    "LIM001": "needs a lower limit, see test_rules",
    "MEM323": "needs a capture that is cut off, see test_container",
    "MEM306": "needs scratch areas from the command line, see test_rules",
}


def test_every_rule_has_all_its_texts() -> None:
    """Each text is there, is one sentence, and has neither capital nor full stop."""
    for rule in rules().values():
        for text in (rule.what, rule.why, rule.example, rule.do):
            assert text
            assert not text.endswith(".")
        assert re.fullmatch(r"[a-z0-9-]+", rule.slug)
        assert rule.id[:3] in FAMILIES


def test_slugs_are_unique() -> None:
    """A slug names one rule."""
    slugs = [rule.slug for rule in rules().values()]

    assert len(set(slugs)) == len(slugs)


def test_every_rule_is_declared_at_one_place() -> None:
    """By the one function that checks it, or by the decoder."""
    declared = Counter(identifier for check in checks() for identifier in check.rules)
    declared.update(DECODED)

    assert declared == dict.fromkeys(rules(), 1)


def test_functions_raise_what_they_declare() -> None:
    """The ids in the text of a function's module are those that its functions declare."""
    raised: dict[str, set[str]] = {}
    for check in checks():
        known = raised.setdefault(check.function.__module__, set())
        known.update(check.rules, check.also)
    for module, known in raised.items():
        path = ROOT / f"{module.replace('.', '/')}.py"
        assert set(ID.findall(path.read_text())) == known, module


def test_the_decoder_raises_what_it_declares() -> None:
    """The ids in the text of the decoder are its own, or also declared by a function."""
    found = {
        identifier
        for room in ("decode", "codec")
        for path in (ROOT / "khotool" / room).glob("*.py")
        for identifier in ID.findall(path.read_text())
    }

    assert found >= DECODED
    assert found - DECODED <= {"ABI902"}


def test_a_rule_that_cannot_be_applied_is_skipped() -> None:
    """What a function needs is asked before it runs; each of its rules says why it did not."""
    image = open_image(ROOT / "fixtures" / "real" / "linux-7.3.4" / "debugfs.tar.xz")
    _, skipped = check_with_skips(image)
    context = Context(image)

    @partial(Check, rules=("MEM308",), also=(), needs=(Need.MAP,), when_consumed=True)
    def check(context: Context) -> None:
        raise AssertionError("applied")

    check.run(context)

    assert [(skip.rule, skip.path) for skip in context.skipped] == [("MEM308", "/")]
    assert skipped == sorted(skipped, key=lambda skip: (skip.rule, skip.path))


def test_a_function_cannot_raise_what_it_does_not_declare() -> None:
    """Else the place of a rule would be a claim."""
    image = open_image(ROOT / "fixtures" / "real" / "linux-7.3.4" / "image.elf.xz")

    @partial(Check, rules=("MEM308",), also=(), needs=(), when_consumed=True)
    def check(context: Context) -> None:
        context.report("MEM309", "/", "")

    with pytest.raises(AssertionError, match="MEM309 is not declared here"):
        check.run(Context(image))


def test_every_rule_has_a_bad_fixture() -> None:
    """One recipe per rule, save those that no image alone can break."""
    recipes = {
        path.parent.name.partition("-")[0]
        for path in (ROOT / "fixtures" / "bad").glob("*/recipe.toml")
    }

    assert recipes == set(rules()) - set(NO_RECIPE)


def test_rules_are_found_by_id_and_slug() -> None:
    """explain takes both, in any case."""
    assert find_rule("mem302") is find_rule("referenced-not-preserved")
    for name, hint in (
        ("mem30 2", "did you mean 'MEM302'"),
        ("referenced-not-preservd", "did you mean 'referenced-not-preserved'"),
        ("MEM30", "there is MEM301, MEM302"),
        ("nothing", "'khotool rules' lists them"),
    ):
        with pytest.raises(UsageError, match=re.escape(hint)):
            find_rule(name)


def test_patterns_mean_ids_families_and_slugs() -> None:
    """--select MEM3, --select MEM302 and --select referenced-not-preserved all take MEM302."""
    assert matches("MEM302", "MEM3")
    assert matches("MEM302", "mem302")
    assert matches("MEM302", "referenced-not-preserved")
    assert not matches("MEM302", "REC")
