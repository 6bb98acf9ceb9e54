"""Results of tests as KTAP, Documentation/dev-tools/ktap.rst: what kernel CI reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from khotool.lab.conformance import Result, State
from khotool.render.text import visible

VERSION = "KTAP version 1"
INDENT = "  "
BAD = frozenset({State.FAIL})


def ktap_lines(results: Iterable[Result], head: Iterable[str] = ()) -> Iterator[str]:
    """Lines as results come; groups are subtests, whose number is known only at their end.

    Args:
        head: lines of diagnosis at the beginning.
    """
    yield VERSION
    for text in head:
        yield f"# {visible(text)}"
    number = 0
    for number, (group, tests) in enumerate(groupby(results, lambda result: result.group), 1):
        yield f"{INDENT}{VERSION}"
        yield f"{INDENT}# Subtest: {visible(group)}"
        states = []
        for place, result in enumerate(tests, 1):
            states.append(result.state)
            for line in _test(place, result):
                yield INDENT + line
        yield f"{INDENT}1..{len(states)}"
        bad = any(state in BAD for state in states)
        skipped = all(state is State.SKIP for state in states)
        yield f"{'not ok' if bad else 'ok'} {number} {visible(group)}{' # SKIP' if skipped else ''}"
    yield f"1..{number}"


def _test(number: int, result: Result) -> Iterator[str]:
    for detail in result.details:
        yield f"# {visible(detail)}"
    word = "not ok" if result.state is State.FAIL else "ok"
    line = f"{word} {number} {visible(result.name)}"
    why = visible(result.why)
    if result.state is State.SKIP:
        line += f" # SKIP {why}"
    elif result.state is State.KNOWN:
        line += f" # XFAIL {why}"
    elif why:
        line += f" # {why}"
    yield line
