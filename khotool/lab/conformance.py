"""The live update conformance of a kernel: a series of captures and boots."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khotool.errors import InputError, KhotoolError
from khotool.lab import bridge
from khotool.lab.boot import Booted, Request, boot
from khotool.lab.btf import kernel_btf
from khotool.lab.capture import DEFAULT, Captured, Wish, capture
from khotool.lab.console import FATAL, Said
from khotool.lab.expect import Reference
from khotool.lab.kernelfile import KernelFile
from khotool.lab.machines import board
from khotool.lab.outcome import Contents, Outcome
from khotool.lab.qemu import Settings
from khotool.lab.selftests import SKIP, run_selftests
from khotool.records import dataclass, field

if TYPE_CHECKING:
    from khotool.model.image import Image

SYNTHETIC_MEMORY = 192 << 20
"""Bytes of RAM that synthetic images are laid out in."""


class State(StrEnum):
    """How a test ended."""

    PASS = "ok"
    FAIL = "not ok"
    SKIP = "skip"
    KNOWN = "xfail"


@dataclass(slots=True)
class Result:
    """One test.

    Args:
        name: of the group, and of the test in it.
        why: one line, for all but a test that passed.
        details: further lines.
    """

    group: str
    name: str
    state: State
    why: str = ""
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tested.

    Args:
        previous: kernels whose images are handed to this one.
        recipes: folders of recipes; each is booted if it is of this kernel's ABI set.
        mutants: number of damaged copies of the capture.
        keep: folder for what a kernel does not survive; None to keep nothing.
        synthetic: boot a synthetic image of every ABI set.
        selftests: folder of the built live update selftests of a kernel tree.
    """

    settings: Settings
    memory: int | None = None
    append: str = ""
    previous: tuple[KernelFile, ...] = ()
    recipes: tuple[str, ...] = ()
    mutants: int = 10
    seed: int = 0
    keep: str | None = None
    synthetic: bool = True
    selftests: str | None = None


