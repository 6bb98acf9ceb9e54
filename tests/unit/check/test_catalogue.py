"""The rule catalogue: complete, and in step with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from khotool.check.catalogue import FAMILIES, find_rule, matches, rules
from khotool.errors import UsageError

ROOT = Path(__file__).parents[3]
NO_RECIPE = {
    "FDT105": "needs a debugfs copy, see the real ones",
    "LIM001": "needs a lower limit, see test_rules",
    "MEM306": "needs scratch areas from the command line, see test_rules",
}


def ids_in_code() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "khotool").rglob("*.py"):
        found |= set(re.findall(r'"((?:FDT|KHO|MEM|REC|LUO|HND|ABI|LIM)\d{3})"', path.read_text()))
    return found


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


def test_rules_and_code_name_the_same_ids() -> None:
    """No rule without code, no code without a rule."""
    assert ids_in_code() == set(rules())


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
    with pytest.raises(UsageError, match="did you mean MEM302"):
        find_rule("mem30 2")


def test_patterns_mean_ids_families_and_slugs() -> None:
    """--select MEM3, --select MEM302 and --select referenced-not-preserved all take MEM302."""
    assert matches("MEM302", "MEM3")
    assert matches("MEM302", "mem302")
    assert matches("MEM302", "referenced-not-preserved")
    assert not matches("MEM302", "REC")
