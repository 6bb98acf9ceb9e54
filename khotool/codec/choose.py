"""Tell the definitions of one string apart by their probes, and say why one was chosen."""

from __future__ import annotations

from collections.abc import Sequence

from khotool.abi.composite import first_part
from khotool.abi.definition import Definition
from khotool.codec.conditions import Evidence, describe, holds
from khotool.codec.scene import Scene
from khotool.model.image import Choice
from khotool.records import dataclass, replace

FOLLOWED = "bytes that are not 0 follow the end of its array"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which of several definitions reads something.

    Args:
        definition: None where none of them does.
        choice: what to record of it; None where it is the usual one.
    """

    definition: Definition | None
    choice: Choice | None = None


NOTHING = Chosen(None)


def contested(candidates: Sequence[Definition]) -> bool:
    """True if bytes have to tell definitions apart; some are only ever chosen by the user."""
    told = [d for d in candidates if not any(condition.asked for condition in d.probe)]
    return len(candidates) > 1 and (len(told) != 1 or bool(told[0].probe))


def choose(
    scene: Scene, string: str, candidates: Sequence[Definition], evidence: Evidence
) -> Chosen:
    """The definition that fits best.

    One with more conditions wins over one with fewer; one without a probe, the usual one, fits
    always.

    Args:
        string: what all candidates match.
    """
    if not candidates:
        return NOTHING
    forced = _forced(scene, string, candidates)
    if len(candidates) == 1:
        only = candidates[0]
        # A string alone does not make a format whose other conditions do not hold.
        fits = forced is not None or (_fits(scene, only, evidence) and _ends(scene, only, evidence))
        return Chosen(only) if fits else NOTHING
    if forced is None and not contested(candidates):
        return Chosen(next(d for d in candidates if not d.probe))
    choice = forced or _best(scene, string, candidates, evidence)
    definition = scene.registry.definitions[choice.layout]
    usual = forced is None and choice.certain and not definition.probe
    return Chosen(definition, None if usual else choice)


def by_first_part(string: str, chosen: Definition) -> Choice | None:
    """What to record where only the first part of a string has a definition; else None."""
    if first_part(string) == string or any(string in names for names in chosen.match.values()):
        return None
    return partly(string, chosen, "nothing confirms it", certain=False)


def partly(string: str, chosen: Definition, seen: str, *, certain: bool) -> Choice:
    """A choice by the first part of a string, and what confirms it."""
    why = f"no definition has all its parts; read by the first, {first_part(string)}; {seen}"
    return Choice(string, chosen.id, why, certain, "format")


def _forced(scene: Scene, string: str, candidates: Sequence[Definition]) -> Choice | None:
    named = scene.abi.get(string)
    for definition in candidates:
        wanted = definition.id == named or (definition.id != string and definition.id in scene.abi)
        if wanted:
            return Choice(string, definition.id, "as --abi says", True, "format")
    return None


def _best(
    scene: Scene, string: str, candidates: Sequence[Definition], evidence: Evidence
) -> Choice:
    # Of equals, the one that is named after the string comes first.
    ranked = sorted(candidates, key=lambda d: (-len(d.probe), d.id != string))
    fitting = [definition for definition in ranked if _fits(scene, definition, evidence)]
    if not fitting:
        usual = min(candidates, key=lambda d: (len(d.probe), d.id != string))
        why = f"no layout's probe conditions hold; others are {_others(candidates, usual)}"
        return Choice(string, usual.id, why, False, "format")
    most = len(fitting[0].probe)
    ending = [d for d in fitting if len(d.probe) == most and _ends(scene, d, evidence)]
    best = ending[0] if ending else fitting[0]
    if len(ending) > 1 or not ending:
        others = ", ".join(definition.id for definition in fitting if definition is not best)
        why = _conditions(best) if ending else f"{_conditions(best)}, but {FOLLOWED}"
        why += f"; {others} would fit as well; --abi decides" if others else ""
        return Choice(string, best.id, why, False, "format")
    if not best.probe:
        return Choice(
            string,
            best.id,
            f"no probe condition of {_others(candidates, best)} holds",
            True,
            "format",
        )
    return Choice(string, best.id, _conditions(best), True, "format")


def _fits(scene: Scene, definition: Definition, evidence: Evidence) -> bool:
    """True if all conditions of a definition hold, whatever follows its arrays."""
    return all(
        holds(
            scene,
            definition,
            replace(condition, ends=False) if condition.ends else condition,
            evidence,
        )
        for condition in definition.probe
    )


def _ends(scene: Scene, definition: Definition, evidence: Evidence) -> bool:
    """True if nothing follows the arrays of a definition that has that for a condition.

    A writer that took a record back may have left it there.
    """
    return all(
        holds(scene, definition, condition, evidence)
        for condition in definition.probe
        if condition.ends
    )


def _others(candidates: Sequence[Definition], best: Definition) -> str:
    return ", ".join(definition.id for definition in candidates if definition is not best)


def _conditions(definition: Definition) -> str:
    return "; ".join(describe(condition) for condition in definition.probe) or "it has no probe"