class Conformance:
    """The tests of one kernel; ``run`` gives results as they come."""

    def __init__(self, kernel: KernelFile, plan: Plan) -> None:
        self.kernel = kernel
        self.plan = plan
        self.captured: Captured | None = None
        self.image: Image | None = None

    def run(self) -> Iterator[Result]:
        """All tests, in order.

        Raises:
            InputError: QEMU is missing, or the kernel cannot hand over at all.
        """
        yield from self.test_capture()
        yield from self.test_definitions()
        yield from self.test_self()
        yield from self.test_encode()
        for previous in self.plan.previous:
            yield self.test_previous(previous)
        if self.plan.synthetic:
            yield from self.test_synthetic()
        if self.plan.selftests is not None:
            yield from self.test_selftests(self.plan.selftests)
        yield from self.test_recipes()
        yield from self.test_mutants()

    # -- the kernel as a source --------------------------------------------------------------

    def test_capture(self) -> Iterator[Result]:
        """A capture is complete and without findings."""
        taken = self.captured = capture(self.kernel, self.wish())
        image = self.image = image_of(taken)
        release = taken.release or ""
        errors = [f"{r} {path}" for level, r, path in bridge.findings_of(image) if level == "error"]
        yield verdict("capture", "clean", not errors, "check finds errors", errors)
        wrong = list(not_as_seen(taken, image))
        yield verdict("capture", "what-the-guest-saw", not wrong, "the image differs", wrong)
        lost = [
            f"session {session.name} file {file.token:#x}: errno {file.kept}"
            for session in taken.facts.sessions
            for file in session.files
            if file.kept
        ]
        if taken.facts.sessions and not taken.facts.liveupdate:
            yield verdict("capture", "all-preserved", not lost, "the kernel refused", lost)
        else:
            yield Result("capture", "all-preserved", State.SKIP, f"{release} has no sessions")

    def test_definitions(self) -> Iterator[Result]:
        """khotool's definitions are those of the kernel."""
        assert self.captured is not None
        data = kernel_btf(self.kernel)
        if data is None:
            why = "no BTF in the kernel's file; build it with CONFIG_DEBUG_INFO_BTF=y"
            yield Result("definitions", "btf", State.SKIP, why)
            return
        release = self.captured.release or ""
        try:
            number, wrong = bridge.btf_differences(data, release, self.captured.page_size)
        except KhotoolError as error:
            yield Result("definitions", "btf", State.SKIP, str(error))
            return
        yield verdict("definitions", "btf", not wrong, f"of {number} structs", wrong)

    def test_encode(self) -> Iterator[Result]:
        """``encode`` of the same manifest makes the same handover."""
        assert self.captured is not None
        assert self.image is not None
        release = self.captured.release or ""
        try:
            document = with_choices(self.image, release, self.captured.page_size)
            made = bridge.decode(bridge.build(document))
        except KhotoolError as error:
            yield Result("encode", "same-as-capture", State.SKIP, str(error))
            return
        wrong = bridge.diff_lines(made, self.image)
        yield verdict("encode", "same-as-capture", not wrong, "the handovers differ", wrong)

    # -- the kernel as a judge ---------------------------------------------------------------

    def test_self(self) -> Iterator[Result]:
        """The kernel takes over from itself, with every byte."""
        assert self.image is not None
        done = boot(self.image, self.kernel, self.request())
        judged = done.judged
        self.keep("self", done, None)
        whole = judged.outcome is Outcome.ACCEPT
        yield verdict("self", "accepts-its-own", whole, str(judged.outcome), told(done))
        files = [file for session in judged.sessions for file in session.files]
        wrong = [f"{f.token:#x}: {f.contents}" for f in files if f.contents is not Contents.SAME]
        yield verdict("self", "every-byte", not wrong and whole, "contents differ", wrong)
        if done.agree is None:
            yield Result("self", "as-predicted", State.SKIP, "khotool has no model of this release")
        else:
            differences = [f"{what}: predicted {a}, was {b}" for what, a, b in done.differences]
            yield verdict("self", "as-predicted", done.agree, "check --kernel differs", differences)

    def test_previous(self, previous: KernelFile) -> Result:
        """An image of another kernel is accepted, or refused cleanly."""
        name = f"from-{previous.release}"
        try:
            image = image_of(capture(previous, self.wish()))
            done = boot(image, self.kernel, self.request())
        except InputError as error:
            return Result("previous", name, State.SKIP, str(error))
        return self.survived("previous", name, done, None)

    def test_synthetic(self) -> Iterator[Result]:
        """Synthetic images of every ABI set, most of which this kernel does not know."""
        assert self.captured is not None
        base = board(self.kernel.machine).BASE
        area = {"start": base + (1 << 20), "size": SYNTHETIC_MEMORY}
        known = {"machine": self.kernel.machine.value, "memory": [area]}
        for name, document in bridge.samples(self.captured.page_size):
            try:
                image = bridge.decode(bridge.build(document | known))
                done = boot(image, self.kernel, self.request())
            except KhotoolError as error:
                yield Result("synthetic", name, State.SKIP, str(error))
                continue
            yield self.survived("synthetic", name, done, document | known)

    def test_selftests(self, folder: str) -> Iterator[Result]:
        """The kernel tree's own tests."""
        for ran in run_selftests(self.kernel, folder, self.wish(), self.plan.previous):
            if ran.error or ran.status == SKIP:
                yield Result("selftests", ran.name, State.SKIP, ran.error or "skips itself")
                continue
            stage = f" in stage {ran.stage}" if ran.stage else ""
            why = f"exit status {ran.status}{stage}"
            yield verdict("selftests", ran.name, ran.status == 0, why, ran.output)

    def test_recipes(self) -> Iterator[Result]:
        """Recipes of damaged images, as far as they are of this kernel's ABI set."""
        assert self.captured is not None
        wanted = bridge.set_of_release(self.captured.release or "")
        for path in sorted(p for folder in self.plan.recipes for p in recipes_in(folder)):
            try:
                document = bridge.recipe(path)
                if wanted is None or bridge.set_of_release(str(document.get("abi"))) != wanted:
                    continue
                image = bridge.open_handover(path)
                done = boot(image, self.kernel, self.request(), before_damage(path))
            except KhotoolError as error:
                yield Result("recipes", Path(path).parent.name, State.SKIP, str(error))
                continue
            yield self.survived("recipes", Path(path).parent.name, done, document)

    def test_mutants(self) -> Iterator[Result]:
        """Damaged copies of the kernel's own capture."""
        assert self.image is not None
        base = bridge.packed(self.image)
        made = bridge.damage(base, self.plan.mutants, self.plan.seed, 1)
        for number, item in enumerate(made):
            name = f"seed-{self.plan.seed}-{number}"
            try:
                done = boot(item.image, self.kernel, self.request(), Reference(self.image))
            except KhotoolError as error:
                yield Result("mutants", name, State.SKIP, str(error))
                continue
            result = self.survived("mutants", name, done, {"mutate": item.mutations})
            if result.state is not State.PASS:
                result.details.insert(0, str(item.mutations))
            yield result

    # -- what they have in common ------------------------------------------------------------

    def survived(
        self, group: str, name: str, done: Booted, recipe: dict[str, Any] | None
    ) -> Result:
        """Whether a kernel accepted an image or refused it cleanly.

        A fault that ``check --kernel`` predicts, or cannot judge, is one that is known: nothing in
        the image tells the kernel that a pointer is wrong.
        """
        word = str(done.judged.outcome)
        if not harmed(done):
            return Result(group, name, State.PASS, word)
        self.keep(f"{group}-{name}", done, recipe)
        known = done.predicted in ("panic", "corrupt", "not-judged")
        why = f"{word}, predicted {done.predicted}"
        return Result(group, name, State.KNOWN if known else State.FAIL, why, told(done))

    def keep(self, name: str, done: Booted, recipe: dict[str, Any] | None) -> None:
        """Keep the console of a boot that went wrong, and what the image was made of."""
        if self.plan.keep is None or not harmed(done):
            return
        import json

        folder = Path(self.plan.keep, name)
        folder.mkdir(parents=True, exist_ok=True)
        bridge.write_file(str(folder / "console.txt"), done.run.console.encode("utf-8", "replace"))
        if recipe is not None:
            data = json.dumps(recipe, indent=1).encode() + b"\n"
            bridge.write_file(str(folder / "recipe.json"), data)

    def request(self) -> Request:
        """How kernels are booted."""
        return Request(self.plan.settings, self.plan.memory, self.plan.append)

    def wish(self) -> Wish:
        """How images are taken."""
        return Wish(memory=self.plan.memory, append=self.plan.append, settings=self.plan.settings)


