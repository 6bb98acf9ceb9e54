"""Rules are declared at the function that checks them, with what they need."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from importlib import import_module

from khotool.absent import Absent
from khotool.check.context import Context
from khotool.model.image import Image, Phase
from khotool.records import dataclass

Function = Callable[[Context], None]
SETTLED = (Phase.FROZEN, Phase.FINALIZED, Phase.INCOMING)
"""Phases in which every page has found its place; before, producers are still at work."""


class Need(StrEnum):
    """What an image has to have for a rule to be applied."""

    MAP = "map"
    SETTLED = "settled"
    SCRATCH = "scratch"

    def lacking(self, image: Image) -> str:
        """Why an image does not have it; empty if it does."""
        if self is Need.MAP:
            absent = isinstance(image.map, Absent)
            return "the map of preserved memory is not known" if absent else ""
        if self is Need.SCRATCH:
            return image.scratch.detail if isinstance(image.scratch, Absent) else ""
        if image.phase in SETTLED:
            return ""
        return f"the image is {image.phase}: not every page has found its place"


@dataclass(frozen=True, slots=True)
class Check:
    """A function that checks rules.

    Args:
        rules: ids that it declares; no other function and no part of the decoder does.
        also: ids that it raises too, of rules that are declared elsewhere.
        needs: what an image has to have.
        when_consumed: the rules hold for what a boot left of a handover, too.
    """

    function: Function
    rules: tuple[str, ...]
    also: tuple[str, ...]
    needs: tuple[Need, ...]
    when_consumed: bool

    def run(self, context: Context) -> None:
        """Apply the rules, or note why not."""
        why = next((text for need in self.needs if (text := need.lacking(context.image))), "")
        if context.image.phase is Phase.CONSUMED and not self.when_consumed:
            why = "a boot has used the handover up"
        if why:
            for identifier in self.rules:
                context.skip(identifier, "/", why)
            return
        context.allowed = {*self.rules, *self.also}
        self.function(context)
        context.allowed = None


_CHECKS: list[Check] = []


def rule(
    *identifiers: str,
    needs: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
    when_consumed: bool = False,
) -> Callable[[Function], Function]:
    """Declare the rules that a function checks; see ``Check``.

    Args:
        identifiers: ids of ``catalogue.toml``.
    """

    def declare(function: Function) -> Function:
        wanted = tuple(Need(need) for need in needs)
        _CHECKS.append(Check(function, identifiers, also, wanted, when_consumed))
        return function

    return declare


@cache
def checks() -> tuple[Check, ...]:
    """All checks: those of every module in ``khotool.check.rules``."""
    package = import_module("khotool.check.rules")
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        import_module(f"{package.__name__}.{module}")
    return tuple(_CHECKS)
