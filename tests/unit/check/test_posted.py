"""Verdicts of postings that were never released: what their boots refuse, and what they take."""

from __future__ import annotations

from pathlib import Path

import pytest

from khotool.abi.registry import load_registry
from khotool.check.kernels import judge
from khotool.check.kernels.asked import asked_kernel
from khotool.check.kernels.verdict import Outcome, Verdict
from khotool.cli.main import main
from khotool.decode.open import open_image
from tests.contract.repository import ROOT

MAJOR = "/liveupdate_orchestrator/version/major"


def verdict_of(manifest: Path, kernel: str, folder: Path) -> Verdict:
    image = folder / "image.elf"
    assert main(["encode", str(manifest), "-o", str(image)]) == 0
    return judge(open_image(image), asked_kernel(kernel, load_registry()))


@pytest.mark.parametrize(
    ("recipe", "kernel", "path", "value", "outcome"),
    [
        ("luo-rfc-v1-version", "luo-rfc-v1", MAJOR, 2, Outcome.PANIC),
        ("luo-dev-frozen", "luo-dev", "/LUO/state", 1, Outcome.PANIC),
        (
            "luo-rfc-v2-subsystems",
            "luo-rfc-v2",
            "/LUO/subsystems_compatible",
            '"subsystems-v9"',
            Outcome.PANIC,
        ),
        (
            "luo-posted-v4-sessions",
            "luo-posted-v4",
            "/LUO/session_compatible",
            '"luo-session-v9"',
            Outcome.PANIC,
        ),
        (
            "luo-posted-v5-sessions-and-flbs",
            "luo-posted-v5",
            "/LUO/compatible",
            '"luo-v9"',
            Outcome.PARTIAL,
        ),
    ],
)
def test_live_update_state(
    recipe: str, kernel: str, path: str, value: object, outcome: Outcome, tmp_path: Path
) -> None:
    """A changed string or number stops the boot, or live update where the posting gives up."""
    text = (ROOT / "fixtures/good" / recipe / "recipe.toml").read_text(encoding="utf-8")
    manifest = tmp_path / "recipe.toml"
    poke = f'\n[[mutate]]\nop = "poke"\npath = "{path}"\nvalue = {value}\n'
    manifest.write_text(text + poke, encoding="utf-8")

    assert verdict_of(manifest, kernel, tmp_path).outcome is outcome


@pytest.mark.parametrize(
    ("recipe", "kernel", "stage", "outcome"),
    [
        ("7.2-systemd-units", "kho-v1-lyu-v5", "map", Outcome.CORRUPT),
        ("7.2-systemd-units", "luo-posted-v7", "kho-root", Outcome.IGNORE),
    ],
)
def test_roots(recipe: str, kernel: str, stage: str, outcome: Outcome, tmp_path: Path) -> None:
    """A posting that does not compare the string takes the root, and finds no map in it."""
    manifest = ROOT / "fixtures/good" / recipe / "recipe.toml"
    verdict = verdict_of(manifest, kernel, tmp_path)

    assert {step.stage: step.outcome for step in verdict.steps}[stage] is outcome


def test_kstate_is_no_root(tmp_path: Path) -> None:
    """Boot data names the page of a stream: a kernel without KSTATE finds no device tree there."""
    recipe = ROOT / "fixtures/good/kstate-v3-states/recipe.toml"

    released = verdict_of(recipe, "6.17", tmp_path)
    posted = verdict_of(recipe, "kstate-v3", tmp_path)

    assert released.outcome is Outcome.IGNORE
    assert [step.console for step in released.steps] == [
        (
            "KHO: setup: handover FDT (0x106000) is invalid: -9",
            "KHO: disabling KHO revival: -22",
        )
    ]
    assert posted.outcome is Outcome.ACCEPT