def harmed(done: Booted) -> bool:
    """True for a kernel that oopsed, hung, or let memory be overwritten.

    A panic is a clean refusal where the kernel says itself that it stops because of what it got.
    """
    said = {line.said for line in done.judged.lines}
    if done.judged.outcome is Outcome.PANIC:
        return Said.REFUSED not in said or bool(said & (FATAL - {Said.REFUSED}))
    return done.judged.outcome in (Outcome.HANG, Outcome.CORRUPT)


def verdict(group: str, name: str, good: bool, why: str, details: list[str]) -> Result:
    """A test that passed or failed."""
    if good:
        return Result(group, name, State.PASS)
    return Result(group, name, State.FAIL, why, details)


def told(done: Booted) -> list[str]:
    """What the kernel said, for the details of a test."""
    return [line.text for line in done.judged.lines if line.said not in (Said.BANNER, Said.RESTART)]


def image_of(taken: Captured) -> Image:
    """The image of a capture, as a reader of its file sees it."""
    return bridge.from_segments(
        taken.segments, taken.kernel.machine.value, taken.release, taken.page_size
    )


def not_as_seen(taken: Captured, image: Image) -> Iterator[str]:
    """Where an image differs from what the guest saw when it preserved."""
    contents = bridge.contents_of(image)
    files = {(s.name, f.token): f for s in contents.sessions for f in s.files}
    for session in taken.facts.sessions:
        if session.error:
            continue
        for fact in session.files:
            where = f"session {session.name} file {fact.token:#x}"
            file = files.get((session.name, fact.token))
            if fact.kept:
                continue
            if file is None:
                yield f"{where} is not in the image"
                continue
            seen = (fact.size, fact.position, fact.sha256)
            if (file.size, file.position, bridge.digest(image, file.node)) != seen:
                yield f"{where} has another size, position or contents"


def with_choices(image: Image, release: str, page_size: int) -> dict[str, Any]:
    """The manifest of the small scenario, with what a kernel chooses as this one chose it."""
    document = bridge.without_unknown(dict(DEFAULT) | {"page_size": page_size}, release)
    document["abi"] = bridge.set_of_release(release) or release
    document["osrelease"] = release
    return document | bridge.choices_of(image, document)


def before_damage(path: str) -> Reference | None:
    """What a recipe is without its damage; None for one that has none."""
    found = bridge.reference_of(path)
    return None if found is None else Reference(found)


def recipes_in(folder: str) -> Iterator[str]:
    """Recipes below a folder."""
    yield from (str(path) for path in Path(folder).rglob("recipe.toml"))
