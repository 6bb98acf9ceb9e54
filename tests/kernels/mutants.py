"""Damaged captures on the kernels they came from: ``python -m tests.kernels.mutants``.

``run`` takes a capture of each kernel and boots damaged copies of it, one after the other, the
same number of each kernel. What happened goes to a journal in the folder of --state, and the next
run goes on from there. ``judge`` predicts all of a journal anew, without a boot, and prints how
often the prediction was right and where it was not.
Half of the mutants are those of ``khotool fuzz``; the others have another number in any word of
8 bytes of what the handover is made of.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from khotool.errors import KhotoolError
from khotool.fixture.fuzz import EDGES, TRIES, Damager
from khotool.lab import bridge
from khotool.lab.boot import Booted, Experiment, Request
from khotool.lab.capture import Wish, capture
from khotool.lab.conformance import image_of
from khotool.lab.expect import Reference
from khotool.lab.kernelfile import KernelFile, open_kernel
from khotool.lab.qemu import End, Run, Settings
from khotool.memory.space import MemoryFault
from khotool.model.image import UNPLACED

TIMEOUT = 20.0
"""Seconds after which a guest hangs; a boot takes two."""
MOST_CONSOLE = 64 << 10
"""Characters of a console that are kept of its end, and as many of its beginning."""
Row = dict[str, Any]


class Subject:
    """A kernel, its capture and the journal of its mutants."""

    def __init__(self, path: str, state: Path, seed: int) -> None:
        self.name = Path(path).name
        self.seed = seed
        self.kernel: KernelFile = open_kernel(path)
        folder = state / self.name
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = folder / "journal.jsonl"
        taken = folder / "capture.elf"
        if not taken.exists():
            wish = Wish(settings=Settings(TIMEOUT))
            made = capture(self.kernel, wish)
            image = image_of(made)
            bridge.write_image(
                str(taken),
                iter(made.segments),
                self.kernel.machine.value,
                made.release,
                image.geometry.page_size,
            )
        self.image = bridge.open_handover(str(taken))
        self.base = bridge.packed(self.image)
        self.damager = Damager(self.base, bridge.registry())

    def rows(self) -> list[Row]:
        """What was booted so far."""
        if not self.journal.exists():
            return []
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def experiment(self, mutations: list[dict[str, Any]], timeout: float = TIMEOUT) -> Experiment:
        """A boot of one damaged copy."""
        image = bridge.mutated(self.base, mutations)
        request = Request(Settings(timeout))
        return Experiment(image, self.kernel, request, Reference(self.image))

    def step(self, number: int) -> None:
        """Boot one mutant, and note what happened."""
        with self.journal.open("a") as file:
            file.write(json.dumps(self.booted(number)) + "\n")

    def repeat_hangs(self) -> None:
        """Boot once more what the clock has ended: the machine may have been busy."""
        rows = self.rows()
        for place, row in enumerate(rows):
            if row.get("end") == End.TIMEOUT and not row.get("again"):
                rows[place] = self.booted(row["number"]) | {"again": True}
                text = "".join(json.dumps(row) + "\n" for row in rows)
                bridge.write_file(str(self.journal), text.encode())

    def booted(self, number: int) -> Row:
        """Boot one mutant."""
        damager = self.damager
        if number % 2:
            mutations = word_mutation(damager, self.seed, number)
        else:
            drawn = damager.draw(self.seed, number, 1)
            mutations = [] if drawn is None else drawn[1]
        row: Row = {"number": number, "seed": self.seed}
        if not mutations:
            row["error"] = "nothing could be changed"
        else:
            row["mutations"] = mutations
            try:
                done, changed = self.experiment(mutations).run()
                row |= {"end": str(done.end), "code": done.code, "changed": changed}
                row |= {"seconds": round(done.seconds, 2), "console": shortened(done.console)}
            except KhotoolError as error:
                row["error"] = str(error)
        return row

    def again(self, row: Row) -> Booted:
        """Judge a row of the journal with the prediction of today."""
        run = Run(End(row["end"]), row["console"], row["seconds"], row["code"])
        return self.experiment(row["mutations"]).conclude(run, row["changed"])


def word_mutation(damager: Damager, seed: int, number: int) -> list[dict[str, Any]]:
    """Another number in one aligned word of 8 bytes of what was decoded; none if none is found."""
    rnd = random.Random(f"word:{seed}:{number}")
    image = damager.image
    order, page = image.geometry.byteorder, image.geometry.page_size
    extents = [
        (address, size)
        for region in image.regions
        for address, size in region.extents()
        if size >= 8 and address + size < UNPLACED and address // page
    ]
    for _ in range(TRIES):
        start, size = rnd.choice(extents)
        first = -(-start // 8) * 8
        address = first + 8 * rnd.randrange(max(1, (start + size - first) // 8))
        try:
            old = int.from_bytes(image.space.read(address, 8), order)
        except MemoryFault:
            continue
        if not old and rnd.random() < 0.75:
            continue
        word = other_word(rnd, old, [int(node.value) for node in damager.pointers])
        return [{"op": "poke", "address": hex(address), "bytes": word.to_bytes(8, order).hex()}]
    return []


def other_word(rnd: random.Random, old: int, pointers: list[int]) -> int:
    """Another number for a word: a bit, a neighbour, an edge, or where a pointer leads."""
    flipped = [old ^ (1 << rnd.randrange(64)) for _ in range(6)]
    near = [old + 1, old - 1, old + 8, old + 4096, old - 4096, old << 8, old >> 8]
    choices = [*flipped, *near, rnd.getrandbits(64), rnd.choice(EDGES), *pointers[:1]]
    taken = rnd.choice(pointers) if pointers and rnd.random() < 0.1 else rnd.choice(choices)
    value = taken & ((1 << 64) - 1)
    return value if value != old else old ^ 1


def shortened(console: str) -> str:
    """A console without its middle, if it is very long."""
    if len(console) <= 2 * MOST_CONSOLE:
        return console
    return f"{console[:MOST_CONSOLE]}\n[...]\n{console[-MOST_CONSOLE:]}"


def boot_all(subjects: list[Subject], count: int, end: float) -> None:
    """Boot until every kernel has so many mutants, or until the time is over."""
    for subject in subjects:
        subject.repeat_hangs()
    done = {subject.name: len(subject.rows()) for subject in subjects}
    while time.monotonic() < end:
        subject = min(subjects, key=lambda item: done[item.name])
        if done[subject.name] >= count:
            return
        subject.step(done[subject.name])
        done[subject.name] += 1


def judged(subject: Subject) -> Iterator[tuple[Row, Booted | None]]:
    """Every row of a journal, with the boot as it is judged today; None for no boot."""
    for row in subject.rows():
        try:
            yield row, None if "error" in row else subject.again(row)
        except KhotoolError:
            yield row, None


def table(subject: Subject, tell: bool) -> Iterator[str]:
    """How often predictions were right, and with ``tell`` each that was not."""
    counts: Counter[str] = Counter()
    for row, done in judged(subject):
        if done is None or row["mutations"][0]["op"] == "drop-page":
            # Of a page that is not in the image nobody knows what a kernel finds there.
            counts["no boot"] += 1
        elif done.predicted in (None, "not-judged"):
            counts["not judged"] += 1
        elif done.agree:
            counts["right"] += 1
        else:
            counts["wrong"] += 1
            if tell:
                yield from told(row, done)
    judged_ones = counts["right"] + counts["wrong"]
    booted = judged_ones + counts["not judged"]
    right = counts["right"] / judged_ones if judged_ones else 0.0
    left = counts["not judged"] / booted if booted else 0.0
    yield (
        f"{subject.name}: {booted} booted, {counts['no boot']} could not be, {judged_ones} judged, "
        f"{counts['right']} right ({right:.1%}), {left:.1%} not judged"
    )


def told(row: Row, done: Booted) -> Iterator[str]:
    """A prediction that was wrong."""
    yield f"{row['number']} {json.dumps(row['mutations'])}"
    for what, predicted, actual in done.differences:
        yield f"    {what}: predicted {predicted}, was {actual}"
    steps = [] if done.prediction is None else done.prediction["steps"]
    for step in steps:
        if step["outcome"] != "accept":
            said = step["message"], step.get("why", "")
            yield f"    p: {step['stage']} {step['outcome']} {' | '.join(filter(None, said))}"
    for line in done.judged.lines:
        yield f"    k: {line.text}"


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.mutants", description=__doc__)
    parser.add_argument("what", choices=("run", "judge"))
    parser.add_argument("kernels", nargs="+", metavar="KERNEL")
    parser.add_argument("--state", type=Path, required=True, help="folder of journals")
    parser.add_argument("--count", type=int, default=500, help="mutants of each kernel")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--tell", action="store_true", help="print each wrong prediction")
    options = parser.parse_args(arguments)
    subjects = [Subject(path, options.state, options.seed) for path in options.kernels]
    if options.what == "run":
        boot_all(subjects, options.count, time.monotonic() + options.seconds)
    for subject in subjects:
        for line in table(subject, options.tell):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
